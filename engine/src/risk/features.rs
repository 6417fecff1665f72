//! The inputs of a model: how a value becomes the number that the trees look at, and what is usual for it.

use serde::{Deserialize, Serialize};

use super::application::{Application, Value};
use super::cell::Cell;
use super::factors::{Factor, Kind};

/// One input of a model, as its file keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The factor: its name, words and reason travel with the model, so that an old assessment can be repeated.
    pub factor: Factor,
    /// The categories seen in training, in the order of their codes; empty for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// 5th percentile in the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_low: Option<f64>,
    /// 95th percentile in the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_high: Option<f64>,
    /// The categories that at least one row in twenty held, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usual_categories: Vec<String>,
}

/// A cell that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {text:?} is not a number; leave the cell empty when the value is missing")]
pub struct UnreadableCell {
    /// The column.
    pub column: String,
    /// What the cell held.
    pub text: String,
}

impl Feature {
    /// A number as the trees see it: single precision, as in training; NaN when it is missing.
    pub fn encode_number(&self, number: Option<f64>) -> f64 {
        match number {
            Some(number) if !(self.factor.negative_is_missing && number < 0.0) => single(number),
            _ => f64::NAN,
        }
    }

    /// A category's code; NaN when it is missing or was never seen in training.
    pub fn encode_category(&self, category: Option<&str>) -> f64 {
        let position = category.and_then(|category| self.categories.iter().position(|known| known == category));
        position.and_then(|position| u32::try_from(position).ok()).map_or(f64::NAN, f64::from)
    }

    /// A cell of a table; empty means missing. A category's word may be a number.
    ///
    /// # Errors
    /// When a number is expected and the cell holds something else.
    pub fn encode_cell<'c>(&self, cell: impl Into<Cell<'c>>) -> Result<f64, UnreadableCell> {
        match (cell.into(), self.factor.kind) {
            (Cell::Missing, _) => Ok(f64::NAN),
            (Cell::Text(text), _) => self.encode_text(text),
            (Cell::Number(number), Kind::Category) => Ok(self.encode_category(Some(&number.to_string()))),
            (Cell::Number(number), _) if number.is_infinite() => {
                Err(UnreadableCell { column: self.factor.name.clone(), text: number.to_string() })
            }
            (Cell::Number(number), _) => Ok(self.encode_number(Some(number).filter(|number| !number.is_nan()))),
        }
    }

    fn encode_text(&self, cell: &str) -> Result<f64, UnreadableCell> {
        let cell = cell.trim();
        if self.factor.kind == Kind::Category {
            return Ok(self.encode_category(Some(cell)));
        }
        if cell.is_empty() {
            return Ok(f64::NAN);
        }
        match cell.parse::<f64>() {
            Ok(number) if !number.is_infinite() => Ok(self.encode_number(Some(number).filter(|n| !n.is_nan()))),
            _ => Err(UnreadableCell { column: self.factor.name.clone(), text: cell.to_owned() }),
        }
    }

    /// The field of an application as the trees see it.
    pub fn encode(&self, application: &Application) -> f64 {
        let name = &self.factor.name;
        match self.factor.kind {
            Kind::Number | Kind::Flag => self.encode_number(application.number(name).filter(|n| n.is_finite())),
            Kind::Category => self.encode_category(application.text(name)),
        }
    }

    /// A value as people write it.
    pub fn in_words(&self, value: Option<&Value>) -> String {
        match value {
            None => "not given".to_owned(),
            Some(Value::Number(number)) => self.factor.number_in_words(*number),
            Some(Value::Text(text)) => self.factor.category_in_words(text),
        }
    }

    /// What is usual, as people write it.
    pub fn usual_in_words(&self) -> String {
        match (self.usual_low, self.usual_high) {
            (Some(low), Some(high)) => self.factor.range_in_words(low, high),
            _ => {
                let words = self.usual_categories.iter().map(|category| self.factor.category_in_words(category));
                words.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Where a number lies beside the usual range: `below`, `above`, or nothing to say.
    pub fn place(&self, value: Option<&Value>) -> Option<&'static str> {
        match (value, self.usual_low, self.usual_high) {
            (Some(Value::Number(number)), Some(low), Some(high)) if self.factor.kind == Kind::Number => {
                (*number < low).then_some("below").or_else(|| (*number > high).then_some("above"))
            }
            _ => None,
        }
    }
}

/// The nearest number of single precision: trees are trained on those, and thresholds lie between them.
#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is what is wanted")]
pub(super) fn single(number: f64) -> f64 {
    f64::from(number as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::factors::Catalogue;

    fn feature(name: &str) -> Feature {
        Feature {
            factor: Catalogue::shipped().get(name).unwrap().clone(),
            categories: vec!["web".into(), "chat".into()],
            usual_low: Some(3.0),
            usual_high: Some(240.0),
            usual_categories: vec!["web".into()],
        }
    }

    #[test]
    fn the_benchmarks_minus_one_is_missing_where_it_means_that() {
        assert!(feature("bank_months_count").encode_cell("-1").unwrap().is_nan());
        assert_eq!(feature("credit_risk_score").encode_cell("-1").unwrap(), -1.0);
        assert!(feature("income").encode_cell("  ").unwrap().is_nan());
        assert!(feature("income").encode_cell("nan").unwrap().is_nan());
    }

    #[test]
    fn unreadable_cells_name_their_column() {
        let error = feature("income").encode_cell("much").unwrap_err();
        assert_eq!((error.column.as_str(), error.text.as_str()), ("income", "much"));
        assert!(feature("income").encode_cell("inf").is_err());
        assert!(feature("income").encode_cell(Cell::Number(f64::INFINITY)).is_err());
    }

    #[test]
    fn categories_never_seen_count_as_missing() {
        let source = feature("source");
        assert_eq!(source.encode_cell("chat").unwrap(), 1.0);
        assert!(source.encode_cell("telepathy").unwrap().is_nan());
        assert!(source.encode_cell(Cell::Missing).unwrap().is_nan());
    }

    #[test]
    fn numbers_and_their_texts_are_the_same() {
        let income = feature("income");
        assert_eq!(income.encode_cell(Cell::Number(0.1)).unwrap(), income.encode_cell("0.1").unwrap());
        assert!(income.encode_cell(Cell::Number(f64::NAN)).unwrap().is_nan());
        assert!(feature("bank_months_count").encode_cell(Cell::Number(-1.0)).unwrap().is_nan());
        let numbered = Feature { categories: vec!["1".into(), "2".into()], ..feature("source") };
        assert_eq!(numbered.encode_cell(Cell::Number(2.0)).unwrap(), 1.0);
    }

    #[test]
    fn the_usual_is_said_in_the_factors_own_unit() {
        let months = feature("bank_months_count");
        assert_eq!(months.usual_in_words(), "3 to 240 months");
        assert_eq!(months.place(Some(&Value::Number(2.0))), Some("below"));
        assert_eq!(months.place(Some(&Value::Number(3.0))), None);
        assert_eq!(months.place(None), None);
    }
}
