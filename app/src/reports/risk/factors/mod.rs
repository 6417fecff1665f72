//! What moves the scores: every factor's importance, the beeswarm, the dependence of one factor, the interaction of two.

mod drawings;
mod page;
mod pairs;

use actix_web::web;

use super::{PERIODS, cases, chart, conversations, lanes, period, plot, report, sheet};

/// The page and its files.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports/risk/factors", web::get().to(page::page))
        .route("/manage/reports/risk/factors/{name}.csv", web::get().to(page::csv));
}
