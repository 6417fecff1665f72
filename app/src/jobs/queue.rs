//! The queue's table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};

use crate::Result;

use super::Job;

/// Channel on which a new job is announced.
pub(super) const CHANNEL: &str = "candor_jobs";

/// Puts a job into the queue within the caller's transaction, and returns its number.
///
/// # Errors
/// When the database fails.
pub async fn enqueue(connection: &mut PgConnection, kind: &str, payload: &Value, run_at: DateTime<Utc>) -> Result<i64> {
    // The announcement is sent by Postgres when the transaction commits, and not at all if it does not.
    let job = sqlx::query!(
        r#"with job as (insert into jobs (kind, payload, run_at) values ($1, $2, $3) returning id)
           select id as "id!", pg_notify('candor_jobs', '')::text as told from job"#,
        kind,
        payload,
        run_at,
    )
    .fetch_one(connection)
    .await?;
    Ok(job.id)
}

/// Puts a job that repeats itself into the queue unless it waits there already: once for all replicas.
///
/// # Errors
/// When the database fails.
pub async fn enqueue_once(db: &PgPool, kind: &str) -> Result<()> {
    let mut transaction = db.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock(7241003)").execute(&mut *transaction).await?;
    let waits = sqlx::query_scalar!(
        r#"select exists (select from jobs where kind = $1 and finished_at is null and failed_at is null) as "waits!""#,
        kind,
    )
    .fetch_one(&mut *transaction)
    .await?;
    if !waits {
        enqueue(&mut transaction, kind, &Value::Object(serde_json::Map::new()), Utc::now()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Takes a job of one of `kinds` that is due, and leases it for `lease`.
pub(super) async fn take(db: &PgPool, kinds: &[String], lease: Duration) -> Result<Option<Job>> {
    let row = sqlx::query!(
        "update jobs set attempts = attempts + 1, run_at = now() + make_interval(secs => $2)
         where id = (select id from jobs
                     where finished_at is null and failed_at is null and run_at <= now() and kind = any($1)
                     order by run_at, id limit 1 for update skip locked)
         returning id, kind, payload, attempts",
        kinds,
        lease.as_secs_f64(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Job {
        id: row.id,
        kind: row.kind,
        payload: row.payload,
        attempt: u32::try_from(row.attempts).unwrap_or(1),
    }))
}

/// The job is done.
pub(super) async fn finish(db: &PgPool, id: i64) -> Result<()> {
    sqlx::query!("update jobs set finished_at = now(), last_error = null where id = $1", id).execute(db).await?;
    Ok(())
}

/// The job runs again after `pause`, or never.
pub(super) async fn fail(db: &PgPool, id: i64, message: &str, pause: Option<Duration>) -> Result<()> {
    let message: String = message.chars().take(500).collect();
    sqlx::query!(
        "update jobs set last_error = $2,
                run_at = case when $3::float8 is null then run_at else now() + make_interval(secs => $3::float8) end,
                failed_at = case when $3::float8 is null then now() end
         where id = $1",
        id,
        message,
        pause.map(|pause| pause.as_secs_f64()),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes jobs that were done more than `days` days ago; those given up stay for whoever looks into them.
pub(super) async fn clear(db: &PgPool, days: i32) -> Result<u64> {
    let done = sqlx::query!("delete from jobs where finished_at < now() - make_interval(days => $1)", days)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Jobs by state, for metrics and pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Due or to be run later.
    pub open: i64,
    /// Open jobs that should have started.
    pub due: i64,
    /// Given up.
    pub failed: i64,
}

/// Counts the queue.
///
/// # Errors
/// When the database fails.
pub async fn waiting(db: &PgPool) -> Result<Waiting> {
    let counts = sqlx::query_as!(
        Waiting,
        r#"select count(*) filter (where failed_at is null) as "open!",
                  count(*) filter (where failed_at is null and run_at <= now()) as "due!",
                  count(*) filter (where failed_at is not null) as "failed!"
           from jobs where finished_at is null"#,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}
