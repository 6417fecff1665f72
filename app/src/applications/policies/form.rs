//! The form of a draft: read, checked, and shown again as it was typed.

use candor_engine::risk::{Bands, Condition, Policy, Proposal, Proposals, Rule};

use crate::error::FieldError;

use super::difference::trimmed;
use super::words;

/// A draft as typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    pub(super) name: String,
    pub(super) note: String,
    /// In percent.
    pub(super) medium: String,
    /// In percent.
    pub(super) high: String,
    pub(super) low_proposes: String,
    pub(super) medium_proposes: String,
    pub(super) high_proposes: String,
    /// In whole units.
    pub(super) second_person: String,
    pub(super) max_reasons: String,
    pub(super) min_contribution: String,
    pub(super) letters_name_changes: bool,
    /// The existing rules, then one empty one.
    pub(super) rules: Vec<RuleForm>,
}

/// A rule as typed. An empty code is no rule.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleForm {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) active: bool,
    /// The condition as JSON.
    pub(super) when: String,
    pub(super) when_in_words: String,
    pub(super) then: String,
    pub(super) text: String,
    pub(super) remove: bool,
}

impl Form {
    /// The form of a policy.
    pub(super) fn of(name: &str, note: &str, policy: &Policy) -> Self {
        let mut rules: Vec<RuleForm> = policy
            .rules
            .iter()
            .map(|rule| RuleForm {
                code: rule.code.clone(),
                name: rule.name.clone(),
                active: rule.active,
                when: serde_json::to_string(&rule.when).unwrap_or_default(),
                when_in_words: words::condition(&rule.when),
                then: rule.then.as_str().to_owned(),
                text: rule.text.clone(),
                remove: false,
            })
            .collect();
        rules.push(RuleForm { active: true, then: "refer".to_owned(), ..RuleForm::default() });
        Self {
            name: name.to_owned(),
            note: note.to_owned(),
            medium: trimmed(policy.bands.medium * 100.0),
            high: trimmed(policy.bands.high * 100.0),
            low_proposes: policy.proposals.low.as_str().to_owned(),
            medium_proposes: policy.proposals.medium.as_str().to_owned(),
            high_proposes: policy.proposals.high.as_str().to_owned(),
            second_person: (policy.second_person_above_minor / 100).to_string(),
            max_reasons: policy.max_reasons.to_string(),
            min_contribution: trimmed(policy.min_contribution),
            letters_name_changes: policy.letters_name_changes,
            rules,
        }
    }

