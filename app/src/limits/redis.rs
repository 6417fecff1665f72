//! Counts that replicas share.

use std::sync::LazyLock;
use std::time::Duration;

use ::redis::Script;
use async_trait::async_trait;

use crate::replicas::Redis;

use super::{InProcess, Limiter, Quota, Verdict};

/// Reads how far ahead (in microseconds) the key is paid for, and pays for one more request where that fits. One
/// script, so that two replicas never both take the last request; Redis's own clock, so that theirs may differ.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local ahead = math.max((tonumber(redis.call('GET', KEYS[1])) or now) - now, 0)
         local after = ahead + tonumber(ARGV[1])
         if after <= tonumber(ARGV[2]) then
             redis.call('SET', KEYS[1], string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
         end
         return ahead",
    )
});

/// A limiter for all replicas. Without Redis each one counts for itself.
pub struct Shared {
    redis: Redis,
    own: InProcess,
}

impl Shared {
    /// A limiter that counts in `redis`.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, own: InProcess::default() }
    }
}

#[async_trait]
impl Limiter for Shared {
    async fn take(&self, key: &str, quota: Quota) -> Verdict {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let ahead = TAKE
            .key(format!("candor:limit:{key}"))
            .arg(micros(quota.cost()))
            .arg(micros(quota.window))
            .invoke_async::<u64>(&mut self.redis.connection())
            .await;
        match self.redis.note(ahead) {
            Some(ahead) => quota.judge(Duration::from_micros(ahead)).0,
            None => self.own.take(key, quota).await,
        }
    }
}
