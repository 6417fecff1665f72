//! How often somebody may do something.
//!
//! [`Limiter`] has two backs with one face: in the process, or in Redis where several replicas share one address.
//! Both keep one time per key (the generic cell rate algorithm): the time at which all requests so far are paid
//! for, when each costs [`Quota::window`] / [`Quota::limit`]. A request may pass while that time is less than a window ahead.

mod caller;
mod in_process;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use async_trait::async_trait;

use crate::{AppError, Result};

pub use caller::caller_address;
pub use in_process::InProcess;
pub use redis::Shared;

/// How much is allowed: `limit` requests at once, refilled evenly within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests that may come at once; at least 1.
    pub limit: u32,
    /// Time after which somebody who used up the limit has all of it again.
    pub window: Duration,
}

impl Quota {
    /// `limit` requests a minute.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self { limit, window: Duration::from_secs(60) }
    }

    /// What one request costs.
    fn cost(self) -> Duration {
        (self.window / self.limit.max(1)).max(Duration::from_micros(1))
    }

    /// The verdict on a request whose key is paid for until `ahead` from now, and how far ahead it is afterwards.
    fn judge(self, ahead: Duration) -> (Verdict, Duration) {
        let cost = self.cost();
        let allowed = ahead + cost <= self.window;
        let after = if allowed { ahead + cost } else { ahead };
        let free = self.window.saturating_sub(after).as_micros() / cost.as_micros();
        let verdict = Verdict {
            allowed,
            limit: self.limit,
            remaining: u32::try_from(free).unwrap_or(self.limit).min(self.limit),
            reset: after,
            retry_after: if allowed { Duration::ZERO } else { (ahead + cost).saturating_sub(self.window) },
        };
        (verdict, after)
    }
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Whether the request may pass.
    pub allowed: bool,
    /// The quota's limit.
    pub limit: u32,
    /// Requests that may still come at once.
    pub remaining: u32,
    /// Until the whole limit is there again.
    pub reset: Duration,
    /// Until the next request may pass; zero where this one did.
    pub retry_after: Duration,
}

impl Verdict {
    /// Goes on only if the request may pass.
    ///
    /// # Errors
    /// [`AppError::RateLimited`] with the seconds to wait.
    pub fn check(&self) -> Result<()> {
        if self.allowed {
            return Ok(());
        }
        Err(AppError::RateLimited { retry_after_s: whole_seconds(self.retry_after).max(1) })
    }

    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds), for every answer of the API.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (HeaderName::from_static("ratelimit-limit"), HeaderValue::from(self.limit)),
            (HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(self.remaining)),
            (HeaderName::from_static("ratelimit-reset"), HeaderValue::from(whole_seconds(self.reset))),
        ]
    }
}

/// Seconds, rounded up: a caller that waits that long has waited long enough.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Counts requests by key.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Counts one request of `key`, for instance `sign-in:203.0.113.7` or `client:UUID`.
    async fn take(&self, key: &str, quota: Quota) -> Verdict;
}

/// The limiter that the rest of the program holds.
pub type Limits = Arc<dyn Limiter>;
