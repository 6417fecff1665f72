//! Rules in words.

use candor_engine::risk::{Catalogue, Comparison, Condition, Kind, Operand, Operator, Value};

/// A condition as a sentence's part: "Confirmed frauds from the same device is at least 1".
pub(super) fn condition(condition: &Condition) -> String {
    match condition {
        Condition::All { all } => joined(all, " and "),
        Condition::Any { any } => joined(any, " or "),
        Condition::Not { not } => format!("not ({})", self::condition(not)),
        Condition::Compare(comparison) => compare(comparison),
    }
}

fn joined(conditions: &[Condition], word: &str) -> String {
    let parts: Vec<String> = conditions
        .iter()
        .map(|part| match part {
            Condition::All { .. } | Condition::Any { .. } => format!("({})", condition(part)),
            _ => condition(part),
        })
        .collect();
    parts.join(word)
}

fn compare(comparison: &Comparison) -> String {
    let label = if comparison.field == "probability" {
        "Fraud probability".to_owned()
    } else {
        Catalogue::shipped()
            .get(&comparison.field)
            .map_or_else(|| comparison.field.clone(), |factor| factor.label.clone())
    };
    let value = match &comparison.value {
        None => String::new(),
        Some(Operand::One(one)) => format!(" {}", value(&comparison.field, one)),
        Some(Operand::Many(many)) => {
            let all: Vec<String> = many.iter().map(|one| value(&comparison.field, one)).collect();
            format!(" {}", all.join(", "))
        }
    };
    format!("{label} {}{value}", operator(comparison.is))
}

fn operator(operator: Operator) -> &'static str {
    match operator {
        Operator::Below => "is below",
        Operator::AtMost => "is at most",
        Operator::Equal => "is",
        Operator::NotEqual => "is not",
        Operator::AtLeast => "is at least",
        Operator::Above => "is above",
        Operator::OneOf => "is one of",
        Operator::Missing => "is not known",
        Operator::Given => "is known",
    }
}

fn value(field: &str, value: &Value) -> String {
    let factor = Catalogue::shipped().get(field);
    match (value, factor) {
        (Value::Number(number), Some(factor)) if factor.kind != Kind::Category => factor.number_in_words(*number),
        (Value::Number(number), _) => number.to_string(),
        (Value::Text(text), Some(factor)) => factor.category_in_words(text),
        (Value::Text(text), None) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::Policy;

    use super::*;

    #[test]
    fn the_shipped_rules_read_as_sentences() {
        let policy = Policy::shipped().unwrap();
        let rule = |code: &str| policy.rules.iter().find(|rule| rule.code == code).unwrap();
        assert_eq!(condition(&rule("R-DEVICE-FRAUD").when), "Confirmed frauds from the same device is at least 1");
        assert_eq!(
            condition(&rule("R-ABROAD-NEW").when),
            "Request from abroad is yes and (Time as a customer is not known or Time as a customer is below 3 months)"
        );
    }
}
