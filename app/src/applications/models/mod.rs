//! Risk models: the one in force, the one that scores in shadow, and every earlier version.

mod change;
mod comparison;
mod loaded;
mod pages;
mod shadow;
mod store;

use actix_web::web;

pub use change::{install, install_brought, keep_alternatives, register};
pub use loaded::{InForce, in_force, model};
pub(super) use shadow::keep as keep_shadow;
pub use store::{Status, StoredModel, alternatives, list};

/// The pages of models.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/models", web::get().to(pages::list))
        .route("/manage/models/{model}", web::get().to(pages::one))
        .route("/manage/models/{model}/comparison.csv", web::get().to(pages::comparison_csv))
        .route("/manage/models/{model}/shadow", web::post().to(pages::shadow))
        .route("/manage/models/{model}/unshadow", web::post().to(pages::unshadow))
        .route("/manage/models/{model}/propose", web::post().to(pages::propose))
        .route("/manage/models/{model}/promote", web::post().to(pages::promote));
}
