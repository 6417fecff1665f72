//! Policies as they are kept.

use candor_engine::risk::Policy;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::audit::{self, Actor, Entry};
use crate::{AppError, Result};

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Being worked on.
    Draft,
    /// In force.
    Active,
    /// Was in force, or was given up.
    Retired,
}

impl Status {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Active => "Active",
            Self::Retired => "Retired",
        }
    }
}

/// A kept policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredPolicy {
    /// Key.
    pub id: Uuid,
    /// Its number; the same as in `body`.
    pub version: i64,
    /// Name.
    pub name: String,
    /// Why it was drafted.
    pub note: String,
    /// What it says.
    pub body: Policy,
    /// Where it stands.
    pub status: Status,
    /// Who drafted it; `None` for the one that came with the program.
    pub drafted_by: Option<Uuid>,
    /// That person's name.
    pub drafted_by_name: Option<String>,
    /// Who put it in force.
    pub activated_by: Option<Uuid>,
    /// That person's name.
    pub activated_by_name: Option<String>,
    /// When it was drafted.
    pub created_at: DateTime<Utc>,
    /// When it was put in force.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it was retired.
    pub retired_at: Option<DateTime<Utc>>,
}

struct Row {
    id: Uuid,
    version: i64,
    name: String,
    note: String,
    body: Json<Policy>,
    status: Status,
    drafted_by: Option<Uuid>,
    drafted_by_name: Option<String>,
    activated_by: Option<Uuid>,
    activated_by_name: Option<String>,
    created_at: DateTime<Utc>,
    activated_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

impl From<Row> for StoredPolicy {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            name: row.name,
            note: row.note,
            body: row.body.0,
            status: row.status,
            drafted_by: row.drafted_by,
            drafted_by_name: row.drafted_by_name,
            activated_by: row.activated_by,
            activated_by_name: row.activated_by_name,
            created_at: row.created_at,
            activated_at: row.activated_at,
            retired_at: row.retired_at,
        }
    }
}

macro_rules! select_policy {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select p.id, p.version, p.name, p.note, p.body as "body: Json<Policy>", p.status as "status: Status",
                      p.drafted_by, d.name as "drafted_by_name?", p.activated_by, a.name as "activated_by_name?",
                      p.created_at, p.activated_at, p.retired_at
               from policies p left join people d on d.id = p.drafted_by left join people a on a.id = p.activated_by "#
               + $rest
            $(, $argument)*
        )
    };
}

/// All policies, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<StoredPolicy>> {
    let rows = select_policy!("order by p.version desc").fetch_all(db).await?;
    Ok(rows.into_iter().map(StoredPolicy::from).collect())
}

/// The policy with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<StoredPolicy> {
    let row = select_policy!("where p.id = $1", id).fetch_optional(db).await?;
    row.map(StoredPolicy::from).ok_or(AppError::NotFound("This policy"))
}

/// The policy in force. A bank that has none yet gets the one that came with the program.
///
/// # Errors
/// When the database fails.
pub async fn active(connection: &mut PgConnection) -> Result<StoredPolicy> {
    if let Some(policy) = in_force(connection).await? {
        return Ok(policy);
    }
    install_shipped(connection).await?;
    in_force(connection).await?.ok_or_else(|| AppError::Internal("no policy is in force".to_owned()))
}

async fn in_force(connection: &mut PgConnection) -> Result<Option<StoredPolicy>> {
    Ok(select_policy!("where p.status = 'active'").fetch_optional(connection).await?.map(StoredPolicy::from))
}

/// The next version's number.
pub(super) async fn next_version(connection: &mut PgConnection) -> Result<i64> {
    let version = sqlx::query_scalar!(r#"select nextval(pg_get_serial_sequence('policies', 'version')) as "version!""#)
        .fetch_one(connection)
        .await?;
    Ok(version)
}

async fn install_shipped(connection: &mut PgConnection) -> Result<()> {
    let mut body = Policy::shipped().map_err(|fault| AppError::Internal(fault.to_string()))?;
    let version = next_version(connection).await?;
    body.version = u64::try_from(version).unwrap_or(1);
    let id = Uuid::now_v7();
    // Another replica may do the same at the same moment: the unique index lets one of them in.
    let done = sqlx::query!(
        "insert into policies (id, version, name, note, body, status, activated_at)
         overriding system value
         values ($1, $2, 'Policy of a new bank', 'Came with the program.', $3, 'active', now())
         on conflict ((true)) where status = 'active' do nothing",
        id,
        version,
        serde_json::to_value(&body)?,
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let entry = Entry {
        actor: &Actor::System,
        action: "policy.activated",
        subject_kind: "policy",
        subject_id: id.to_string(),
        details: json!({ "version": version, "came_with_the_program": true }),
    };
    audit::append(connection, entry).await?;
    Ok(())
}
