//! The bank's policy as versioned data: where the bands of the probability lie, what each band proposes, and the
//! rules that stand beside the model.

use serde::{Deserialize, Serialize};

use super::application::Application;
use super::rules::{Facts, Rule};

/// How likely fraud is, in the policy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Below the first threshold.
    Low,
    /// Between the thresholds.
    Medium,
    /// At or above the second threshold.
    High,
}

impl Band {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Band::Low => "low",
            Band::Medium => "medium",
            Band::High => "high",
        }
    }
}

/// What the policy proposes to the officer; ordered from mild to severe. A person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposal {
    /// Nothing stands against it.
    Approve,
    /// An officer looks closely.
    Refer,
    /// Decline. Only a rule proposes this; the score alone never does.
    Decline,
}

impl Proposal {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Proposal::Approve => "approve",
            Proposal::Refer => "refer",
            Proposal::Decline => "decline",
        }
    }
}

/// The probabilities at which a band begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// From here on the band is medium.
    pub medium: f64,
    /// From here on the band is high.
    pub high: f64,
}

impl Bands {
    /// The band of a probability: a threshold belongs to the band above it.
    pub fn of(&self, probability: f64) -> Band {
        if probability >= self.high {
            Band::High
        } else if probability >= self.medium {
            Band::Medium
        } else {
            Band::Low
        }
    }
}

/// What each band proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposals {
    /// In the low band.
    pub low: Proposal,
    /// In the medium band.
    pub medium: Proposal,
    /// In the high band.
    pub high: Proposal,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its version; the store counts them.
    pub version: u64,
    /// Where the bands begin.
    pub bands: Bands,
    /// What each band proposes.
    pub proposals: Proposals,
    /// From this amount on, in cents, an override needs a second person.
    pub second_person_above_minor: i64,
    /// At most so many of the model's reasons are given (four is what Regulation B's commentary finds useful).
    pub max_reasons: usize,
    /// A factor is a reason only when it raised the log-odds by at least this much.
    pub min_contribution: f64,
    /// Whether letters of a decline say what would have changed the score.
    #[serde(default)]
    pub letters_name_changes: bool,
    /// The rules beside the model.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Why a policy cannot be used: the field at fault and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expected}")]
pub struct PolicyError {
    /// The field, as a path such as `rules[2].when.field`.
    pub field: String,
    /// What would be right.
    pub expected: String,
}

impl PolicyError {
    pub(super) fn new(field: impl Into<String>, expected: impl Into<String>) -> PolicyError {
        PolicyError { field: field.into(), expected: expected.into() }
    }
}

/// A rule that applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleHit {
    /// The rule's code.
    pub code: String,
    /// The rule's name, for officers.
    pub name: String,
    /// What it proposes.
    pub proposal: Proposal,
    /// The reason in a customer's words.
    pub text: String,
}

impl Policy {
    /// The policy that a new bank starts with (`policy.toml`).
    ///
    /// # Errors
    /// When the compiled-in text is not a policy; a test keeps that from happening.
    pub fn shipped() -> Result<Policy, PolicyError> {
        Policy::parse(include_str!("policy.toml"))
    }

