//! Similar past cases: applications that the same factors moved by about the same amount, and what became of them.

use candor_engine::risk::importance::nearest;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;

use super::Status;
use super::assessments::StoredAssessment;
use super::labels::LabelKind;

/// Earlier applications that are compared, at most: the newest ones.
const COMPARED: i64 = 1000;
/// Cases that are shown.
const SHOWN: usize = 6;

/// An earlier application like this one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Precedent {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) received_at: DateTime<Utc>,
    pub(super) status: Status,
    pub(super) probability: f64,
    /// What became of it, as far as it is known.
    pub(super) label: Option<LabelKind>,
    /// Distance of the contributions, in log-odds.
    pub(super) distance: f64,
}

/// The nearest of the applications that were decided and that the same model scored before this one arrived. Contributions
/// of different models are not comparable.
pub(super) async fn precedents(db: &PgPool, stored: &StoredAssessment) -> Result<Vec<Precedent>> {
    let mut own: Vec<(&str, f64)> =
        stored.assessment.attributions.iter().map(|part| (part.factor.as_str(), part.contribution)).collect();
    own.sort_by_key(|(factor, _)| *factor);
    let own: Vec<f64> = own.into_iter().map(|(_, contribution)| contribution).collect();
    let rows = sqlx::query!(
        r#"select a.id, a.number, a.received_at, a.status as "status: Status", s.probability,
                  (select l.kind from labels l where l.application_id = a.id
                   order by (l.kind in ('confirmed_fraud', 'false_alarm', 'repaid')) desc, l.known_at desc, l.id desc
                   limit 1) as "label: LabelKind",
                  (select array_agg((part ->> 'contribution')::float8 order by (part ->> 'factor') collate "C")
                   from jsonb_array_elements(s.assessment -> 'attributions') part) as "contributions!"
           from applications a
           join lateral (select probability, model_sha256, assessment from assessments
                         where application_id = a.id order by created_at, id limit 1) s on true
           where a.received_at < (select received_at from applications where id = $1)
             and a.status in ('approved', 'declined') and s.model_sha256 = $2
           order by a.received_at desc, a.id desc limit $3"#,
        stored.application_id,
        stored.assessment.model_sha256,
        COMPARED,
    )
    .fetch_all(db)
    .await?;
    let near = nearest(&own, rows.iter().map(|row| row.contributions.as_slice()), SHOWN);
    Ok(near
        .into_iter()
        .filter_map(|(position, distance)| {
            let row = rows.get(position)?;
            Some(Precedent {
                id: row.id,
                number: row.number,
                received_at: row.received_at,
                status: row.status,
                probability: row.probability,
                label: row.label,
                distance,
            })
        })
        .collect())
}
