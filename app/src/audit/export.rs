//! The log as CSV. Taking a copy is itself an entry.

use std::sync::Arc;

use bytes::Bytes;
use chrono::SecondsFormat;
use futures::{Stream, stream};
use serde_json::json;
use sqlx::PgPool;

use crate::accounts::Person;
use crate::pages::csv_rows;
use crate::{AppError, Result};

use super::ledger::{Filter, LedgerEntry, entries, length};
use super::{Entry, append};

/// Entries read at a time.
const BATCH: i64 = 1000;

const HEADER: [&str; 11] = [
    "number",
    "at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "action",
    "subject_kind",
    "subject_id",
    "details",
    "previous_hash",
    "hash",
];

/// Records that `person` takes a copy of what `filter` finds.
///
/// # Errors
/// When the database fails.
pub(super) async fn record_export(db: &PgPool, person: &Person, filter: &Filter) -> Result<()> {
    let filter: serde_json::Map<_, _> =
        filter.pairs().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let details = json!({ "filter": filter, "up_to": length(db).await? });
    let mut tx = db.begin().await?;
    append(
        &mut tx,
        Entry {
            actor: &person.actor(),
            action: "audit.exported",
            subject_kind: "audit",
            subject_id: "log".to_owned(),
            details,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What `filter` finds as CSV, batch by batch, so that a long log needs no memory.
pub(super) fn csv(db: PgPool, filter: Filter) -> impl Stream<Item = Result<Bytes>> {
    let db = Arc::new(db);
    stream::try_unfold((true, Some(filter)), move |(first, filter)| {
        let db = Arc::clone(&db);
        async move {
            let Some(filter) = filter else { return Ok::<_, AppError>(None) };
            let found = entries(&db, &filter, BATCH).await?;
            let header = first.then(|| HEADER.map(str::to_owned).to_vec());
            let rows = csv_rows(header.into_iter().chain(found.iter().map(cells)))?;
            let full = i64::try_from(found.len()).is_ok_and(|count| count == BATCH);
            let next = found.last().filter(|_| full).map(|last| filter.below(last.number));
            Ok(Some((Bytes::from(rows), (false, next))))
        }
    })
}

fn cells(entry: &LedgerEntry) -> Vec<String> {
    vec![
        entry.number.to_string(),
        entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        entry.actor_kind.clone(),
        entry.actor_id.clone(),
        entry.actor_name.clone(),
        entry.action.clone(),
        entry.subject_kind.clone(),
        entry.subject_id.clone(),
        entry.details.clone(),
        entry.previous_hash.clone(),
        entry.hash.clone(),
    ]
}