    /// What was sent.
    pub(super) fn read(fields: &[(String, String)]) -> Self {
        let value = |name: &str| {
            fields
                .iter()
                .find(|(field, _)| field == name)
                .map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let is_set = |name: &str| fields.iter().any(|(field, _)| field == name);
        let rules = (0..200)
            .take_while(|index| is_set(&format!("rule-{index}-code")))
            .map(|index| {
                let of = |part: &str| value(&format!("rule-{index}-{part}"));
                RuleForm {
                    code: of("code"),
                    name: of("name"),
                    active: is_set(&format!("rule-{index}-active")),
                    when: of("when"),
                    when_in_words: String::new(),
                    then: of("then"),
                    text: of("text"),
                    remove: is_set(&format!("rule-{index}-remove")),
                }
            })
            .collect();
        Self {
            name: value("name"),
            note: value("note"),
            medium: value("medium"),
            high: value("high"),
            low_proposes: value("low_proposes"),
            medium_proposes: value("medium_proposes"),
            high_proposes: value("high_proposes"),
            second_person: value("second_person"),
            max_reasons: value("max_reasons"),
            min_contribution: value("min_contribution"),
            letters_name_changes: is_set("letters_name_changes"),
            rules,
        }
    }

    /// The policy that the form describes.
    ///
    /// # Errors
    /// Every field that needs another look.
    pub(super) fn policy(&self, version: u64) -> Result<Policy, Vec<FieldError>> {
        let mut faults = Vec::new();
        if !(3..=120).contains(&self.name.chars().count()) {
            faults.push(FieldError::new("name", "Write a name of 3 to 120 characters."));
        }
        if self.note.chars().count() > 2000 {
            faults.push(FieldError::new("note", "Write at most 2,000 characters."));
        }
        let mut number = |field: &str, text: &str, scale: f64, words: &str| match text.replace(',', ".").parse::<f64>()
        {
            Ok(number) if number.is_finite() => number / scale,
            _ => {
                faults.push(FieldError::new(field, words));
                0.0
            }
        };
        let medium = number("medium", &self.medium, 100.0, "Write a percentage such as 3.");
        let high = number("high", &self.high, 100.0, "Write a percentage such as 15.");
        let min_contribution = number("min_contribution", &self.min_contribution, 1.0, "Write a number such as 0.05.");
        let second_person = self.second_person.parse::<i64>().ok().and_then(|whole| whole.checked_mul(100));
        if second_person.is_none() {
            faults.push(FieldError::new("second_person", "Write an amount in whole euros, such as 15000."));
        }
        let max_reasons = self.max_reasons.parse::<usize>().ok();
        if max_reasons.is_none() {
            faults.push(FieldError::new("max_reasons", "Write a number from 1 to 8."));
        }
        let mut proposal = |field: &str, word: &str| match read_proposal(word) {
            Some(proposal) => proposal,
            None => {
                faults.push(FieldError::new(field, "Choose approve or refer."));
                Proposal::Refer
            }
        };
        let proposals = Proposals {
            low: proposal("low_proposes", &self.low_proposes),
            medium: proposal("medium_proposes", &self.medium_proposes),
            high: proposal("high_proposes", &self.high_proposes),
        };
        let rules = self.rules_read(&mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let policy = Policy {
            version,
            bands: Bands { medium, high },
            proposals,
            second_person_above_minor: second_person.unwrap_or_default(),
            max_reasons: max_reasons.unwrap_or_default(),
            min_contribution,
            letters_name_changes: self.letters_name_changes,
            rules,
        };
        match policy.validate() {
            Ok(()) => Ok(policy),
            Err(fault) => Err(vec![FieldError::new(self.field_of(&fault.field), capital(&fault))]),
        }
    }

    fn rules_read(&self, faults: &mut Vec<FieldError>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let is_empty = rule.code.is_empty() && rule.name.is_empty() && rule.when.is_empty() && rule.text.is_empty();
            if rule.remove || is_empty {
                continue;
            }
            let when = match serde_json::from_str::<Condition>(&rule.when) {
                Ok(when) => when,
                Err(_) => {
                    faults.push(FieldError::new(
                        format!("rule-{index}-when"),
                        "Write a condition such as {\"field\":\"device_fraud_count\",\"is\":\"at_least\",\"value\":1}.",
                    ));
                    continue;
                }
            };
            let Some(then) = read_proposal(&rule.then) else {
                faults.push(FieldError::new(format!("rule-{index}-then"), "Choose refer or decline."));
                continue;
            };
            rules.push(Rule {
                code: rule.code.clone(),
                name: rule.name.clone(),
                active: rule.active,
                when,
                then,
                text: rule.text.clone(),
            });
        }
        rules
    }

    /// The form's field for a policy's path such as `rules[2].when.field`.
    fn field_of(&self, path: &str) -> String {
        if let Some(rest) = path.strip_prefix("rules[")
            && let Some((place, part)) = rest.split_once(']')
            && let Ok(place) = place.parse::<usize>()
        {
            let kept = self.rules.iter().enumerate().filter(|(_, rule)| !rule.remove && !rule.code.is_empty());
            let index = kept.map(|(index, _)| index).nth(place).unwrap_or(place);
            let part = part.trim_start_matches('.').split(['.', '[']).next().unwrap_or("code");
            return format!("rule-{index}-{part}");
        }
        match path {
            "bands.medium" => "medium",
            "bands.high" => "high",
            "proposals.low" => "low_proposes",
            "proposals.medium" | "proposals" => "medium_proposes",
            "proposals.high" => "high_proposes",
            "second_person_above_minor" => "second_person",
            other => other,
        }
        .to_owned()
    }
}

fn capital(fault: &candor_engine::risk::PolicyError) -> String {
    format!("This {}.", fault.expected)
}

fn read_proposal(word: &str) -> Option<Proposal> {
    [Proposal::Approve, Proposal::Refer, Proposal::Decline].into_iter().find(|proposal| proposal.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_a_policy_gives_the_policy_back() {
        let policy = Policy::shipped().unwrap();
        let form = Form::of("Name of it", "", &policy);
        assert_eq!(form.policy(policy.version).unwrap(), policy);
    }

    #[test]
    fn what_can_not_be_is_named_by_its_field() {
        let policy = Policy::shipped().unwrap();
        let mut form = Form::of("Name of it", "", &policy);
        form.high = "2".to_owned();
        assert_eq!(form.policy(1).unwrap_err()[0].field, "high");
        let mut form = Form::of("Name of it", "", &policy);
        form.medium = "three".to_owned();
        form.second_person = "1.5".to_owned();
        let fields: Vec<String> = form.policy(1).unwrap_err().into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["medium", "second_person"]);
        let mut form = Form::of("Name of it", "", &policy);
        form.rules[0].remove = true;
        form.rules[2].then = "approve".to_owned();
        assert_eq!(form.policy(1).unwrap_err()[0].field, "rule-2-then");
    }
}
