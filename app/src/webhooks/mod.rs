//! Webhooks, after the Standard Webhooks specification: what happened is told to the CRM, signed and retried.
//!
//! [`record`] runs in the transaction of the thing that happened: the event, one delivery for every webhook that
//! listens, and a job for each delivery. Whatever is committed is delivered, sooner or later.

mod deliver;
mod signature;

pub use deliver::Deliver;
pub use signature::secret;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{Result, jobs};

/// Every kind of event with its meaning.
pub const EVENTS: &[(&str, &str)] = &[
    ("message.created", "A message was added to a conversation"),
    ("conversation.handed_off", "A conversation waits for a person"),
    ("conversation.resolved", "A conversation was resolved"),
    ("application.submitted", "A loan application was received and scored"),
    ("application.decided", "A decision on an application is final"),
];

/// The kind of job that delivers.
const JOB: &str = "webhook";

/// Records an event and queues its deliveries, in the caller's transaction.
///
/// # Errors
/// When the database fails.
pub async fn record(connection: &mut PgConnection, kind: &str, data: &Value) -> Result<()> {
    let webhooks = sqlx::query_scalar!("select id from webhooks where active and $1 = any(events)", kind)
        .fetch_all(&mut *connection)
        .await?;
    if webhooks.is_empty() {
        return Ok(());
    }
    let event = Uuid::now_v7();
    sqlx::query!("insert into webhook_events (id, kind, payload) values ($1, $2, $3)", event, kind, data)
        .execute(&mut *connection)
        .await?;
    for webhook in webhooks {
        queue(connection, webhook, event).await?;
    }
    Ok(())
}

/// Forgets events that happened more than `months` months ago, with their deliveries, and says how many.
///
/// # Errors
/// When the database fails.
pub async fn forget_due(db: &PgPool, months: u32) -> Result<u64> {
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    let mut tx = db.begin().await?;
    sqlx::query!(
        "delete from webhook_deliveries where event_id in (
             select id from webhook_events where created_at < now() - make_interval(months => $1))",
        months,
    )
    .execute(&mut *tx)
    .await?;
    let forgotten =
        sqlx::query!("delete from webhook_events where created_at < now() - make_interval(months => $1)", months)
            .execute(&mut *tx)
            .await?;
    tx.commit().await?;
    Ok(forgotten.rows_affected())
}

/// Queues one delivery; one that was made before is made again.
///
/// # Errors
/// When the database fails.
pub async fn queue(connection: &mut PgConnection, webhook: Uuid, event: Uuid) -> Result<()> {
    let delivery = sqlx::query_scalar!(
        "insert into webhook_deliveries (id, webhook_id, event_id) values ($1, $2, $3)
         on conflict (webhook_id, event_id) do update set delivered_at = null, last_error = null
         returning id",
        Uuid::now_v7(),
        webhook,
        event,
    )
    .fetch_one(&mut *connection)
    .await?;
    jobs::enqueue(connection, JOB, &json!({ "delivery": delivery }), Utc::now()).await?;
    Ok(())
}
