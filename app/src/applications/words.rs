//! What an applicant is told: where the application stands, why, and what happens next.

use candor_engine::risk::{Assessment, Proposal};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::Result;

use super::decisions::{self, Decision, Outcome};
use super::{Application, Status, assessments, reasons};

/// Where an application stands, as far as its applicant may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerState {
    /// Received, being looked at.
    InReview,
    /// Documents are awaited.
    Documents,
    /// Approved.
    Approved,
    /// Declined.
    Declined,
    /// Withdrawn.
    Withdrawn,
}

/// An application in its applicant's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CustomerWords {
    /// Where it stands.
    pub state: CustomerState,
    /// That, in a few words.
    pub headline: String,
    /// That, in a sentence or two.
    pub text: String,
    /// Why: reasons of a decision, documents that are missing, or what is looked at more closely.
    pub reasons: Vec<String>,
    /// What happens next.
    pub next: String,
    /// The day by which it is decided.
    pub decide_by: NaiveDate,
}

/// What is said in the moment of arrival. No score decides: a person does, so nothing is promised here.
#[must_use]
pub(crate) fn on_arrival(application: &Application, assessment: &Assessment) -> CustomerWords {
    let (text, reasons) = match assessment.proposal {
        Proposal::Approve => ("Nothing we checked so far stands against it.", Vec::new()),
        Proposal::Refer | Proposal::Decline => {
            ("Some of it needs a closer look by one of our credit officers.", looked_at(assessment))
        }
    };
    in_review(application, text, reasons)
}

/// Where an application stands now.
///
/// # Errors
/// When the database fails.
pub async fn customer_words(connection: &mut PgConnection, application: &Application) -> Result<CustomerWords> {
    let decision = decisions::last_final(&mut *connection, application.id).await?;
    let words = match (application.status, decision) {
        (Status::Withdrawn, _) => CustomerWords {
            state: CustomerState::Withdrawn,
            headline: "You withdrew this application".to_owned(),
            text: "We do not look at it any more.".to_owned(),
            reasons: Vec::new(),
            next: "You can apply again at any time.".to_owned(),
            decide_by: application.decide_by.date_naive(),
        },
        (Status::Approved | Status::Declined | Status::Documents, Some(decision)) => {
            let stored = assessments::assessment(&mut *connection, decision.assessment_id).await?;
            decided(application, &decision, reasons::in_words(&decision.reason_codes, &stored.assessment))
        }
        _ => {
            let stored = assessments::latest(connection, application.id).await?;
            on_arrival(application, &stored.assessment)
        }
    };
    Ok(words)
}

fn decided(application: &Application, decision: &Decision, reasons: Vec<String>) -> CustomerWords {
    let decide_by = application.decide_by.date_naive();
    let (state, headline, text, next) = match decision.outcome {
        Outcome::Approved => (
            CustomerState::Approved,
            "Your loan is approved",
            format!("We approved {} over {} months.", application.amount(), application.term_months),
            "The contract is on its way to you. The money is paid out when you have signed it.",
        ),
        Outcome::Declined => (
            CustomerState::Declined,
            "We can not offer you this loan",
            "A credit officer decided this. The main reasons are below.".to_owned(),
            "You can ask us to look at it again, and you can apply again at any time.",
        ),
        Outcome::Documents | Outcome::Referred => (
            CustomerState::Documents,
            "We need something from you",
            "We can go on when we have what is listed below.".to_owned(),
            "Send it to us by mail or bring it to a branch. We then decide without delay.",
        ),
    };
    CustomerWords { state, headline: headline.to_owned(), text, reasons, next: next.to_owned(), decide_by }
}

fn in_review(application: &Application, text: &str, reasons: Vec<String>) -> CustomerWords {
    CustomerWords {
        state: CustomerState::InReview,
        headline: "We have your application".to_owned(),
        text: text.to_owned(),
        reasons,
        next: format!("A credit officer decides, not a computer. You hear from us by {}.", day(application.decide_by)),
        decide_by: application.decide_by.date_naive(),
    }
}

/// What an officer will look at: rules first, then the factors that raised the score most.
fn looked_at(assessment: &Assessment) -> Vec<String> {
    let mut texts: Vec<String> = assessment.rule_hits.iter().map(|hit| hit.text.clone()).collect();
    texts.extend(assessment.reasons.iter().map(|reason| reason.text.clone()));
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts.truncate(reasons::MOST);
    texts
}

/// A day as customers read it, such as `Wednesday 23 December`.
#[must_use]
pub(super) fn day(at: DateTime<Utc>) -> String {
    at.format("%A %-d %B").to_string()
}
