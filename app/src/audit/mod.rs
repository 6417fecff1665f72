//! The append-only, hash-chained log of everything that must be answered for.

mod chain;
mod export;
mod file;
mod file_page;
mod ledger;
mod ledger_page;
mod verify;
mod words;

use actix_web::web;

pub use chain::{Actor, Entry, append};
pub use ledger::{Filter, LedgerEntry, about, entries, entry, length};
pub use verify::{Break, Verification, Verified, last_verified, verify, verify_and_remember};
pub(crate) use words::grouped;

/// The ledger and its checks.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/audit", web::get().to(ledger_page::page))
        .route("/audit/verify", web::post().to(ledger_page::verify_now))
        .route("/audit/export", web::post().to(ledger_page::export))
        .route("/audit/entries/{number}", web::get().to(ledger_page::entry))
        .route("/audit/applications", web::get().to(file_page::list))
        .route("/audit/applications", web::post().to(file_page::export_list))
        .route("/audit/applications/{reference}.json", web::get().to(file_page::json))
        .route("/audit/applications/{reference}/repeat", web::post().to(file_page::repeat_now))
        .route("/audit/applications/{reference}", web::get().to(file_page::page));
}
