//! Rules: conditions on an application's factors, kept as data.

use serde::{Deserialize, Serialize};

use super::application::{Application, Value};
use super::factors::{Catalogue, Kind, Role};
use super::policy::{PolicyError, Proposal};

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Code, stable for ever.
    pub code: String,
    /// Name, for officers.
    pub name: String,
    /// Whether it is applied.
    #[serde(default = "yes")]
    pub active: bool,
    /// When it applies.
    pub when: Condition,
    /// What it then proposes.
    pub then: Proposal,
    /// The reason in a customer's words.
    pub text: String,
}

fn yes() -> bool {
    true
}

/// A condition. In TOML: `{ field = "device_fraud_count", is = "at_least", value = 1 }`, or
/// `{ all = [ … ] }`, `{ any = [ … ] }`, `{ not = … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// Every one holds.
    All {
        /// The conditions.
        all: Vec<Condition>,
    },
    /// At least one holds.
    Any {
        /// The conditions.
        any: Vec<Condition>,
    },
    /// It does not hold.
    Not {
        /// The condition.
        not: Box<Condition>,
    },
    /// A field compares with a value.
    Compare(Comparison),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// A factor of the application, or `probability`.
    pub field: String,
    /// How it is compared.
    pub is: Operator,
    /// With what; nothing for `missing` and `given`, a list for `one_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Operand>,
}

/// How a field is compared. Every comparison but `missing` is false for a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Smaller.
    Below,
    /// Smaller or equal.
    AtMost,
    /// Equal.
    Equal,
    /// Given, and not equal.
    NotEqual,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Above,
    /// One of a list.
    OneOf,
    /// Not given.
    Missing,
    /// Given.
    Given,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Operand {
    /// One value.
    One(Value),
    /// A list of values.
    Many(Vec<Value>),
}

/// What a condition may look at.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) application: &'a Application,
    pub(super) probability: f64,
}

/// The model's probability as a field of a condition.
const PROBABILITY: &str = "probability";

impl Facts<'_> {
    fn value(&self, field: &str) -> Option<Value> {
        if field == PROBABILITY { Some(Value::Number(self.probability)) } else { self.application.value(field) }
    }
}

impl Condition {
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Condition::All { all } => all.iter().all(|condition| condition.holds(facts)),
            Condition::Any { any } => any.iter().any(|condition| condition.holds(facts)),
            Condition::Not { not } => !not.holds(facts),
            Condition::Compare(comparison) => comparison.holds(facts),
        }
    }

    fn validate(&self, path: &str) -> Result<(), PolicyError> {
        match self {
            Condition::All { all: many } | Condition::Any { any: many } => {
                if many.is_empty() {
                    return Err(PolicyError::new(path, "must hold at least one condition"));
                }
                many.iter().enumerate().try_for_each(|(at, condition)| condition.validate(&format!("{path}[{at}]")))
            }
            Condition::Not { not } => not.validate(&format!("{path}.not")),
            Condition::Compare(comparison) => comparison.validate(path),
        }
    }
}

impl Comparison {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let Some(given) = facts.value(&self.field) else { return self.is == Operator::Missing };
        match (self.is, &given, &self.value) {
            (Operator::Given, ..) => true,
            (Operator::Below, Value::Number(given), Some(Operand::One(Value::Number(value)))) => given < value,
            (Operator::AtMost, Value::Number(given), Some(Operand::One(Value::Number(value)))) => given <= value,
            (Operator::AtLeast, Value::Number(given), Some(Operand::One(Value::Number(value)))) => given >= value,
            (Operator::Above, Value::Number(given), Some(Operand::One(Value::Number(value)))) => given > value,
            (Operator::Equal, given, Some(Operand::One(value))) => given == value,
            (Operator::NotEqual, given, Some(Operand::One(value))) => given != value,
            (Operator::OneOf, given, Some(Operand::Many(values))) => values.contains(given),
            _ => false,
        }
    }

    fn validate(&self, path: &str) -> Result<(), PolicyError> {
        let numeric = if self.field == PROBABILITY {
            true
        } else {
            let Some(factor) = Catalogue::shipped().get(&self.field) else {
                return Err(PolicyError::new(
                    format!("{path}.field"),
                    format!("must be a factor of an application or probability, not {}", self.field),
                ));
            };
            if factor.role == Role::Protected {
                return Err(PolicyError::new(
                    format!("{path}.field"),
                    format!("must not be {}: it is protected and never decides", self.field),
                ));
            }
            factor.kind != Kind::Category
        };
        let right_kind = |value: &Value| match value {
            Value::Number(number) => numeric && number.is_finite(),
            Value::Text(_) => !numeric,
        };
        let fits = match (self.is, &self.value) {
            (Operator::Missing | Operator::Given, None) => true,
            (Operator::OneOf, Some(Operand::Many(values))) => !values.is_empty() && values.iter().all(right_kind),
            (Operator::Equal | Operator::NotEqual, Some(Operand::One(value))) => right_kind(value),
            (
                Operator::Below | Operator::AtMost | Operator::AtLeast | Operator::Above,
                Some(Operand::One(value @ Value::Number(_))),
            ) => right_kind(value),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let kind = if numeric { "number" } else { "word" };
        let expected = match self.is {
            Operator::Missing | Operator::Given => "must be left out".to_owned(),
            Operator::OneOf => format!("must be a list of at least one {kind}"),
            Operator::Equal | Operator::NotEqual => format!("must be a {kind}"),
            _ if numeric => "must be a number".to_owned(),
            _ => format!("must not be there: {} holds words, compare it with equal, not_equal or one_of", self.field),
        };
        Err(PolicyError::new(format!("{path}.value"), expected))
    }
}

