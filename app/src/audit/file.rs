//! A decision's whole file: everything that is kept about one application, in one piece.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::applications::decisions::{self, Decision};
use crate::applications::letters::{self, Letter};
use crate::applications::{self, Application, StoredAssessment};
use crate::conversations::{Message, store};
use crate::{AppError, Result};

use super::ledger::{LedgerEntry, about};

/// The file. Serialised it is the JSON export; the page shows the same, section by section.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DecisionFile {
    /// When the file was put together.
    pub(super) made_at: DateTime<Utc>,
    /// What was applied for, and with which inputs.
    pub(super) application: Application,
    /// The last assessment: model hash, rules, probability, baseline, attributions, policy.
    pub(super) assessment: StoredAssessment,
    /// The baseline plus every contribution: equal to the margin up to rounding.
    pub(super) sum: f64,
    /// Decisions with the people who made them, the last first.
    pub(super) decisions: Vec<Decision>,
    /// Letters as sent.
    pub(super) letters: Vec<Letter>,
    /// The conversation it came from.
    pub(super) conversation: Option<Transcript>,
    /// Entries of the audit log about the application, in order.
    pub(super) log: Vec<LedgerEntry>,
}

/// A conversation as it was.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Transcript {
    /// Its number.
    pub(super) number: i64,
    /// All messages, notes included.
    pub(super) messages: Vec<Message>,
}

/// Puts the file together from one snapshot of the database.
pub(super) async fn decision_file(db: &PgPool, id: Uuid) -> Result<DecisionFile> {
    let mut tx = db.begin().await?;
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
    let application = applications::find(&mut *tx, id).await?;
    let assessment = applications::latest(&mut tx, id).await?;
    let decisions = decisions::of_application(&mut *tx, id).await?;
    let letters = letters::of_application(&mut *tx, id).await?;
    let conversation = match application.conversation_id {
        Some(conversation) => Some(Transcript {
            number: store::find(&mut *tx, conversation).await?.number,
            messages: store::messages_after(&mut *tx, conversation, 0).await?,
        }),
        None => None,
    };
    let log = about(&mut *tx, "application", &id.to_string()).await?;
    Ok(DecisionFile {
        made_at: Utc::now(),
        sum: assessment.sum(),
        application,
        assessment,
        decisions,
        letters,
        conversation,
        log,
    })
}

/// An application's id from its id or its number.
pub(super) async fn application_id(db: &PgPool, reference: &str) -> Result<Uuid> {
    if let Ok(id) = Uuid::try_parse(reference) {
        return Ok(id);
    }
    let number = reference.parse::<i64>().map_err(|_| AppError::NotFound("This application"))?;
    let found = applications::find_by_number(db, number).await?;
    found.map(|application| application.id).ok_or(AppError::NotFound("This application"))
}

/// A value that was kept beside the one that came out now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    /// What it is.
    pub(super) label: String,
    /// As kept.
    pub(super) kept: String,
    /// As it came out now.
    pub(super) now: String,
    /// Whether all 64 bits are the same.
    pub(super) same: bool,
}

fn compared(label: &str, kept: Option<f64>, now: Option<f64>) -> Compared {
    let words = |value: Option<f64>| {
        value.map_or_else(|| "absent".to_owned(), |value| format!("{value} ({:016x})", value.to_bits()))
    };
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    Compared { label: label.to_owned(), kept: words(kept), now: words(now), same: bits(kept) == bits(now) }
}

/// Probability, margin, baseline and each attribution, kept and now, bit by bit.
pub(super) fn comparison(
    kept: &candor_engine::risk::Assessment,
    now: &candor_engine::risk::Assessment,
) -> Vec<Compared> {
    let mut rows = vec![
        compared("Probability", Some(kept.probability), Some(now.probability)),
        compared("Margin", Some(kept.margin), Some(now.margin)),
        compared("Baseline", Some(kept.baseline), Some(now.baseline)),
    ];
    let mut rest: BTreeMap<&str, (&str, f64)> =
        now.attributions.iter().map(|part| (part.factor.as_str(), (part.label.as_str(), part.contribution))).collect();
    for part in &kept.attributions {
        let again = rest.remove(part.factor.as_str()).map(|(_, contribution)| contribution);
        rows.push(compared(&part.label, Some(part.contribution), again));
    }
    rows.extend(rest.into_values().map(|(label, contribution)| compared(label, None, Some(contribution))));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_a_difference() {
        let kept = 0.1_f64;
        let next = f64::from_bits(kept.to_bits() + 1);
        assert!(compared("p", Some(kept), Some(kept)).same);
        let differs = compared("p", Some(kept), Some(next));
        assert!(!differs.same);
        assert_eq!(differs.kept, "0.1 (3fb999999999999a)");
        assert!(!compared("p", Some(0.0), Some(-0.0)).same);
        assert!(!compared("p", None, Some(0.0)).same);
    }
}
