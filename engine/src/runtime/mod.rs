//! Running models for many callers at once.

mod blocks;
pub(crate) mod counters;
pub(crate) mod decode;
mod fair;
pub(crate) mod grammar;
mod histogram;
pub(crate) mod sampling;
pub(crate) mod scheduler;
mod stop;
mod voice;
mod worker;

pub(crate) use worker::Worker;
