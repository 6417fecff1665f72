//! Drafting, changing, activating and retiring policies.

use candor_engine::risk::{Bands, Policy};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::Person;
use crate::app::App;
use crate::audit::{self, Entry};
use crate::error::OnConstraint;
use crate::{AppError, Result};

use super::difference;
use super::store::{self, Status, StoredPolicy};

/// Drafts a new policy from the one in force, with other bands where there are any.
///
/// # Errors
/// [`AppError::Invalid`] when the bands can not be right.
pub async fn draft(app: &App, person: &Person, bands: Option<Bands>, note: &str) -> Result<Uuid> {
    let mut transaction = app.db.begin().await?;
    let active = store::active(&mut transaction).await?;
    let version = store::next_version(&mut transaction).await?;
    let bands = bands.unwrap_or(active.body.bands);
    let body = Policy { version: u64::try_from(version).unwrap_or(active.body.version), bands, ..active.body };
    body.validate().map_err(|fault| AppError::field(fault.field, format!("This {}.", fault.expected)))?;
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into policies (id, version, name, note, body, status, drafted_by)
         overriding system value values ($1, $2, $3, $4, $5, 'draft', $6)",
        id,
        version,
        format!("Draft of version {version}"),
        note,
        serde_json::to_value(&body)?,
        person.id,
    )
    .execute(&mut *transaction)
    .await?;
    let details = json!({ "version": version, "from_version": active.version, "bands": bands });
    record(&mut transaction, person, "policy.drafted", id, details).await?;
    transaction.commit().await?;
    Ok(id)
}

/// Keeps a changed draft. Whoever changed it last is its drafter: somebody else activates it.
pub(super) async fn save(app: &App, person: &Person, id: Uuid, name: &str, note: &str, body: &Policy) -> Result<()> {
    let mut transaction = app.db.begin().await?;
    let before = lock_draft(&mut transaction, id).await?;
    sqlx::query!(
        "update policies set name = $2, note = $3, body = $4, drafted_by = $5 where id = $1",
        id,
        name,
        note,
        serde_json::to_value(body)?,
        person.id,
    )
    .execute(&mut *transaction)
    .await?;
    let changes: Vec<_> = difference::lines(&before.body, body)
        .into_iter()
        .filter(difference::Line::is_change)
        .map(|line| json!({ "what": line.label, "before": line.before, "after": line.after }))
        .collect();
    record(&mut transaction, person, "policy.changed", id, json!({ "version": before.version, "changes": changes }))
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Puts a draft in force and retires the one before. That a second person does it is held by the database.
pub(super) async fn activate(app: &App, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = app.db.begin().await?;
    let draft = lock_draft(&mut transaction, id).await?;
    let before = store::active(&mut transaction).await?;
    sqlx::query!("update policies set status = 'retired', retired_at = now() where id = $1", before.id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        "update policies set status = 'active', activated_by = $2, activated_at = now() where id = $1",
        id,
        person.id,
    )
    .execute(&mut *transaction)
    .await
    .on_constraint("policies_four_eyes", || {
        AppError::Forbidden("A second person activates a policy, not the one who drafted it.".to_owned())
    })?;
    let details = json!({
        "version": draft.version,
        "drafted_by": draft.drafted_by,
        "replaces_version": before.version,
        "policy": draft.body,
    });
    record(&mut transaction, person, "policy.activated", id, details).await?;
    transaction.commit().await?;
    Ok(())
}

/// Gives a draft up.
pub(super) async fn retire(app: &App, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = app.db.begin().await?;
    let draft = lock_draft(&mut transaction, id).await?;
    sqlx::query!("update policies set status = 'retired', retired_at = now() where id = $1", id)
        .execute(&mut *transaction)
        .await?;
    record(&mut transaction, person, "policy.retired", id, json!({ "version": draft.version })).await?;
    transaction.commit().await?;
    Ok(())
}

async fn lock_draft(connection: &mut PgConnection, id: Uuid) -> Result<StoredPolicy> {
    sqlx::query!("select id from policies where id = $1 for update", id).fetch_optional(&mut *connection).await?;
    let policy = store::find(connection, id).await?;
    if policy.status != Status::Draft {
        return Err(AppError::Conflict("This policy is no draft any more. Nothing was changed.".to_owned()));
    }
    Ok(policy)
}

async fn record(
    connection: &mut PgConnection,
    person: &Person,
    action: &str,
    policy: Uuid,
    details: serde_json::Value,
) -> Result<()> {
    let entry =
        Entry { actor: &person.actor(), action, subject_kind: "policy", subject_id: policy.to_string(), details };
    audit::append(connection, entry).await?;
    Ok(())
}
