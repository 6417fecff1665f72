//! What managers and auditors read: figures over conversations and decisions.
//!
//! A report reads across slices by its nature. So this is the one slice whose queries touch the tables of others, and
//! it only ever reads.

mod attention;
mod behind;
mod chart;
mod conversations;
mod credit;
mod page;
mod plot;
mod report;
mod risk_page;
mod risk_scores;

use actix_web::web;

pub use attention::{Attention, attention};

/// `/manage/reports`, each report as CSV, and the conversations behind it.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports", web::get().to(page::page))
        .route("/manage/reports/risk", web::get().to(risk_page::page))
        .route("/manage/reports/risk/{name}.csv", web::get().to(risk_page::csv))
        .route("/manage/reports/{name}.csv", web::get().to(page::csv))
        .route("/manage/reports/{name}/conversations", web::get().to(behind::page));
}
