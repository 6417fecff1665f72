//! What would have changed the score, in the applicant's language.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candor_engine::risk::whatif::{Alternative, Change};
use candor_engine::risk::{Catalogue, Kind, Value};
use serde::Deserialize;

use super::super::reasons::Language;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    label: String,
    #[serde(default)]
    words: BTreeMap<String, String>,
}

type Chinese = BTreeMap<String, Words>;

fn chinese() -> &'static Chinese {
    static CHINESE: OnceLock<Chinese> = OnceLock::new();
    // The text is part of the program and a test reads it: an unreadable one never ships.
    CHINESE.get_or_init(|| toml::from_str(include_str!("factors_zh.toml")).unwrap_or_default())
}

/// A line for each way; one that can not be said in the language is left out.
pub(super) fn in_language(ways: &[Alternative], language: Language) -> Vec<String> {
    match language {
        Language::En => ways.iter().map(|way| way.in_words.clone()).collect(),
        Language::Zh => ways
            .iter()
            .filter_map(|way| {
                let parts: Option<Vec<String>> = way.changes.iter().map(in_chinese).collect();
                Some(format!("{}。", parts?.join("；同时")))
            })
            .collect(),
    }
}

fn in_chinese(change: &Change) -> Option<String> {
    let known = chinese().get(&change.factor)?;
    let factor = Catalogue::shipped().get(&change.factor)?;
    let value = |value: Option<&Value>| match value {
        None => Some("未提供".to_owned()),
        Some(Value::Text(word)) => known.words.get(word).cloned(),
        Some(Value::Number(number)) if factor.kind == Kind::Flag => {
            Some(if *number == 0.0 { "否" } else { "是" }.to_owned())
        }
        // Amounts and percentages are written with signs, not with words.
        Some(Value::Number(number)) => Some(factor.number_in_words(*number)),
    };
    let (to, from) = (value(Some(&change.to))?, value(change.from.as_ref())?);
    Some(format!("{}：{to}（而非{from}）", known.label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_changed_can_be_said_in_chinese() {
        let known: Chinese = toml::from_str(include_str!("factors_zh.toml")).unwrap();
        for factor in Catalogue::shipped().factors().iter().filter(|factor| factor.changeable) {
            let words = known.get(&factor.name).unwrap_or_else(|| panic!("{}", factor.name));
            assert!(factor.categories.keys().eq(words.words.keys()), "{}", factor.name);
        }
        let change = Change {
            factor: "proposed_credit_limit".to_owned(),
            label: "Amount applied for".to_owned(),
            from: Some(Value::Number(12_000.0)),
            to: Value::Number(8_000.0),
            cost: 0.1,
            in_words: String::new(),
        };
        assert_eq!(in_chinese(&change).unwrap(), "申请金额：€8,000（而非€12,000）");
    }
}
