//! `/credit`: the officers' queue, an application's page, decisions and letters.

mod actions;
mod csv;
mod events;
mod letters_page;
mod page;
mod percent;
mod queue;
mod queue_page;
mod scale;
mod verdicts;
mod waterfall;

use actix_web::web;

pub(super) use percent::log_odds;

/// The officers' pages.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/credit", web::get().to(queue_page::page))
        .route("/credit/export", web::post().to(queue_page::export))
        .route("/credit/events", web::get().to(events::stream))
        .route("/credit/letters", web::get().to(letters_page::list))
        .route("/credit/letters/{letter}", web::get().to(letters_page::letter))
        .route("/credit/letters/{letter}/text", web::get().to(letters_page::text))
        .route("/credit/{application}", web::get().to(page::page))
        .route("/credit/{application}/factors.csv", web::get().to(csv::factors))
        .route("/credit/{application}/similar.csv", web::get().to(csv::similar))
        .route("/credit/{application}/assign", web::post().to(actions::assign))
        .route("/credit/{application}/release", web::post().to(actions::release))
        .route("/credit/{application}/labels", web::post().to(verdicts::label))
        .route("/credit/{application}/complete", web::post().to(actions::complete))
        .route("/credit/{application}/check", web::post().to(actions::check))
        .route("/credit/{application}/decide", web::post().to(actions::decide))
        .route("/credit/{application}/second", web::post().to(actions::second))
        .route("/credit/{application}/refuse", web::post().to(actions::refuse));
}
