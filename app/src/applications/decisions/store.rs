//! Decisions as they are kept.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{AppError, Result};

/// What an officer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Outcome {
    /// The loan is granted.
    Approved,
    /// The loan is not granted.
    Declined,
    /// A colleague looks at it again.
    Referred,
    /// The applicant is asked for documents.
    Documents,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Approved, Self::Declined, Self::Referred, Self::Documents];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Referred => "referred",
            Self::Documents => "documents",
        }
    }

    /// For officers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::Declined => "Declined",
            Self::Referred => "Referred",
            Self::Documents => "Documents asked for",
        }
    }

    /// Whether the applicant gets a letter.
    #[must_use]
    pub fn has_letter(self) -> bool {
        self != Self::Referred
    }
}

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DecisionStatus {
    /// Waits for a second person.
    Proposed,
    /// In force.
    Final,
    /// Refused by the second person, or taken back.
    Rejected,
}

impl DecisionStatus {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Final => "final",
            Self::Rejected => "rejected",
        }
    }

    /// For officers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Proposed => "waits for a second person",
            Self::Final => "final",
            Self::Rejected => "not confirmed",
        }
    }
}

/// A kept decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Key.
    pub id: Uuid,
    /// The application.
    pub application_id: Uuid,
    /// The assessment that the officer saw.
    pub assessment_id: Uuid,
    /// What was decided.
    pub outcome: Outcome,
    /// Coded reasons, or codes of documents.
    pub reason_codes: Vec<String>,
    /// For colleagues.
    pub comment: String,
    /// Against the policy's proposal.
    pub is_override: bool,
    /// Why against it.
    pub override_reason: Option<String>,
    /// A second person was needed.
    pub needs_second: bool,
    /// Where it stands.
    pub status: DecisionStatus,
    /// Who decided.
    pub decided_by: Uuid,
    /// That person's name.
    pub decided_by_name: String,
    /// Who confirmed or refused it.
    pub seconded_by: Option<Uuid>,
    /// That person's name.
    pub seconded_by_name: Option<String>,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
    /// When it became final or was refused.
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! select_decision {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Decision,
            r#"select d.id, d.application_id, d.assessment_id, d.outcome as "outcome: Outcome", d.reason_codes, d.comment,
                      d.is_override, d.override_reason, d.needs_second, d.status as "status: DecisionStatus",
                      d.decided_by, p.name as decided_by_name, d.seconded_by, s.name as "seconded_by_name?",
                      d.created_at, d.finished_at
               from decisions d join people p on p.id = d.decided_by left join people s on s.id = d.seconded_by "#
               + $rest
            $(, $argument)*
        )
    };
}

/// The decision with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Decision> {
    select_decision!("where d.id = $1", id).fetch_optional(db).await?.ok_or(AppError::NotFound("This decision"))
}

/// The decision with that key, locked, if it waits for a second person.
pub(super) async fn lock_open(connection: &mut PgConnection, id: Uuid) -> Result<Decision> {
    let decision = select_decision!("where d.id = $1 for update of d", id).fetch_optional(connection).await?;
    let decision = decision.ok_or(AppError::NotFound("This decision"))?;
    if decision.status != DecisionStatus::Proposed {
        return Err(AppError::Conflict("This decision does not wait for a second person any more.".to_owned()));
    }
    Ok(decision)
}

/// All decisions about an application, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn of_application(db: impl PgExecutor<'_>, application: Uuid) -> Result<Vec<Decision>> {
    Ok(select_decision!("where d.application_id = $1 order by d.created_at, d.id", application).fetch_all(db).await?)
}

/// The newest decision in force about an application.
///
/// # Errors
/// When the database fails.
pub async fn last_final(db: impl PgExecutor<'_>, application: Uuid) -> Result<Option<Decision>> {
    Ok(select_decision!(
        "where d.application_id = $1 and d.status = 'final' order by d.finished_at desc, d.id desc limit 1",
        application,
    )
    .fetch_optional(db)
    .await?)
}
