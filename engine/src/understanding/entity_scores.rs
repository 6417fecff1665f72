//! How often values in texts are found, and found right.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{EntityKind, find_entities};

/// A text with the values that are in it.
#[derive(Debug, Clone, Deserialize)]
pub struct Annotated {
    /// The text.
    pub text: String,
    /// The values.
    pub entities: Vec<Expected>,
    /// The kinds that were looked for; what is found of others says nothing. Empty means all.
    #[serde(default)]
    pub kinds: Vec<EntityKind>,
    /// The day on which it was written.
    pub today: NaiveDate,
}

/// A value that is in a text.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    /// What it is.
    pub kind: EntityKind,
    /// The words as written; where they are not known, any place will do.
    #[serde(default)]
    pub text: Option<String>,
    /// Normalised as [`super::Entity::value`] is, where that is known.
    #[serde(default)]
    pub value: Option<String>,
}

/// How one kind did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EntityScore {
    /// Values in the texts.
    pub expected: usize,
    /// Values found.
    pub found: usize,
    /// Found ones that are right: the value where it is known, else the words.
    pub right: usize,
    /// Found ones that share words with an expected one, whatever their value.
    pub placed: usize,
    /// `right / found`.
    pub precision: f64,
    /// `right / expected`.
    pub recall: f64,
}

/// Figures of [`evaluate_entities`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityReport {
    /// Texts read.
    pub rows: usize,
    /// By kind.
    pub kinds: BTreeMap<String, EntityScore>,
}

/// Measures the entity rules.
#[must_use]
pub fn evaluate_entities(rows: &[Annotated]) -> EntityReport {
    let mut kinds: BTreeMap<String, EntityScore> = BTreeMap::new();
    let name = |kind: EntityKind| match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    };
    for row in rows {
        let asked = |kind: EntityKind| row.kinds.is_empty() || row.kinds.contains(&kind);
        let mut left: Vec<&Expected> = row.entities.iter().filter(|expected| asked(expected.kind)).collect();
        left.iter().for_each(|expected| kinds.entry(name(expected.kind)).or_default().expected += 1);
        for entity in find_entities(&row.text, row.today).into_iter().filter(|entity| asked(entity.kind)) {
            let score = kinds.entry(name(entity.kind)).or_default();
            score.found += 1;
            let same_words = |words: &str| words.eq_ignore_ascii_case(&entity.text);
            let right = |expected: &&Expected| {
                expected.kind == entity.kind
                    && match (&expected.value, &expected.text) {
                        (Some(value), _) => value.eq_ignore_ascii_case(&entity.value),
                        (None, words) => words.as_deref().is_none_or(same_words),
                    }
            };
            let near = |expected: &&Expected| {
                expected.kind == entity.kind
                    && expected.text.as_deref().is_none_or(|words| {
                        let place = row.text.find(words);
                        place.is_some_and(|at| at < entity.end && entity.start < at + words.len())
                    })
            };
            if let Some(at) = left.iter().position(right) {
                score.right += 1;
                score.placed += 1;
                left.remove(at);
            } else if let Some(at) = left.iter().position(near) {
                score.placed += 1;
                left.remove(at);
            }
        }
    }
    let ratio = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    for score in kinds.values_mut() {
        (score.precision, score.recall) = (ratio(score.right, score.found), ratio(score.right, score.expected));
    }
    EntityReport { rows: rows.len(), kinds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_misplaced_missed_and_made_up_values_are_told_apart() {
        let row = |text: &str, entities: &str| -> Annotated {
            let text = serde_json::to_string(text).unwrap();
            let line = format!(
                r#"{{"text": {text}, "today": "2022-03-15", "kinds": ["money", "date"], "entities": {entities}}}"#
            );
            serde_json::from_str(&line).unwrap()
        };
        let report = evaluate_entities(&[
            row(
                "I paid 40€ yesterday",
                r#"[{"kind": "money", "text": "40€", "value": "40.00 EUR"}, {"kind": "date", "text": "yesterday", "value": "2022-03-13"}]"#,
            ),
            row("it cost 5 pounds", "[]"),
            row("about 400 in groceries, call 0171 555 0199", r#"[{"kind": "money", "text": "400"}]"#),
        ]);
        let (money, date) = (&report.kinds["money"], &report.kinds["date"]);
        assert_eq!((money.expected, money.found, money.right, money.placed), (2, 2, 1, 1));
        assert_eq!((date.expected, date.found, date.right, date.placed), (1, 1, 0, 1));
        assert_eq!((money.precision, money.recall, report.kinds.len()), (0.5, 0.5, 2));
    }
}
