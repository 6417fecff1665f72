//! What an officer wants to decide, checked against the assessment before anything is kept.

use candor_engine::risk::{Assessment, Band, Proposal};

use crate::error::FieldError;
use crate::{AppError, Result};

use super::super::reasons::{self, FEWEST, MOST};
use super::Outcome;

/// Fewest characters of the reason for an override; the database's constraint says the same.
pub const OVERRIDE_REASON_LETTERS: usize = 10;

/// A decision about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is decided.
    pub outcome: Outcome,
    /// Coded reasons of a decline, or codes of the documents asked for.
    pub codes: Vec<String>,
    /// For colleagues.
    pub comment: String,
    /// Why against the policy's proposal.
    pub override_reason: String,
}

/// Whether deciding so goes against the policy's proposal.
///
/// The opposite of a proposal is an override. "Refer" asks for an officer's look and leaves the outcome open, but in the
/// high band the policy's bands speak against an approval, so approving there is an override too.
#[must_use]
pub fn is_override(outcome: Outcome, assessment: &Assessment) -> bool {
    match (outcome, assessment.proposal) {
        (Outcome::Approved, Proposal::Decline) | (Outcome::Declined, Proposal::Approve) => true,
        (Outcome::Approved, Proposal::Refer) => assessment.band == Band::High,
        _ => false,
    }
}

impl Verdict {
    /// Refuses what can not be decided so.
    ///
    /// # Errors
    /// [`AppError::Invalid`] with every field that needs another look.
    pub fn check(&self, assessment: &Assessment) -> Result<()> {
        let mut faults = Vec::new();
        let offered = reasons::offered(assessment);
        match self.outcome {
            Outcome::Declined => {
                if !(FEWEST..=MOST).contains(&self.codes.len()) {
                    faults.push(FieldError::new(
                        "codes",
                        format!("Choose {FEWEST} to {MOST} reasons; {} are chosen.", self.codes.len()),
                    ));
                }
                for code in &self.codes {
                    if !offered.iter().any(|offer| &offer.reason.code == code) {
                        faults.push(FieldError::new(
                            "codes",
                            format!("{code} is no reason here: it did not raise the score of this application."),
                        ));
                    }
                }
                if let Some(reason) = reasons::left_out(assessment, &self.codes).filter(|_| !self.codes.is_empty()) {
                    faults.push(FieldError::new(
                        "codes",
                        format!(
                            "{} ({}) weighed more and is left out. Name it too: no principal reason may be left out.",
                            reason.label, reason.code
                        ),
                    ));
                }
            }
            Outcome::Documents => {
                if self.codes.is_empty() {
                    faults.push(FieldError::new("documents", "Choose at least one document."));
                }
                for code in &self.codes {
                    if !reasons::documents().iter().any(|document| &document.code == code) {
                        faults.push(FieldError::new(
                            "documents",
                            format!("{code} is no document that can be asked for."),
                        ));
                    }
                }
            }
            Outcome::Referred => {
                if self.comment.trim().is_empty() {
                    faults.push(FieldError::new("comment", "Say what a colleague should look at."));
                }
            }
            Outcome::Approved => {}
        }
        if self.comment.chars().count() > 2000 {
            faults.push(FieldError::new("comment", "Write at most 2,000 characters."));
        }
        let reason = self.override_reason.trim().chars().count();
        if is_override(self.outcome, assessment) && reason < OVERRIDE_REASON_LETTERS {
            faults.push(FieldError::new(
                "override_reason",
                format!("This goes against the policy's proposal. Say why, in at least {OVERRIDE_REASON_LETTERS} characters."),
            ));
        }
        if reason > 2000 {
            faults.push(FieldError::new("override_reason", "Write at most 2,000 characters."));
        }
        if faults.is_empty() { Ok(()) } else { Err(AppError::Invalid(faults)) }
    }

    /// The codes that are kept: an approval and a referral name none.
    #[must_use]
    pub(super) fn kept_codes(&self) -> &[String] {
        match self.outcome {
            Outcome::Declined | Outcome::Documents => &self.codes,
            Outcome::Approved | Outcome::Referred => &[],
        }
    }
}
