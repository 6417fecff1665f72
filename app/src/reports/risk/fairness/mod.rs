//! Fairness: how groups of people fare, whether probabilities are true for each, which factors carry a difference, and
//! what other models would do. Protected grounds are read here and on no page that decides.

mod groups;
mod page;

use actix_web::web;

use super::{PERIODS, cases, chart, lanes, period, plot, report, settings, sheet};

/// The page, its files, and the jurisdiction a manager keeps.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports/risk/fairness", web::get().to(page::page))
        .route("/manage/reports/risk/fairness/jurisdiction", web::post().to(page::keep))
        .route("/manage/reports/risk/fairness/{name}.csv", web::get().to(page::csv));
}
