//! Models as they are kept.

use candor_engine::risk::training::Variant;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{AppError, Result};

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Kept, and scores nothing.
    Registered,
    /// Scores every application beside the one in force, seen by nobody who decides.
    Shadow,
    /// In force.
    Active,
    /// Was in force.
    Retired,
}

impl Status {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::Shadow => "In shadow",
            Self::Active => "In force",
            Self::Retired => "Retired",
        }
    }
}

/// A kept model without its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredModel {
    /// Key.
    pub id: Uuid,
    /// Its version.
    pub version: String,
    /// SHA-256 over its file.
    pub sha256: String,
    /// Its card in Markdown.
    pub card: String,
    /// Whether it came with the program.
    pub came_with: bool,
    /// Where it stands.
    pub status: Status,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Since when it has been scoring in shadow, the last time that it did.
    pub shadow_since: Option<DateTime<Utc>>,
    /// Who proposes to put it in force.
    pub proposed_by: Option<Uuid>,
    /// That person's name.
    pub proposed_by_name: Option<String>,
    /// Who put it in force.
    pub promoted_by_name: Option<String>,
    /// When it was put in force.
    pub promoted_at: Option<DateTime<Utc>>,
    /// When another one took its place.
    pub retired_at: Option<DateTime<Utc>>,
}

macro_rules! select_model {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            StoredModel,
            r#"select m.id, m.version, m.sha256, m.card, m.came_with, m.status as "status: Status", m.created_at,
                      m.shadow_since, m.proposed_by, p.name as "proposed_by_name?", a.name as "promoted_by_name?",
                      m.promoted_at, m.retired_at
               from risk_models m left join people p on p.id = m.proposed_by left join people a on a.id = m.promoted_by "#
               + $rest
            $(, $argument)*
        )
    };
}

/// Every model, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<StoredModel>> {
    Ok(select_model!("order by m.created_at desc, m.id desc").fetch_all(db).await?)
}

/// The model with that key.
pub(super) async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<StoredModel> {
    select_model!("where m.id = $1", id).fetch_optional(db).await?.ok_or(AppError::NotFound("This model"))
}

/// The model with that key, locked until the transaction ends.
pub(super) async fn lock(db: impl PgExecutor<'_>, id: Uuid) -> Result<StoredModel> {
    select_model!("where m.id = $1 for update of m", id)
        .fetch_optional(db)
        .await?
        .ok_or(AppError::NotFound("This model"))
}

/// The model that is in force, or in shadow.
pub(super) async fn with_status(db: impl PgExecutor<'_>, status: Status) -> Result<Option<StoredModel>> {
    let word = match status {
        Status::Registered => "registered",
        Status::Shadow => "shadow",
        Status::Active => "active",
        Status::Retired => "retired",
    };
    Ok(select_model!("where m.status = $1 limit 1", word).fetch_optional(db).await?)
}

/// The variants that the training of a model tried in search of a less discriminatory one; none where it did not search.
///
/// # Errors
/// When the database fails.
pub async fn alternatives(db: impl PgExecutor<'_>, sha256: &str) -> Result<Vec<Variant>> {
    let kept = sqlx::query_scalar!(
        r#"select alternatives as "alternatives: Json<Vec<Variant>>" from risk_models where sha256 = $1"#,
        sha256
    )
    .fetch_optional(db)
    .await?;
    Ok(kept.flatten().map(|kept| kept.0).unwrap_or_default())
}
