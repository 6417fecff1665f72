//! How the program is watched: health, metrics, and a line and an identifier for every request.

mod generation;
mod health;
mod metrics;
mod requests;
mod security_headers;

use actix_web::web;

pub use metrics::Metrics;
pub use requests::observe;
pub use security_headers::security_headers;

/// `/healthz`, `/readyz`, `/metrics`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(health::alive))
        .route("/readyz", web::get().to(health::ready))
        .route("/metrics", web::get().to(metrics::show));
}
