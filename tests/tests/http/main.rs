//! The program as its callers meet it: HTTP against the real server. A slice adds its module here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failed test"
)]

mod accounts;
mod applications;
mod apply;
mod audit;
mod bank;
mod chat;
mod crm;
mod desk;
mod feedback;
mod knowledge;
mod manage;
mod model_reports;
mod models;
mod openai;
mod platform;
mod records;
mod regulation_b;
mod risk_reports;
mod saying;
mod thresholds;
mod what_if;
