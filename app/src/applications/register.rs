//! Every application with its last assessment, as auditors list them.

use candor_engine::risk::{Band, Proposal};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

use super::application::Status;

/// One application in the register.
#[derive(Debug, Clone, Serialize)]
pub struct Registered {
    /// Key.
    pub id: Uuid,
    /// The reference that applicants quote.
    pub number: i64,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Where it stands.
    pub status: Status,
    /// Probability of fraud of the last assessment.
    pub probability: f64,
    /// Its band, as stored.
    pub band: String,
    /// What the policy proposed, as stored.
    pub proposal: String,
    /// The model's version.
    pub model_version: String,
    /// The policy's version.
    pub policy_version: i64,
    /// Whether the last decision differs from the proposal.
    pub is_override: bool,
    /// Who made the last decision.
    pub decided_by: Option<String>,
}

/// What of the register is wanted; `None` leaves a field open.
#[derive(Debug, Clone, Copy, Default)]
pub struct RegisterFilter {
    /// Only this band.
    pub band: Option<Band>,
    /// Only this proposal.
    pub proposal: Option<Proposal>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only decisions that differ from the proposal.
    pub overrides: bool,
    /// Only numbers below this one: the next page.
    pub below: Option<i64>,
}

/// Up to `limit` applications, the newest number first.
///
/// # Errors
/// When the database fails.
pub async fn register(db: impl PgExecutor<'_>, filter: RegisterFilter, limit: i64) -> Result<Vec<Registered>> {
    let found = sqlx::query_as!(
        Registered,
        r#"select a.id, a.number, a.received_at, a.status as "status: Status", s.probability, s.band, s.proposal,
                  s.model_version, p.version as policy_version, coalesce(d.is_override, false) as "is_override!",
                  by.name as "decided_by?"
           from applications a
           join lateral (select * from assessments s where s.application_id = a.id
                         order by s.created_at desc, s.id desc limit 1) s on true
           join policies p on p.id = s.policy_id
           left join lateral (select * from decisions d where d.application_id = a.id and d.status <> 'rejected'
                              order by d.created_at desc, d.id desc limit 1) d on true
           left join people by on by.id = d.decided_by
           where ($1::bigint is null or a.number < $1)
             and ($2::text is null or s.band = $2)
             and ($3::text is null or s.proposal = $3)
             and ($4::text is null or a.status = $4)
             and (not $5 or d.is_override)
           order by a.number desc limit $6"#,
        filter.below,
        filter.band.map(Band::as_str),
        filter.proposal.map(Proposal::as_str),
        filter.status.map(Status::as_str),
        filter.overrides,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(found)
}
