//! Appending to the chain.
//!
//! Every entry's hash covers the hash before it, so no entry can be changed, removed or put in between without
//! breaking every later one. An entry is written in the transaction of the thing it records: neither exists
//! without the other.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who works at the bank.
    Person {
        /// The person's id.
        id: Uuid,
        /// The person's name at the time.
        name: String,
    },
    /// A program with API credentials.
    Client {
        /// The client's id.
        id: Uuid,
        /// The client's name at the time.
        name: String,
    },
    /// A customer or applicant.
    Customer {
        /// The customer's id, or another reference where the customer is not known.
        id: String,
    },
    /// Candor itself.
    System,
}

impl Actor {
    /// (kind, id, name) as stored.
    fn columns(&self) -> (&'static str, String, String) {
        match self {
            Self::Person { id, name } => ("person", id.to_string(), name.clone()),
            Self::Client { id, name } => ("client", id.to_string(), name.clone()),
            Self::Customer { id } => ("customer", id.clone(), "Customer".to_owned()),
            Self::System => ("system", "candor".to_owned(), "Candor".to_owned()),
        }
    }
}

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Who did it.
    pub actor: &'a Actor,
    /// What was done: `noun.verb` in the past tense, for instance `decision.made`.
    pub action: &'a str,
    /// The kind of thing it was done to, for instance `application`.
    pub subject_kind: &'a str,
    /// The thing's id.
    pub subject_id: String,
    /// Facts, without personal data beyond what the purpose needs. Kept as canonical JSON.
    pub details: Value,
}

/// The canonical form that is hashed: a JSON array, so that no field can run into the next.
#[derive(Serialize)]
pub(super) struct Canonical<'a>(
    pub(super) i64,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
);

/// SHA-256 over the previous hash and the canonical entry.
pub(super) fn hash(previous: &[u8], canonical: &Canonical<'_>) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    digest.update(previous);
    digest.update(serde_json::to_vec(canonical)?);
    Ok(digest.finalize().into())
}

/// A time as hashed: microseconds, which is what Postgres keeps.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Appends an entry in the caller's transaction and returns its number.
///
/// Call it last: the end of the chain stays locked until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn append(connection: &mut PgConnection, entry: Entry<'_>) -> Result<i64> {
    let at = Utc::now().trunc_subsecs(6);
    let (kind, id, name) = entry.actor.columns();
    let details = entry.details.to_string();
    // The array without its first element: the number is known only when the end of the chain is held.
    let rest = serde_json::to_string(&(
        stamp(at),
        kind,
        &id,
        &name,
        entry.action,
        entry.subject_kind,
        &entry.subject_id,
        &details,
    ))?;
    let number = sqlx::query_scalar!(
        r#"select append_audit($1, $2, $3, $4, $5, $6, $7, $8, $9) as "number!""#,
        at,
        kind,
        id,
        name,
        entry.action,
        entry.subject_kind,
        entry.subject_id,
        details,
        rest.strip_prefix('[').unwrap_or(&rest),
    )
    .fetch_one(connection)
    .await?;
    Ok(number)
}
