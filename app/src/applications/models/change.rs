//! Registering models, letting one score in shadow, and putting one in force.

use std::path::Path;

use candor_engine::risk::training::Variant;
use candor_engine::risk::{self, Model};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::accounts::Person;
use crate::audit::{self, Actor, Entry};
use crate::error::OnConstraint;
use crate::{AppError, Result};

use super::store::{self, Status, StoredModel};

/// Installs the risk model in `weights`, or the one inside the program; see [`install`].
///
/// # Errors
/// [`AppError::Unavailable`] when the folder's model can not be read; as [`install`].
pub async fn install_brought(db: &PgPool, weights: Option<&Path>) -> Result<()> {
    let unreadable = |error: std::io::Error| AppError::Unavailable(format!("weights: the risk model: {error}"));
    let (file, card) = match weights.map(|folder| folder.join("risk")) {
        // A new bank gets the program's own model with its first application.
        None if store::list(db).await?.is_empty() => return Ok(()),
        None => (risk::SHIPPED_MODEL.to_vec(), risk::SHIPPED_CARD.to_owned()),
        Some(folder) => (
            std::fs::read(folder.join("model.json")).map_err(unreadable)?,
            std::fs::read_to_string(folder.join("README.md")).unwrap_or_default(),
        ),
    };
    install(db, &file, &card).await
}

/// Registers the model that the program came with, and puts it in force where none is, or where the one in force came
/// with the program too: an upgrade of the program brings its model, but never takes the place of one that people chose.
///
/// # Errors
/// When the file is no model for applications, or the database fails.
pub async fn install(db: &PgPool, file: &[u8], card: &str) -> Result<()> {
    let mut transaction = db.begin().await?;
    install_within(&mut transaction, file, card).await?;
    transaction.commit().await?;
    Ok(())
}

/// The same within the caller's transaction.
pub(super) async fn install_within(connection: &mut PgConnection, file: &[u8], card: &str) -> Result<()> {
    let model = checked(file)?;
    // Replicas that do the same at the same moment wait for each other here.
    sqlx::query!("select pg_advisory_xact_lock(7241002)").execute(&mut *connection).await?;
    let active = store::with_status(&mut *connection, Status::Active).await?;
    if active.as_ref().is_some_and(|active| active.sha256 == model.sha256() || !active.came_with) {
        return Ok(());
    }
    let id = match by_sha256(connection, model.sha256()).await? {
        Some(known) => known,
        None => insert(connection, &model, file, card, true).await?,
    };
    if !store::find(&mut *connection, id).await?.came_with {
        // People registered it themselves: then people put it in force.
        return Ok(());
    }
    if let Some(before) = &active {
        retire(connection, before.id).await?;
    }
    sqlx::query!("update risk_models set status = 'active', promoted_at = now(), retired_at = null where id = $1", id)
        .execute(&mut *connection)
        .await?;
    let details = json!({
        "version": model.version(),
        "sha256": model.sha256(),
        "came_with_the_program": true,
        "replaces_sha256": active.map(|before| before.sha256),
    });
    record(connection, &Actor::System, "model.promoted", id, details).await
}

/// Registers a model: it is kept, and scores nothing yet.
///
/// # Errors
/// [`AppError::Invalid`] when the file is no model for applications, [`AppError::Conflict`] when it was registered before.
pub async fn register(connection: &mut PgConnection, actor: &Actor, file: &[u8], card: &str) -> Result<Uuid> {
    let model = checked(file)?;
    if by_sha256(connection, model.sha256()).await?.is_some() {
        return Err(AppError::Conflict("This model was registered before.".to_owned()));
    }
    let id = insert(connection, &model, file, card, false).await?;
    let details = json!({ "version": model.version(), "sha256": model.sha256() });
    record(connection, actor, "model.registered", id, details).await?;
    Ok(id)
}

/// Keeps what the training of a model tried in search of a less discriminatory one.
///
/// # Errors
/// When the database fails.
pub async fn keep_alternatives(connection: &mut PgConnection, model: Uuid, variants: &[Variant]) -> Result<()> {
    sqlx::query!("update risk_models set alternatives = $2 where id = $1", model, serde_json::to_value(variants)?,)
        .execute(connection)
        .await?;
    Ok(())
}

fn checked(file: &[u8]) -> Result<Model> {
    let model = Model::load(file).map_err(|fault| AppError::field("model", fault.to_string()))?;
    model.accepts_applications().map_err(|fault| AppError::field("model", fault.to_string()))?;
    Ok(model)
}

