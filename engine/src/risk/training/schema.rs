//! A schema file: what a table's columns are, where looking at them is not enough. TOML:
//!
//! ```toml
//! label = "default"           # the column to learn
//! positive = ["charged off"]  # its words for fraud or default; every other word is none (default: 1, yes, true)
//! time = "applied"            # numbers, or dates such as 2026-11-24; without it rows are shuffled
//! protected = ["SEX", "MARRIAGE"]
//! ignore = ["note"]
//! jurisdiction = "eu"
//!
//! [columns.late_payments]
//! label = "Late payments in 12 months"
//! kind = "number"             # or "category", "flag"
//! monotone = "increasing"     # more never lowers the score
//! code = "LAT-1"
//! reason = "You paid late several times in the last twelve months."
//! changeable = true
//! leeway = { direction = "lower", step = 1 }
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::factors::{Catalogue, Factor, Kind, Leeway, Monotone, Unit};
use super::Options;

/// A schema. Whatever it leaves out stays as the options and the catalogue have it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schema {
    /// The column to learn.
    pub label: Option<String>,
    /// Words of the label that mean yes.
    pub positive: Vec<String>,
    /// The column that orders rows in time.
    pub time: Option<String>,
    /// Columns that are never inputs, only measures of fairness.
    pub protected: Vec<String>,
    /// Columns to leave out.
    pub ignore: Vec<String>,
    /// Code of the jurisdiction that fairness is measured by.
    pub jurisdiction: Option<String>,
    /// What is known of single columns.
    pub columns: BTreeMap<String, ColumnSchema>,
}

/// What is known of a column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnSchema {
    /// Its words for officers and customers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// How its numbers are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The smallest number that can be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The largest number that can be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// How the score may move with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monotone: Option<Monotone>,
    /// The code of its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its reason in a customer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether an applicant could change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changeable: Option<bool>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Leeway>,
    /// Its words in plain words.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, String>,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong and where, in TOML's words.
    pub fn parse(text: &str) -> Result<Schema, toml::de::Error> {
        toml::from_str(text)
    }

    /// Whether a column must be read as words, even where it looks like numbers.
    pub fn is_category(&self, column: &str) -> bool {
        match self.columns.get(column).and_then(|known| known.kind) {
            Some(kind) => kind == Kind::Category,
            None => Catalogue::shipped().get(column).is_some_and(|factor| factor.kind == Kind::Category),
        }
    }

    /// Writes what the schema says into options. What options name already stays.
    pub fn apply(self, options: &mut Options) {
        if options.label.is_empty() {
            options.label = self.label.unwrap_or_default();
        }
        options.time = options.time.take().or(self.time);
        options.positive.extend(self.positive);
        options.protected.extend(self.protected);
        options.ignore.extend(self.ignore);
        if let Some(jurisdiction) = self.jurisdiction {
            options.jurisdiction = jurisdiction;
        }
        options.columns.extend(self.columns);
    }
}

impl ColumnSchema {
    /// The factor with what the schema knows of it.
    pub(super) fn complete(&self, mut factor: Factor) -> Factor {
        let known = self.clone();
        factor.label = known.label.unwrap_or(factor.label);
        // A flag is a number with two values; whether a column holds words has been settled by reading it.
        if factor.kind != Kind::Category && known.kind.is_some_and(|kind| kind != Kind::Category) {
            factor.kind = known.kind.unwrap_or(factor.kind);
        }
        factor.unit = known.unit.unwrap_or(factor.unit);
        factor.minimum = known.minimum.or(factor.minimum);
        factor.maximum = known.maximum.or(factor.maximum);
        factor.monotone = known.monotone.unwrap_or(factor.monotone);
        factor.code = known.code.unwrap_or(factor.code);
        factor.reason = known.reason.unwrap_or(factor.reason);
        factor.changeable = known.changeable.unwrap_or(factor.changeable);
        factor.leeway = known.leeway.or(factor.leeway);
        factor.categories.extend(known.categories);
        factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_completes_options_and_factors() {
        let schema = Schema::parse(
            r#"
            label = "default"
            positive = ["charged off"]
            protected = ["SEX"]
            [columns.late]
            label = "Late payments"
            monotone = "increasing"
            code = "LAT-1"
            leeway = { direction = "lower", step = 1 }
            [columns.code]
            kind = "category"
            "#,
        )
        .unwrap();
        assert!(schema.is_category("code") && schema.is_category("source") && !schema.is_category("late"));
        let mut options = Options { protected: vec!["AGE".to_owned()], ..Options::new("1", "") };
        schema.apply(&mut options);
        assert_eq!((options.label.as_str(), options.protected.len()), ("default", 2));
        let factor = options.columns["late"].complete(Factor::unlisted("late", Kind::Number));
        assert_eq!((factor.label.as_str(), factor.code.as_str()), ("Late payments", "LAT-1"));
        assert_eq!((factor.monotone, factor.leeway.unwrap().step), (Monotone::Increasing, Some(1.0)));
        assert!(Schema::parse("columnz = 1").is_err());
    }
}
