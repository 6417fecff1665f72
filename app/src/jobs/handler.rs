//! What does the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::AppError;
use crate::app::App;

/// One taken job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number in the queue.
    pub id: i64,
    /// Which handler it is for.
    pub kind: String,
    /// What to do, as enqueued.
    pub payload: Value,
    /// 1 on the first run.
    pub attempt: u32,
}

/// Why a job was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The cause, without personal data: it is logged and kept.
    pub message: String,
    /// When to try again.
    pub retry: Retry,
}

/// When a failed job runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After the handler's backoff, until its attempts are used up.
    Backoff,
    /// After a time that the other side asked for.
    After(Duration),
    /// Never: trying again can not help.
    Never,
}

impl Failure {
    /// Worth another try.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Backoff }
    }

    /// Worth another try after `pause`.
    pub fn retry_after(message: impl Into<String>, pause: Duration) -> Self {
        Self { message: message.into(), retry: Retry::After(pause) }
    }

    /// Not worth another try.
    pub fn give_up(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Never }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::retry(error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(AppError::from(error).to_string())
    }
}

/// Does the jobs of one kind.
#[async_trait]
pub trait Handler: Send + Sync {
    /// The kind of job, as given to [`super::enqueue`].
    fn kind(&self) -> &'static str;

    /// Runs after which a job is given up.
    fn attempts(&self) -> u32 {
        10
    }

    /// Time one run may take; a longer one is cut off and counts as failed.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Pause after the run number `attempt` failed: 5 s, doubled each time, at most six hours.
    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = 5_u64.saturating_mul(2_u64.saturating_pow(attempt.saturating_sub(1)));
        Duration::from_secs(doubled.min(6 * 60 * 60))
    }

    /// Does one job. May be called again for the same job.
    async fn run(&self, app: &App, job: &Job) -> Result<(), Failure>;

    /// Called once when a job was given up, for instance to tell somebody.
    async fn given_up(&self, _app: &App, _job: &Job, _failure: &Failure) {}
}

/// All handlers of the program, by kind.
#[derive(Default, Clone)]
pub struct Handlers {
    by_kind: BTreeMap<&'static str, Arc<dyn Handler>>,
}

impl Handlers {
    /// Adds a handler.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        self.by_kind.insert(handler.kind(), Arc::new(handler));
        self
    }

    /// The handler for jobs of `kind`.
    pub(super) fn get(&self, kind: &str) -> Option<Arc<dyn Handler>> {
        self.by_kind.get(kind).cloned()
    }

    /// Kinds that can be done here. Others stay in the queue for a replica that knows them.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.by_kind.keys().map(|kind| (*kind).to_owned()).collect()
    }
}
