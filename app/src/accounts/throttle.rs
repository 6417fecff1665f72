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

    /// Counts the attempt as a failure until [`Attempt::succeeded`] takes that back, or says how many seconds it must
    /// wait. Counting comes first, and one attempt at a time, so that many at once gain nothing.
    pub(super) async fn admit(&self, db: &PgPool) -> Result<Option<u64>> {
        let mut tx = db.begin().await?;
        for (key, free) in &self.keys {
            // The update that changes nothing locks the row, also where it was there already.
            let row = sqlx::query!(
                "insert into sign_in_failures (key, failures, last_at) values ($1, 0, now())
                 on conflict (key) do update set key = excluded.key returning failures, last_at",
                &key[..],
            )
            .fetch_one(&mut *tx)
            .await?;
            let wait = remaining_s(row.failures, *free, row.last_at, Utc::now());
            if wait.is_some() {
                return Ok(wait);
            }
            sqlx::query!(
                "update sign_in_failures set last_at = now(), failures =
                    case when last_at < now() - interval '1 day' then 1 else least(failures + 1, 1000) end
                 where key = $1",
                &key[..],
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(None)
    }

    /// The right password was given: the pair's count starts again, the address's goes back by this attempt. Counts
    /// older than a day are forgotten.
    pub(super) async fn succeeded(&self, db: &PgPool) -> Result<()> {
        let [(pair, _), (address, _)] = &self.keys;
        sqlx::query!("delete from sign_in_failures where key = $1 or last_at < now() - interval '1 day'", &pair[..],)
            .execute(db)
            .await?;
        sqlx::query!("update sign_in_failures set failures = greatest(failures - 1, 0) where key = $1", &address[..])
            .execute(db)
            .await?;
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
