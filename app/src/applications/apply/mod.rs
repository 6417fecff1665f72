//! `/apply`: one group of questions per step, saved as it goes; then the answers checked, the result, its page.

mod answers;
mod browser;
mod drafts;
mod pages;
mod status;
mod steps;

use actix_web::web;

/// The applicants' pages.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/apply", web::get().to(pages::start))
        .route("/apply", web::post().to(pages::begin))
        .route("/apply/check", web::get().to(pages::check))
        .route("/apply/submit", web::post().to(pages::submit))
        .route("/apply/status/{token}", web::get().to(status::page))
        .route("/apply/status/{token}/withdraw", web::post().to(status::withdraw))
        .route("/apply/status/{token}/letters/{letter}", web::get().to(status::letter))
        .route("/apply/{step}", web::get().to(pages::step))
        .route("/apply/{step}", web::post().to(pages::answer));
}
