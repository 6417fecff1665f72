//! Whether what comes in still looks like what came before: the population stability index of the score and of every
//! factor, by week or month, against a window of reference.

mod form;
mod indices;
mod page;

use actix_web::web;

use super::{PERIODS, cases, chart, lanes, period, plot, report, settings, sheet};

/// The page, its files, and the bands a manager keeps.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports/risk/stability", web::get().to(page::page))
        .route("/manage/reports/risk/stability/bands", web::post().to(page::keep))
        .route("/manage/reports/risk/stability/{name}.csv", web::get().to(page::csv));
}
