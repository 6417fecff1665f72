//! The REST API for a CRM (`/api/v1`): contacts, conversations, applications, understanding, webhooks.
//!
//! Every handler is the same short story: the [`Client`] behind the token, its scope, the slice's own function,
//! an answer in JSON. Errors are RFC 9457 problem documents. Every POST honours `Idempotency-Key`.

mod access_token;
mod applications;
mod client;
mod contacts;
mod conversations;
pub mod idempotency;
mod limit;
mod openapi;
mod paging;
mod token;
mod understanding;
mod webhooks;

pub use access_token::SigningKey;
pub use client::{Client, ListedClient, NewClient, SCOPES, clients, create_client, deactivate_client};
pub use limit::limit;
pub use openapi::document;

use actix_web::middleware::from_fn;
use actix_web::web;

/// `/api/openapi.json` and `/api/v1/…`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/openapi.json", web::get().to(openapi::serve)).service(
        web::scope("/api/v1")
            .wrap(from_fn(limit::limit))
            .app_data(web::JsonConfig::default().limit(256 * 1024).error_handler(|error, _| {
                crate::AppError::BadRequest(format!("The body is not the JSON that was expected: {error}")).into()
            }))
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                crate::AppError::BadRequest(format!("The query is not what was expected: {error}")).into()
            }))
            .app_data(web::PathConfig::default().error_handler(|_, _| crate::AppError::NotFound("This address").into()))
            .configure(token::routes)
            .configure(contacts::routes)
            .configure(conversations::routes)
            .configure(applications::routes)
            .configure(understanding::routes)
            .configure(webhooks::routes),
    );
}
