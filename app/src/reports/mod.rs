//! What managers and auditors read: figures over conversations and decisions.
//!
//! A report reads across slices by its nature. So this is the one slice whose queries touch the tables of others, and
//! it only ever reads them. Its own table holds what the bank measures by.

mod attention;
mod behind;
mod chart;
mod conversations;
mod credit;
mod lanes;
mod page;
mod plot;
mod report;
mod risk;
mod sheet;

use actix_web::web;

pub use attention::{Attention, attention};

/// `/manage/reports`, each report as CSV, and the conversations behind it.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/manage/reports", web::get().to(page::page))
        .configure(risk::routes)
        .route("/manage/reports/{name}.csv", web::get().to(page::csv))
        .route("/manage/reports/{name}/conversations", web::get().to(behind::page));
}
