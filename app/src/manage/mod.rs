//! What managers keep: people, programs with access, articles, flows, canned responses, sessions.

mod articles;
mod canned;
mod clients;
mod flow_diagram;
mod flows;
mod people;
mod sessions;
mod start;

use actix_web::web;
use serde::Deserialize;

/// The managers' pages. Policies and reports have slices of their own.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage", web::get().to(start::page))
        .route("/manage/people", web::get().to(people::list))
        .route("/manage/people", web::post().to(people::add))
        .route("/manage/people/new", web::get().to(people::new))
        .route("/manage/people/{id}", web::get().to(people::one))
        .route("/manage/people/{id}/role", web::post().to(people::role))
        .route("/manage/people/{id}/active", web::post().to(people::active))
        .route("/manage/people/{id}/password", web::post().to(people::password))
        .route("/manage/clients", web::get().to(clients::list))
        .route("/manage/clients", web::post().to(clients::add))
        .route("/manage/clients/new", web::get().to(clients::new))
        .route("/manage/clients/{id}/deactivate", web::post().to(clients::deactivate))
        .route("/manage/articles", web::get().to(articles::list))
        .route("/manage/articles", web::post().to(articles::create))
        .route("/manage/articles/new", web::get().to(articles::new))
        .route("/manage/articles/{slug}", web::get().to(articles::edit))
        .route("/manage/articles/{slug}", web::post().to(articles::save))
        .route("/manage/flows", web::get().to(flows::list))
        .route("/manage/flows/{name}", web::get().to(flows::one))
        .route("/manage/canned", web::get().to(canned::list))
        .route("/manage/canned", web::post().to(canned::add))
        .route("/manage/canned/{shortcut}", web::get().to(canned::edit))
        .route("/manage/canned/{shortcut}", web::post().to(canned::save))
        .route("/manage/canned/{shortcut}/delete", web::post().to(canned::delete))
        .route("/manage/sessions", web::get().to(sessions::list))
        .route("/manage/sessions/{id}/end", web::post().to(sessions::end));
}

/// What was just done, from the address; each page has words for the names it knows and ignores others.
#[derive(Debug, Default, Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}
