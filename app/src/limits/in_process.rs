//! Counts of one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::{Limiter, Quota, Verdict};

/// Keys that are paid for are forgotten whenever this many are held, and again when those left have doubled.
const SWEEP_AT: usize = 10_000;

/// A limiter for one replica.
#[derive(Default)]
pub struct InProcess {
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    paid_until: HashMap<String, Instant>,
    sweep_at: usize,
}

impl InProcess {
    fn take_at(&self, key: &str, quota: Quota, now: Instant) -> Verdict {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.paid_until.len() >= keys.sweep_at.max(SWEEP_AT) {
            keys.paid_until.retain(|_, until| *until > now);
            keys.sweep_at = keys.paid_until.len().saturating_mul(2);
        }
        let ahead = keys.paid_until.get(key).map(|until| until.saturating_duration_since(now)).unwrap_or_default();
        let (verdict, ahead) = quota.judge(ahead);
        keys.paid_until.insert(key.to_owned(), now + ahead);
        verdict
    }
}

#[async_trait]
impl Limiter for InProcess {
    async fn take(&self, key: &str, quota: Quota) -> Verdict {
        self.take_at(key, quota, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUOTA: Quota = Quota { limit: 3, window: Duration::from_secs(30) };

    #[test]
    fn the_fourth_of_three_waits_and_one_more_may_pass_after_a_third_of_the_window() {
        let limiter = InProcess::default();
        let start = Instant::now();
        let taken: Vec<_> = (0..4).map(|_| limiter.take_at("a", QUOTA, start)).collect();
        assert_eq!(taken.iter().map(|verdict| verdict.allowed).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(taken.iter().map(|verdict| verdict.remaining).collect::<Vec<_>>(), [2, 1, 0, 0]);
        assert_eq!(taken[3].retry_after, Duration::from_secs(10));
        assert_eq!(taken[3].reset, Duration::from_secs(30));
        assert!(limiter.take_at("b", QUOTA, start).allowed, "another key counts for itself");
        let later = start + Duration::from_secs(10);
        assert!(limiter.take_at("a", QUOTA, later).allowed);
        assert!(!limiter.take_at("a", QUOTA, later).allowed);
    }

    #[test]
    fn paid_keys_are_forgotten() {
        let limiter = InProcess::default();
        let start = Instant::now();
        for key in 0..SWEEP_AT {
            limiter.take_at(&key.to_string(), QUOTA, start);
        }
        limiter.take_at("late", QUOTA, start + Duration::from_secs(60));
        assert_eq!(limiter.keys.lock().unwrap().paid_until.len(), 1);
    }
}
