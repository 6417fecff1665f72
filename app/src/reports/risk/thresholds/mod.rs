//! Thresholds: what each would find and cost on the applications whose end is known, and a policy drafted from them.

mod curves;
mod form;
mod page;

use actix_web::web;

use super::{PERIODS, cases, period, plot, report, scores, settings, sheet};
use super::{chart, conversations};

/// The page, its files, and what a manager does on it.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports/risk/thresholds", web::get().to(page::page))
        .route("/manage/reports/risk/thresholds/costs", web::post().to(page::keep))
        .route("/manage/reports/risk/thresholds/draft", web::post().to(page::draft))
        .route("/manage/reports/risk/thresholds/{name}.csv", web::get().to(page::csv));
}
