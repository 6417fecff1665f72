//! Reading the chain from end to end.

use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use sqlx::PgPool;

use crate::Result;

use super::chain::{Canonical, hash, stamp};

/// What reading the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Entries read, the broken one included.
    pub entries: i64,
    /// Hash of the end of the chain, in hexadecimal.
    pub head: String,
    /// The first entry that does not fit; `None` when all do.
    pub broken: Option<Break>,
}

impl Verification {
    /// Whether every entry fits.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.broken.is_none()
    }
}

/// The first entry that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Its number.
    pub number: i64,
    /// Why, in a sentence.
    pub why: String,
}

/// Reads every entry in order, in constant memory, and stops at the first that does not fit: a missing number, a
/// hash that does not follow from the entry before, content that does not match its hash, or an end that is not the
/// recorded one. Entries appended meanwhile are not looked at.
///
/// # Errors
/// When the database fails. A broken chain is an answer, not an error.
pub async fn verify(db: &PgPool) -> Result<Verification> {
    let mut tx = db.begin().await?;
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
    let head = sqlx::query!("select number, hash from audit_head").fetch_one(&mut *tx).await?;
    let mut walk = Walk { number: 0, hash: vec![0; 32] };
    let mut broken = None;
    {
        let mut rows = sqlx::query_as!(
            Row,
            "select number, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, details,
                    previous_hash, hash
             from audit_entries order by number",
        )
        .fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            broken = walk.step(&row)?;
            if broken.is_some() {
                break;
            }
        }
    }
    if broken.is_none() {
        broken = walk.end(head.number, &head.hash);
    }
    Ok(Verification { entries: walk.number, head: hex::encode(&head.hash), broken })
}

struct Row {
    number: i64,
    at: DateTime<Utc>,
    actor_kind: String,
    actor_id: String,
    actor_name: String,
    action: String,
    subject_kind: String,
    subject_id: String,
    details: String,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl Row {
    fn computed(&self) -> Result<[u8; 32]> {
        let at = stamp(self.at);
        let canonical = Canonical(
            self.number,
            &at,
            &self.actor_kind,
            &self.actor_id,
            &self.actor_name,
            &self.action,
            &self.subject_kind,
            &self.subject_id,
            &self.details,
        );
        hash(&self.previous_hash, &canonical)
    }
}

/// The last entry that fitted.
struct Walk {
    number: i64,
    hash: Vec<u8>,
}

impl Walk {
    /// Goes on to `row`, or says why it does not fit.
    fn step(&mut self, row: &Row) -> Result<Option<Break>> {
        let expected = self.number + 1;
        if row.number != expected {
            return Ok(Some(Break { number: expected, why: format!("entry {expected} is missing") }));
        }
        self.number = expected;
        let why = if row.previous_hash != self.hash {
            "it does not follow from the entry before"
        } else if row.computed()?[..] != row.hash[..] {
            "its content does not match its hash"
        } else {
            self.hash.clone_from(&row.hash);
            return Ok(None);
        };
        Ok(Some(Break { number: expected, why: why.to_owned() }))
    }

