//! Assessments: kept unchangeable, read, and repeated.

use candor_engine::risk::{self, Assessment, Band, Policy, Proposal};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{AppError, Result};

use super::{models, scoring};

/// A kept assessment with everything that is needed to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredAssessment {
    /// Key.
    pub id: Uuid,
    /// The application.
    pub application_id: Uuid,
    /// The policy's key.
    pub policy_id: Uuid,
    /// What was scored.
    pub factors: risk::Application,
    /// The whole answer.
    pub assessment: Assessment,
    /// The policy as it was in force.
    pub policy: Policy,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl StoredAssessment {
    /// The baseline plus every contribution, which must be the margin.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.assessment.attributions.iter().fold(self.assessment.baseline, |sum, part| sum + part.contribution)
    }
}

/// The assessment with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn assessment(db: impl PgExecutor<'_>, id: Uuid) -> Result<StoredAssessment> {
    let row = sqlx::query!(
        r#"select a.id, a.application_id, a.policy_id, a.factors as "factors: Json<risk::Application>",
                  a.assessment as "assessment: Json<Assessment>", p.body as "policy: Json<Policy>", a.created_at
           from assessments a join policies p on p.id = a.policy_id where a.id = $1"#,
        id,
    )
    .fetch_optional(db)
    .await?
    .ok_or(AppError::NotFound("This assessment"))?;
    Ok(StoredAssessment {
        id: row.id,
        application_id: row.application_id,
        policy_id: row.policy_id,
        factors: row.factors.0,
        assessment: row.assessment.0,
        policy: row.policy.0,
        created_at: row.created_at,
    })
}

/// The newest assessment of an application.
///
/// # Errors
/// [`AppError::NotFound`] when it has none.
pub async fn latest(connection: &mut PgConnection, application: Uuid) -> Result<StoredAssessment> {
    let id = sqlx::query_scalar!(
        "select id from assessments where application_id = $1 order by created_at desc, id desc limit 1",
        application,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(AppError::NotFound("This application's assessment"))?;
    assessment(connection, id).await
}

/// An assessment made again from what was kept, and where it differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repetition {
    /// Whether the model is the one that made the assessment, by its hash.
    pub same_model: bool,
    /// Whether every bit came out again.
    pub same: bool,
    /// The first differences, as paths with both values; empty when `same`.
    pub differences: Vec<Difference>,
    /// The answer made now.
    pub assessment: Assessment,
}

/// One value that came out differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Where, for instance `attributions[3].contribution`.
    pub at: String,
    /// What was kept.
    pub kept: String,
    /// What came out now.
    pub now: String,
}

/// Differences named at most.
const NAMED: usize = 12;

/// Scores the kept factors again with the kept model and the kept policy, whatever is in force now, and compares every
/// bit.
///
/// # Errors
/// [`AppError::NotFound`] when the model is not kept here.
pub async fn repeat(connection: &mut PgConnection, stored: &StoredAssessment) -> Result<Repetition> {
    let model = models::model(connection, &stored.assessment.model_sha256).await?;
    let assessment = scoring::assess(&model, &stored.factors, &stored.policy)?;
    let mut differences = Vec::new();
    compare("", &serde_json::to_value(&stored.assessment)?, &serde_json::to_value(&assessment)?, &mut differences);
    // JSON writes the shortest digits that read back as the same bits; the bits themselves are compared all the same.
    for (at, kept, now) in [
        ("probability", stored.assessment.probability, assessment.probability),
        ("margin", stored.assessment.margin, assessment.margin),
        ("baseline", stored.assessment.baseline, assessment.baseline),
    ] {
        if kept.to_bits() != now.to_bits() && !differences.iter().any(|difference| difference.at == at) {
            differences.push(Difference { at: at.to_owned(), kept: format!("{kept:e}"), now: format!("{now:e}") });
        }
    }
    Ok(Repetition {
        same_model: stored.assessment.model_sha256 == assessment.model_sha256,
        same: differences.is_empty(),
        differences,
        assessment,
    })
}

fn compare(at: &str, kept: &Value, now: &Value, differences: &mut Vec<Difference>) {
    if kept == now || differences.len() >= NAMED {
        return;
    }
    match (kept, now) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                compare(&path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for place in 0..a.len().max(b.len()) {
                let (kept, now) = (a.get(place).unwrap_or(&Value::Null), b.get(place).unwrap_or(&Value::Null));
                compare(&format!("{at}[{place}]"), kept, now, differences);
            }
        }
        _ => differences.push(Difference { at: at.to_owned(), kept: kept.to_string(), now: now.to_string() }),
    }
}

/// The band in words.
#[must_use]
pub fn band_in_words(band: Band) -> &'static str {
    match band {
        Band::Low => "Low",
        Band::Medium => "Medium",
        Band::High => "High",
    }
}

/// The proposal in words.
#[must_use]
pub fn proposal_in_words(proposal: Proposal) -> &'static str {
    match proposal {
        Proposal::Approve => "Approve",
        Proposal::Refer => "Refer to an officer",
        Proposal::Decline => "Decline",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_where_they_are() {
        let mut differences = Vec::new();
        let kept = json!({ "a": [{ "b": 1.0 }, { "b": 2 }], "c": "x" });
        compare("", &kept, &json!({ "a": [{ "b": 1.5 }], "c": "x" }), &mut differences);
        let places: Vec<&str> = differences.iter().map(|difference| difference.at.as_str()).collect();
        assert_eq!(places, ["a[0].b", "a[1]"]);
        compare("", &kept, &kept, &mut differences);
        assert_eq!(differences.len(), 2);
    }
}
