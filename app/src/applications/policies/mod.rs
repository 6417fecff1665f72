//! Policies: which is in force, drafts beside it, and how one takes the other's place.

mod change;
mod difference;
mod effect;
mod form;
mod pages;
mod store;
mod words;

use actix_web::web;

pub use change::draft;
pub use store::{Status, StoredPolicy, active, find, list};

/// The pages of policies.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/policies", web::get().to(pages::list))
        .route("/manage/policies", web::post().to(pages::draft))
        .route("/manage/policies/{policy}", web::get().to(pages::one))
        .route("/manage/policies/{policy}", web::post().to(pages::save))
        .route("/manage/policies/{policy}/effect.csv", web::get().to(pages::effect_csv))
        .route("/manage/policies/{policy}/activate", web::post().to(pages::activate))
        .route("/manage/policies/{policy}/retire", web::post().to(pages::retire));
}