    /// Compares with the recorded end of the chain.
    fn end(&self, number: i64, hash: &[u8]) -> Option<Break> {
        let (at, why) = if number > self.number {
            (self.number + 1, format!("entries {} to {number} are missing at the end", self.number + 1))
        } else if number < self.number {
            (number + 1, format!("the recorded end of the chain is entry {number}, but more follow"))
        } else if hash != self.hash {
            (number, "it is not the recorded end of the chain".to_owned())
        } else {
            return None;
        };
        Some(Break { number: at, why })
    }
}

/// A past verification.
#[derive(Debug, Clone)]
pub struct Verified {
    /// When.
    pub at: DateTime<Utc>,
    /// Entries read.
    pub entries: i64,
    /// The first broken entry.
    pub broken_number: Option<i64>,
    /// Why it is broken.
    pub broken_why: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

/// Verifies and remembers the result for the page.
///
/// # Errors
/// When the database fails.
pub async fn verify_and_remember(db: &PgPool) -> Result<Verification> {
    let started = Instant::now();
    let found = verify(db).await?;
    let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let (number, why) = found.broken.as_ref().map(|broken| (broken.number, broken.why.clone())).unzip();
    sqlx::query!(
        "insert into audit_verifications (entries, head, broken_number, broken_why, took_ms)
         values ($1, decode($2, 'hex'), $3, $4, $5)",
        found.entries,
        found.head,
        number,
        why,
        took_ms,
    )
    .execute(db)
    .await?;
    Ok(found)
}

/// The last remembered verification.
///
/// # Errors
/// When the database fails.
pub async fn last_verified(db: &PgPool) -> Result<Option<Verified>> {
    let last = sqlx::query_as!(
        Verified,
        "select at, entries, broken_number, broken_why, took_ms from audit_verifications order by id desc limit 1",
    )
    .fetch_optional(db)
    .await?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of `length` entries that fit.
    fn chain(length: i64) -> Vec<Row> {
        let mut previous = vec![0; 32];
        (1..=length)
            .map(|number| {
                let mut row = Row {
                    number,
                    at: "2026-11-23T12:00:00.123456Z".parse().unwrap(),
                    actor_kind: "system".to_owned(),
                    actor_id: "candor".to_owned(),
                    actor_name: "Candor".to_owned(),
                    action: "policy.activated".to_owned(),
                    subject_kind: "policy".to_owned(),
                    subject_id: number.to_string(),
                    details: "{}".to_owned(),
                    previous_hash: previous.clone(),
                    hash: Vec::new(),
                };
                row.hash = row.computed().unwrap().to_vec();
                previous.clone_from(&row.hash);
                row
            })
            .collect()
    }

    fn walk(rows: &[Row], head: i64, head_hash: &[u8]) -> Option<Break> {
        let mut walk = Walk { number: 0, hash: vec![0; 32] };
        rows.iter().find_map(|row| walk.step(row).unwrap()).or_else(|| walk.end(head, head_hash))
    }

    #[test]
    fn an_untouched_chain_holds() {
        let rows = chain(20);
        assert_eq!(walk(&rows, 20, &rows[19].hash), None);
        assert_eq!(walk(&[], 0, &[0; 32]), None);
    }

    #[test]
    fn any_changed_field_breaks_its_own_entry() {
        let changes: [fn(&mut Row); 8] = [
            |row| row.at += chrono::TimeDelta::microseconds(1),
            |row| row.actor_kind = "person".to_owned(),
            |row| row.actor_id = "somebody".to_owned(),
            |row| row.actor_name.push(' '),
            |row| row.action.push('x'),
            |row| row.subject_kind.push('x'),
            |row| row.subject_id.push('0'),
            |row| row.details = "{ }".to_owned(),
        ];
        for change in changes {
            let mut rows = chain(9);
            change(&mut rows[4]);
            let broken = walk(&rows, 9, &[0; 32]).unwrap();
            assert_eq!((broken.number, broken.why.as_str()), (5, "its content does not match its hash"));
        }
    }

    #[test]
    fn a_field_can_not_run_into_the_next() {
        let mut rows = chain(1);
        let before = rows[0].computed().unwrap();
        rows[0].action = "policy.activate".to_owned();
        rows[0].subject_kind = "dpolicy".to_owned();
        assert_ne!(rows[0].computed().unwrap(), before);
    }

    #[test]
    fn a_rehashed_entry_breaks_the_next_one() {
        let mut rows = chain(9);
        rows[4].details = r#"{"forged":true}"#.to_owned();
        rows[4].hash = rows[4].computed().unwrap().to_vec();
        let broken = walk(&rows, 9, &[0; 32]).unwrap();
        assert_eq!((broken.number, broken.why.as_str()), (6, "it does not follow from the entry before"));
    }

    #[test]
    fn missing_entries_are_named_within_and_at_the_end() {
        let mut rows = chain(9);
        let last = rows[8].hash.clone();
        rows.remove(3);
        assert_eq!(walk(&rows, 9, &last).unwrap().number, 4);
        let mut rows = chain(9);
        rows.truncate(7);
        assert_eq!(walk(&rows, 9, &last).unwrap().why, "entries 8 to 9 are missing at the end");
        let rows = chain(9);
        assert_eq!(walk(&rows, 9, &[7; 32]).unwrap().number, 9);
        assert_eq!(walk(&rows, 8, &rows[7].hash).unwrap().number, 9);
    }
}