    /// Reads a policy in TOML and checks it.
    ///
    /// # Errors
    /// What is wrong, with the field at fault.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let policy: Policy =
            toml::from_str(text).map_err(|error| PolicyError::new("policy", error.to_string().trim().to_owned()))?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first field that cannot be right.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let Bands { medium, high } = self.bands;
        if !(medium > 0.0 && medium < 1.0) {
            return Err(PolicyError::new("bands.medium", "must be a probability between 0 and 1"));
        }
        if !(high > medium && high < 1.0) {
            return Err(PolicyError::new("bands.high", "must be a probability above bands.medium and below 1"));
        }
        let Proposals { low, medium, high } = self.proposals;
        for (field, proposal) in [("low", low), ("medium", medium), ("high", high)] {
            if proposal == Proposal::Decline {
                return Err(PolicyError::new(
                    format!("proposals.{field}"),
                    "must be approve or refer: a score never declines alone, a rule may",
                ));
            }
        }
        if low > medium || medium > high {
            return Err(PolicyError::new("proposals", "must not become milder as the band rises"));
        }
        if self.second_person_above_minor < 0 {
            return Err(PolicyError::new("second_person_above_minor", "must be an amount in cents, 0 or more"));
        }
        if !(1..=8).contains(&self.max_reasons) {
            return Err(PolicyError::new("max_reasons", "must be from 1 to 8"));
        }
        if !(self.min_contribution >= 0.0 && self.min_contribution.is_finite()) {
            return Err(PolicyError::new("min_contribution", "must be a number of 0 or more, in log-odds"));
        }
        for (position, rule) in self.rules.iter().enumerate() {
            rule.validate(&format!("rules[{position}]"))?;
            if self.rules.iter().take(position).any(|earlier| earlier.code == rule.code) {
                return Err(PolicyError::new(format!("rules[{position}].code"), "must be used by one rule only"));
            }
        }
        Ok(())
    }

    /// The rules that apply, in the policy's order.
    pub fn hits(&self, application: &Application, probability: f64) -> Vec<RuleHit> {
        let facts = Facts { application, probability };
        let active = self.rules.iter().filter(|rule| rule.active && rule.when.holds(&facts));
        active
            .map(|rule| RuleHit {
                code: rule.code.clone(),
                name: rule.name.clone(),
                proposal: rule.then,
                text: rule.text.clone(),
            })
            .collect()
    }

    /// What band and rules propose together: the more severe of them.
    pub fn proposal(&self, band: Band, hits: &[RuleHit]) -> Proposal {
        let from_band = match band {
            Band::Low => self.proposals.low,
            Band::Medium => self.proposals.medium,
            Band::High => self.proposals.high,
        };
        hits.iter().map(|hit| hit.proposal).fold(from_band, Proposal::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Policy {
        Policy::shipped().unwrap()
    }

    #[test]
    fn the_shipped_policy_is_valid_and_survives_json() {
        let policy = shipped();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
    }

    #[test]
    fn a_threshold_belongs_to_the_band_above_it() {
        let bands = Bands { medium: 0.1, high: 0.4 };
        assert_eq!(bands.of(0.0999), Band::Low);
        assert_eq!(bands.of(0.1), Band::Medium);
        assert_eq!(bands.of(0.4), Band::High);
    }

    #[test]
    fn a_score_never_declines_alone() {
        let mut policy = shipped();
        policy.proposals.high = Proposal::Decline;
        assert_eq!(policy.validate().unwrap_err().field, "proposals.high");
    }

    #[test]
    fn errors_name_the_field() {
        let mut policy = shipped();
        policy.bands.high = policy.bands.medium;
        assert_eq!(policy.validate().unwrap_err().field, "bands.high");
        let mut policy = shipped();
        policy.max_reasons = 0;
        assert_eq!(policy.validate().unwrap_err().field, "max_reasons");
        let mut policy = shipped();
        let twice = policy.rules[0].clone();
        policy.rules.push(twice);
        assert!(policy.validate().unwrap_err().field.ends_with(".code"));
    }

    #[test]
    fn a_fraudulent_device_is_proposed_for_decline_and_an_ordinary_one_is_not() {
        let policy = shipped();
        let device = Application { device_fraud_count: Some(2.0), ..Application::default() };
        let hits = policy.hits(&device, 0.001);
        assert_eq!(policy.proposal(Band::Low, &hits), Proposal::Decline, "{hits:?}");
        let ordinary = Application { device_fraud_count: Some(0.0), ..Application::default() };
        let hits = policy.hits(&ordinary, 0.001);
        assert_eq!((policy.proposal(Band::Low, &hits), hits.len()), (Proposal::Approve, 0));
    }
}
