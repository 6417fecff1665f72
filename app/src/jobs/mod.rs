//! Work that outlives a request: a queue in Postgres.
//!
//! A job is written in the transaction of the thing that causes it, so neither exists without the other. Workers of
//! every replica take jobs with `FOR UPDATE SKIP LOCKED`. A taken job is leased: its next run is set beyond the time
//! its handler may use, so a job whose worker died is taken again. Handlers therefore run at least once, and are
//! written so that a second run does no harm.

mod handler;
mod queue;
mod worker;

pub use handler::{Failure, Handler, Handlers, Job, Retry};
pub use queue::{Waiting, enqueue, enqueue_once, waiting};
pub use worker::{Worker, start};
