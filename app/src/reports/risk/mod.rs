//! `/manage/reports/risk`: the reports around the risk model, a page for each question that is asked of it.

mod cases;
mod factors;
mod fairness;
mod page;
mod scores;
mod settings;
mod stability;
mod thresholds;

use actix_web::web;

use super::{chart, conversations, credit, lanes, plot, report, sheet};

/// Periods to choose from, in days.
const PERIODS: [i32; 4] = [30, 90, 180, 365];

/// Days of the period that was asked for; without one of the periods to choose from, 90.
fn period(asked: Option<i32>) -> i32 {
    asked.filter(|days| PERIODS.contains(days)).unwrap_or(90)
}

/// The pages, each with its files.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports/risk", web::get().to(page::page))
        .configure(thresholds::routes)
        .configure(fairness::routes)
        .configure(factors::routes)
        .configure(stability::routes)
        .route("/manage/reports/risk/{name}.csv", web::get().to(page::csv));
}