async fn by_sha256(connection: &mut PgConnection, sha256: &str) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar!("select id from risk_models where sha256 = $1", sha256).fetch_optional(connection).await?)
}

async fn insert(connection: &mut PgConnection, model: &Model, file: &[u8], card: &str, came: bool) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into risk_models (id, version, sha256, file, card, came_with) values ($1, $2, $3, $4, $5, $6)",
        id,
        model.version(),
        model.sha256(),
        file,
        card,
        came,
    )
    .execute(connection)
    .await?;
    Ok(id)
}

async fn retire(connection: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!("update risk_models set status = 'retired', retired_at = now() where id = $1", id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets a model score in shadow.
pub(super) async fn shadow(db: &PgPool, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = db.begin().await?;
    let model = store::lock(&mut *transaction, id).await?;
    if model.status == Status::Active {
        return Err(AppError::Conflict("This model is in force. Another one scores in shadow.".to_owned()));
    }
    sqlx::query!(
        "update risk_models set status = 'shadow', shadow_by = $2, shadow_since = now() where id = $1",
        id,
        person.id
    )
    .execute(&mut *transaction)
    .await
    .on_constraint("risk_models_one_shadow", || {
        AppError::Conflict("Another model scores in shadow. End that first.".to_owned())
    })?;
    record(&mut transaction, &person.actor(), "model.shadowed", id, facts(&model)).await?;
    transaction.commit().await?;
    Ok(())
}

/// Ends a model's time in shadow. What it said stays.
pub(super) async fn unshadow(db: &PgPool, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = db.begin().await?;
    let model = store::lock(&mut *transaction, id).await?;
    if model.status != Status::Shadow {
        return Err(AppError::Conflict("This model does not score in shadow.".to_owned()));
    }
    sqlx::query!(
        "update risk_models set status = 'registered', proposed_by = null, proposed_at = null where id = $1",
        id
    )
    .execute(&mut *transaction)
    .await?;
    record(&mut transaction, &person.actor(), "model.unshadowed", id, facts(&model)).await?;
    transaction.commit().await?;
    Ok(())
}

/// Proposes to put the model in shadow in force.
pub(super) async fn propose(db: &PgPool, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = db.begin().await?;
    let model = store::lock(&mut *transaction, id).await?;
    if model.status != Status::Shadow {
        return Err(AppError::Conflict("Only a model that scores in shadow is proposed.".to_owned()));
    }
    sqlx::query!("update risk_models set proposed_by = $2, proposed_at = now() where id = $1", id, person.id)
        .execute(&mut *transaction)
        .await?;
    record(&mut transaction, &person.actor(), "model.proposed", id, facts(&model)).await?;
    transaction.commit().await?;
    Ok(())
}

/// Puts a proposed model in force. That a second person does it is held by the database.
pub(super) async fn promote(db: &PgPool, person: &Person, id: Uuid) -> Result<()> {
    let mut transaction = db.begin().await?;
    let model = store::lock(&mut *transaction, id).await?;
    if model.status != Status::Shadow || model.proposed_by.is_none() {
        return Err(AppError::Conflict("This model is not proposed. Nothing was changed.".to_owned()));
    }
    let before = store::with_status(&mut *transaction, Status::Active).await?;
    if let Some(before) = &before {
        retire(&mut transaction, before.id).await?;
    }
    sqlx::query!(
        "update risk_models set status = 'active', promoted_by = $2, promoted_at = now(), retired_at = null where id = $1",
        id,
        person.id,
    )
    .execute(&mut *transaction)
    .await
    .on_constraint("risk_models_four_eyes", || {
        AppError::Forbidden("A second person puts a model in force, not the one who proposed it.".to_owned())
    })?;
    let mut details = facts(&model);
    if let Some(details) = details.as_object_mut() {
        details.insert("proposed_by".to_owned(), json!(model.proposed_by));
        details.insert("replaces_sha256".to_owned(), json!(before.map(|before| before.sha256)));
    }
    record(&mut transaction, &person.actor(), "model.promoted", id, details).await?;
    transaction.commit().await?;
    Ok(())
}

fn facts(model: &StoredModel) -> Value {
    json!({ "version": model.version, "sha256": model.sha256 })
}

async fn record(connection: &mut PgConnection, actor: &Actor, action: &str, model: Uuid, details: Value) -> Result<()> {
    let entry = Entry { actor, action, subject_kind: "model", subject_id: model.to_string(), details };
    audit::append(connection, entry).await?;
    Ok(())
}
