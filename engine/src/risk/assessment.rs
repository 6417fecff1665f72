//! The answer about one application, complete enough to be stored, shown, repeated and defended.

use serde::{Deserialize, Serialize};

use super::application::Value;
use super::policy::{Band, Proposal, RuleHit};

/// One application's score, explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Probability of fraud, 0 to 1: the logistic function of the margin, through the model's calibration curve where it
    /// has one.
    pub probability: f64,
    /// Log-odds of fraud: the baseline plus every contribution.
    pub margin: f64,
    /// Log-odds before anything is known of the applicant.
    pub baseline: f64,
    /// Every factor's part in the margin, the largest first.
    pub attributions: Vec<Attribution>,
    /// The factors that raised the score most, as a customer reads them.
    pub reasons: Vec<Reason>,
    /// The policy's rules that applied.
    pub rule_hits: Vec<RuleHit>,
    /// Factors that the model would have used and that were not given.
    pub missing: Vec<String>,
    /// The band of the probability.
    pub band: Band,
    /// What the policy proposes.
    pub proposal: Proposal,
    /// The model's version.
    pub model_version: String,
    /// SHA-256 over the model's file, in hexadecimal.
    pub model_sha256: String,
    /// The policy's version.
    pub policy_version: u64,
}

/// One factor's exact Shapley value in the margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The factor's name.
    pub factor: String,
    /// Its label in plain words.
    pub label: String,
    /// The applicant's value as people write it; "not given" when missing.
    pub value: String,
    /// The applicant's value as it was given.
    pub raw: Option<Value>,
    /// The 5th percentile in the training data, for numbers.
    pub usual_low: Option<f64>,
    /// The 95th percentile in the training data, for numbers.
    pub usual_high: Option<f64>,
    /// The usual values as people write them.
    pub usual: String,
    /// Its contribution in log-odds; above zero raises the score.
    pub contribution: f64,
    /// The contribution in words.
    pub in_words: String,
}

/// A reason as a customer reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The reason's code.
    pub code: String,
    /// The factor behind it.
    pub factor: String,
    /// The factor's label.
    pub label: String,
    /// The reason in a customer's words.
    pub text: String,
    /// The factor's contribution in log-odds.
    pub contribution: f64,
}
