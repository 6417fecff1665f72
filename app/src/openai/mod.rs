//! The OpenAI protocol (`/v1`): chat completions, completions, embeddings, models.
//!
//! Programs that speak it to other servers speak it to Candor with another address: the key is an access token of an API
//! client that holds the scope `generation:use`. Errors have that protocol's shape.

mod answer;
mod chat;
mod completions;
mod embeddings;
mod errors;
mod models;
mod settings;
mod stream;

use actix_web::middleware::from_fn;
use actix_web::web;

use crate::AppError;
use crate::app::App;
use crate::crm::{self, Client};

/// What a token must allow.
const SCOPE: &str = "generation:use";

/// `/v1/…`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1")
            .wrap(from_fn(crm::limit))
            .wrap(from_fn(errors::in_their_shape))
            .app_data(web::JsonConfig::default().limit(4 << 20).error_handler(|error, _| {
                AppError::BadRequest(format!("The body is not the JSON that was expected: {error}")).into()
            }))
            .route("/chat/completions", web::post().to(chat::complete))
            .route("/completions", web::post().to(completions::complete))
            .route("/embeddings", web::post().to(embeddings::embed))
            .route("/models", web::get().to(models::list))
            .route("/models/{model:.*}", web::get().to(models::one))
            .default_service(web::to(nothing)),
    );
}

async fn nothing() -> Result<&'static str, AppError> {
    Err(AppError::NotFound("This address"))
}

/// The generator behind a model's name, and the adapter where the name is one's.
fn generator<'a>(
    app: &'a App,
    client: &Client,
    model: &str,
) -> Result<(&'a dyn candor_engine::generation::Generator, Option<String>), AppError> {
    client.require(SCOPE)?;
    let Some(generator) = app.generator.as_deref() else {
        return Err(AppError::Unavailable(
            "No generative model is configured: set engine.model to a checkpoint folder or a server's address."
                .to_owned(),
        ));
    };
    if model == generator.name() {
        return Ok((generator, None));
    }
    if generator.adapters().iter().any(|adapter| adapter == model) {
        return Ok((generator, Some(model.to_owned())));
    }
    Err(AppError::NotFound("This model"))
}
