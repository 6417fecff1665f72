//! Running models for many callers at once.

mod worker;

pub(crate) use worker::Worker;
