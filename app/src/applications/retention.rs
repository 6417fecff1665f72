//! Keeping and erasing: 12 CFR 1002.12(b) asks for 25 months after the decision; after that nothing personal is kept.
//!
//! What is erased: who applied and with what, the values that were scored, comments, letters' texts, and the links to
//! customer and conversation. What stays: numbers without a person (probability, contributions by factor, band, outcome,
//! labels), for drift and model figures, and the audit log, whose entries hold no personal data: so the chain still
//! verifies from end to end.
//!
//! The same job erases the conversations that were kept as long ([`crate::conversations::erasure`]) and forgets what was
//! kept for programs that send twice: answers under an `Idempotency-Key` and events for webhooks.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::conversations::erasure;
use crate::crm::idempotency;
use crate::jobs::{self, Failure, Handler, Job};
use crate::webhooks;

/// The kind of job.
const JOB: &str = "applications.erase";
/// How often it runs.
const EVERY: TimeDelta = TimeDelta::hours(6);
/// Applications that one run erases at most, each in a transaction of its own.
const AT_ONCE: i64 = 500;

/// Sees to it that the job runs: once for all replicas.
///
/// # Errors
/// When the database fails.
pub async fn schedule(db: &PgPool) -> Result<()> {
    jobs::enqueue_once(db, JOB).await
}

/// Erases what was kept long enough, and comes back later.
pub struct EraseApplications;

#[async_trait]
impl Handler for EraseApplications {
    fn kind(&self) -> &'static str {
        JOB
    }

    fn attempts(&self) -> u32 {
        u32::MAX
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(5 * 60)
    }

    async fn run(&self, app: &App, _: &Job) -> Result<(), Failure> {
        let months = app.config.retention_months;
        let erased = erase_due(&app.db, months).await?;
        let said = erasure::erase_due(&app.db, months).await?;
        idempotency::forget_due(&app.db).await?;
        webhooks::forget_due(&app.db, months).await?;
        let reached = |done: usize, most: i64| i64::try_from(done).is_ok_and(|done| done >= most);
        let more = reached(erased, AT_ONCE) || reached(said, erasure::AT_ONCE);
        let next = Utc::now() + if more { TimeDelta::seconds(1) } else { EVERY };
        let mut connection = app.db.acquire().await?;
        jobs::enqueue(&mut connection, JOB, &json!({}), next).await?;
        Ok(())
    }
}

/// Erases applications that were decided more than `months` months ago, and says how many.
///
/// # Errors
/// When the database fails; what was erased so far stays erased.
pub async fn erase_due(db: &PgPool, months: u32) -> Result<usize> {
    let due = sqlx::query!(
        "select id, number from applications
         where erased_at is null and decided_at < now() - make_interval(months => $1) order by decided_at limit $2",
        i32::try_from(months).unwrap_or(i32::MAX),
        AT_ONCE,
    )
    .fetch_all(db)
    .await?;
    for application in &due {
        erase(db, application.id, application.number, months).await?;
    }
    Ok(due.len())
}

async fn erase(db: &PgPool, id: Uuid, number: i64, months: u32) -> Result<()> {
    let mut tx = db.begin().await?;
    let draft = sqlx::query_scalar!("select draft_id from applications where id = $1 for update", id)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query!(
        r#"update applications
           set erased_at = now(), applicant = '{"name": "Erased"}', session = '{}', factors = '{}', customer_id = null,
               conversation_id = null, external_id = null, status_token_hash = null, draft_id = null
           where id = $1"#,
        id,
    )
    .execute(&mut *tx)
    .await?;
    if let Some(draft) = draft {
        sqlx::query!("delete from application_drafts where id = $1", draft).execute(&mut *tx).await?;
    }
    sqlx::query!(
        r#"update assessments
           set factors = '{}',
               assessment = assessment || jsonb_build_object('attributions', coalesce(
                   (select jsonb_agg(part || '{"value": "erased", "raw": null, "in_words": ""}')
                    from jsonb_array_elements(assessment -> 'attributions') part), '[]'))
           where application_id = $1"#,
        id,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update letters set subject = 'Erased', body_html = '', body_text = '', mailed_to = null
         where decision_id in (select id from decisions where application_id = $1)",
        id,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update decisions
         set comment = '', override_reason = case when is_override then 'Erased after the time of keeping.' end
         where application_id = $1",
        id,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("update labels set note = '' where application_id = $1 and note <> ''", id).execute(&mut *tx).await?;
    let entry = Entry {
        actor: &Actor::System,
        action: "application.erased",
        subject_kind: "application",
        subject_id: id.to_string(),
        details: json!({ "number": number, "kept_months": months }),
    };
    audit::append(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(())
}
