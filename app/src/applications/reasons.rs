//! Coded reasons: what a decision may name, in the officer's and in the customer's words.

use std::sync::OnceLock;

use candor_engine::risk::{Assessment, Catalogue, Policy, Role};
use serde::Deserialize;

/// Fewest and most reasons for a decline: 12 CFR 1002, comment 9(b)(2)-1.
pub(super) const FEWEST: usize = 1;
/// See [`FEWEST`].
pub(super) const MOST: usize = 4;

/// One coded reason or document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// Code, stable for ever.
    pub code: String,
    /// For officers.
    pub label: String,
    /// For customers.
    pub text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "reason")]
    reasons: Vec<Coded>,
    #[serde(rename = "document")]
    documents: Vec<Coded>,
}

fn file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    // The text is part of the program and a test reads it: an unreadable one never ships.
    FILE.get_or_init(|| toml::from_str(include_str!("reasons.toml")).unwrap_or_default())
}

/// Documents that can be asked for.
#[must_use]
pub(super) fn documents() -> &'static [Coded] {
    &file().documents
}

/// Reasons that only a person can find.
#[must_use]
pub(super) fn officers() -> &'static [Coded] {
    &file().reasons
}

/// A reason offered for one application.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offered {
    /// The reason.
    pub reason: Coded,
    /// What stands behind it: the factor's value and contribution, or the rule.
    pub because: String,
    /// One of the principal reasons of the assessment: ticked before the officer looks.
    pub principal: bool,
}

/// Every reason that may be named for this assessment: the principal ones first, then the policy's rules that applied,
/// then every other factor that raised the score, then what only a person can find. A factor that did not raise the
/// score is no reason.
#[must_use]
pub(super) fn offered(assessment: &Assessment) -> Vec<Offered> {
    let mut offered: Vec<Offered> = Vec::new();
    for hit in &assessment.rule_hits {
        offered.push(Offered {
            reason: Coded { code: hit.code.clone(), label: hit.name.clone(), text: hit.text.clone() },
            because: "A rule of the policy applied.".to_owned(),
            principal: offered.len() < MOST,
        });
    }
    for reason in &assessment.reasons {
        let said = offered.iter().any(|other| other.reason.text == reason.text);
        if !said {
            let principal = offered.len() < MOST;
            offered.push(Offered {
                reason: Coded { code: reason.code.clone(), label: reason.label.clone(), text: reason.text.clone() },
                because: format!("{:+.2} log-odds", reason.contribution),
                principal,
            });
        }
    }
    for part in assessment.attributions.iter().filter(|part| part.contribution > 0.0) {
        let Some(factor) = Catalogue::shipped().get(&part.factor) else { continue };
        if factor.role == Role::Input && !offered.iter().any(|other| other.reason.code == factor.code) {
            offered.push(Offered {
                reason: Coded { code: factor.code.clone(), label: factor.label.clone(), text: factor.reason.clone() },
                because: format!("{:+.2} log-odds", part.contribution),
                principal: false,
            });
        }
    }
    offered.extend(officers().iter().map(|reason| Offered {
        reason: reason.clone(),
        because: "Found by a person.".to_owned(),
        principal: false,
    }));
    offered
}

/// A code in the customer's words, as far as any list or the policy knows it.
#[must_use]
pub(crate) fn find(code: &str, policy: &Policy) -> Option<Coded> {
    if let Some(rule) = policy.rules.iter().find(|rule| rule.code == code) {
        return Some(Coded { code: rule.code.clone(), label: rule.name.clone(), text: rule.text.clone() });
    }
    if let Some(factor) = Catalogue::shipped().factors().iter().find(|factor| factor.code == code) {
        return Some(Coded { code: factor.code.clone(), label: factor.label.clone(), text: factor.reason.clone() });
    }
    file().reasons.iter().chain(&file().documents).find(|coded| coded.code == code).cloned()
}

/// Codes in the customer's words, in their order.
#[must_use]
pub fn in_words(codes: &[String], policy: &Policy) -> Vec<String> {
    codes.iter().filter_map(|code| find(code, policy)).map(|coded| coded.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_code_is_used_once() {
        let file: File = toml::from_str(include_str!("reasons.toml")).unwrap();
        let mut codes: Vec<&str> =
            file.reasons.iter().chain(&file.documents).map(|coded| coded.code.as_str()).collect();
        codes.extend(Catalogue::shipped().factors().iter().map(|factor| factor.code.as_str()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