impl Rule {
    pub(super) fn validate(&self, path: &str) -> Result<(), PolicyError> {
        if self.code.is_empty() || !self.code.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '-') {
            return Err(PolicyError::new(format!("{path}.code"), "must be letters, digits and hyphens"));
        }
        if self.name.trim().is_empty() {
            return Err(PolicyError::new(format!("{path}.name"), "must not be empty"));
        }
        if self.text.trim().is_empty() {
            return Err(PolicyError::new(format!("{path}.text"), "must say the reason in a customer's words"));
        }
        if self.then == Proposal::Approve {
            return Err(PolicyError::new(format!("{path}.then"), "must be refer or decline"));
        }
        self.when.validate(&format!("{path}.when"))?;
        if self.then == Proposal::Decline && self.when.looks_only_at(PROBABILITY) {
            return Err(PolicyError::new(
                format!("{path}.then"),
                "must be refer when the rule looks at the probability only: a score never declines alone",
            ));
        }
        Ok(())
    }
}

impl Condition {
    fn looks_only_at(&self, field: &str) -> bool {
        match self {
            Condition::All { all: many } | Condition::Any { any: many } => {
                many.iter().all(|condition| condition.looks_only_at(field))
            }
            Condition::Not { not } => not.looks_only_at(field),
            Condition::Compare(comparison) => comparison.field == field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(toml: &str) -> Condition {
        #[derive(Deserialize)]
        struct Holder {
            when: Condition,
        }
        toml::from_str::<Holder>(&format!("when = {toml}")).unwrap().when
    }

    fn holds(toml: &str, application: &Application) -> bool {
        let condition = condition(toml);
        condition.validate("when").unwrap();
        condition.holds(&Facts { application, probability: 0.2 })
    }

    #[test]
    fn comparisons_mean_what_they_say_and_missing_is_never_a_match() {
        let known = Application { income: Some(500.0), source: Some("web".into()), ..Application::default() };
        let unknown = Application::default();
        for (text, when_known, when_unknown) in [
            (r#"{ field = "income", is = "below", value = 501 }"#, true, false),
            (r#"{ field = "income", is = "below", value = 500 }"#, false, false),
            (r#"{ field = "income", is = "at_most", value = 500 }"#, true, false),
            (r#"{ field = "income", is = "above", value = 500.0 }"#, false, false),
            (r#"{ field = "income", is = "at_least", value = 500.0 }"#, true, false),
            (r#"{ field = "income", is = "not_equal", value = 3 }"#, true, false),
            (r#"{ field = "income", is = "missing" }"#, false, true),
            (r#"{ field = "income", is = "given" }"#, true, false),
            (r#"{ field = "source", is = "one_of", value = ["web", "chat"] }"#, true, false),
            (r#"{ field = "source", is = "equal", value = "chat" }"#, false, false),
            (r#"{ field = "probability", is = "at_least", value = 0.2 }"#, true, true),
            (r#"{ not = { field = "income", is = "given" } }"#, false, true),
            (r#"{ any = [{ field = "income", is = "missing" }, { field = "source", is = "given" }] }"#, true, true),
            (r#"{ all = [{ field = "income", is = "given" }, { field = "source", is = "missing" }] }"#, false, false),
        ] {
            assert_eq!(holds(text, &known), when_known, "{text}, known");
            assert_eq!(holds(text, &unknown), when_unknown, "{text}, unknown");
        }
    }

    #[test]
    fn conditions_that_make_no_sense_are_refused_by_path() {
        for (text, field) in [
            (r#"{ field = "shoe_size", is = "given" }"#, "when.field"),
            (r#"{ field = "customer_age", is = "below", value = 30 }"#, "when.field"),
            (r#"{ field = "income", is = "below", value = "much" }"#, "when.value"),
            (r#"{ field = "source", is = "below", value = 3 }"#, "when.value"),
            (r#"{ field = "income", is = "missing", value = 3 }"#, "when.value"),
            (r#"{ all = [] }"#, "when"),
            (r#"{ any = [{ not = { field = "income", is = "one_of", value = [] } }] }"#, "when[0].not.value"),
        ] {
            assert_eq!(condition(text).validate("when").unwrap_err().field, field, "{text}");
        }
    }

    #[test]
    fn a_rule_on_the_probability_alone_never_declines() {
        let rule = Rule {
            code: "P-1".into(),
            name: "Very high score".into(),
            active: true,
            when: condition(r#"{ field = "probability", is = "at_least", value = 0.9 }"#),
            then: Proposal::Decline,
            text: "The score.".into(),
        };
        assert_eq!(rule.validate("rules[0]").unwrap_err().field, "rules[0].then");
    }
}
