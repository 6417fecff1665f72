//! Guessing passwords gets slower: after some failures each further one doubles the wait.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::Result;

/// Failures of one address for one email before waiting begins.
const FREE_FOR_PAIR: i32 = 5;
/// Failures of one address for any email before waiting begins: an office shares its address.
const FREE_FOR_ADDRESS: i32 = 50;
/// The first wait, in seconds; it doubles with each failure.
const FIRST_WAIT_S: i64 = 5;
/// The longest wait, in seconds.
const LONGEST_WAIT_S: i64 = 900;

/// Who tries to sign in, as far as it can be told before they did.
pub(super) struct Attempt {
    /// (key, failures without a wait)
    keys: [([u8; 32], i32); 2],
}

impl Attempt {
    pub(super) fn new(address: Option<IpAddr>, email: &str) -> Self {
        let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let pair = Sha256::digest(format!("{address}\n{}", email.trim().to_lowercase()));
        let alone = Sha256::digest(&address);
        Self { keys: [(pair.into(), FREE_FOR_PAIR), (alone.into(), FREE_FOR_ADDRESS)] }
    }

    /// Seconds until the next attempt may be made.
    pub(super) async fn wait_s(&self, db: &PgPool) -> Result<Option<u64>> {
        let mut longest = None;
        for (key, free) in &self.keys {
            let row = sqlx::query!("select failures, last_at from sign_in_failures where key = $1", &key[..])
                .fetch_optional(db)
                .await?;
            if let Some(row) = row {
                longest = longest.max(remaining_s(row.failures, *free, row.last_at, Utc::now()));
            }
        }
        Ok(longest)
    }

    /// Counts a failure; counts older than a day are forgotten.
    pub(super) async fn failed(&self, db: &PgPool) -> Result<()> {
        for (key, _) in &self.keys {
            sqlx::query!(
                "insert into sign_in_failures (key, failures, last_at) values ($1, 1, now())
                 on conflict (key) do update set last_at = now(), failures =
                    case when sign_in_failures.last_at < now() - interval '1 day' then 1
                         else least(sign_in_failures.failures + 1, 1000) end",
                &key[..],
            )
            .execute(db)
            .await?;
        }
        sqlx::query!("delete from sign_in_failures where last_at < now() - interval '1 day'").execute(db).await?;
        Ok(())
    }

    /// The right password was given: the pair's count starts again. The address's goes on.
    pub(super) async fn succeeded(&self, db: &PgPool) -> Result<()> {
        let [(pair, _), _] = &self.keys;
        sqlx::query!("delete from sign_in_failures where key = $1", &pair[..]).execute(db).await?;
        Ok(())
    }
}

/// Seconds still to wait at `now` after `failures`, of which `free` cost nothing.
fn remaining_s(failures: i32, free: i32, last_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<u64> {
    let doublings = u32::try_from(failures - free).ok()?;
    let wait = FIRST_WAIT_S.saturating_mul(1_i64.checked_shl(doublings.min(16)).unwrap_or(i64::MAX));
    let until = last_at + TimeDelta::seconds(wait.min(LONGEST_WAIT_S));
    let left_ms = (until - now).num_milliseconds();
    (left_ms > 0).then(|| u64::try_from(left_ms).unwrap_or(0).div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let now = Utc::now();
        let wait = |failures| remaining_s(failures, 5, now, now);
        assert_eq!(wait(4), None);
        assert_eq!(wait(5), Some(5));
        assert_eq!(wait(6), Some(10));
        assert_eq!(wait(9), Some(80));
        assert_eq!(wait(1000), Some(900));
        assert_eq!(remaining_s(5, 5, now - TimeDelta::seconds(6), now), None);
    }

    #[test]
    fn spelling_of_the_email_makes_no_new_attempt() {
        let address = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(Attempt::new(address, " Ana@Bank.example ").keys, Attempt::new(address, "ana@bank.example").keys);
        assert_ne!(Attempt::new(None, "ana@bank.example").keys, Attempt::new(address, "ana@bank.example").keys);
    }
}
