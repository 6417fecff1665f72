//! Explaining the rows of a table, one at a time, in constant memory.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::cell::Cell;
use super::features::UnreadableCell;
use super::model::Model;
use super::shap::Scratch;

/// Reads a table's rows with a model's inputs. Made once for a file; each row reuses the same room.
#[derive(Debug, Clone)]
pub struct RowExplainer<'m> {
    model: &'m Model,
    /// For each input, the table's column.
    columns: Vec<usize>,
    row: Vec<f64>,
    contributions: Vec<f64>,
    scratch: Scratch,
}

/// A row's score with every input's part in it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Explanation<'e> {
    /// Log-odds.
    pub margin: f64,
    /// The margin's probability, as [`Model::probability`] has it.
    pub probability: f64,
    /// Log-odds when nothing is known.
    pub baseline: f64,
    /// Every input's contribution by name, in log-odds, in the model's order.
    pub attributions: Contributions<'e>,
}

/// Contributions that serialise as a map from the input's name.
#[derive(Debug, Clone, Copy)]
pub struct Contributions<'e> {
    model: &'e Model,
    values: &'e [f64],
}

impl Contributions<'_> {
    /// Names and contributions, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.model.features().iter().map(|feature| feature.factor.name.as_str()).zip(self.values.iter().copied())
    }
}

impl Serialize for Contributions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// The table lacks columns that the model needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table has no column {}", .0.join(", "))]
pub struct MissingColumns(pub Vec<String>);

impl<'m> RowExplainer<'m> {
    /// Finds the model's inputs among a table's column names; other columns are ignored.
    ///
    /// # Errors
    /// The inputs that the table lacks.
    pub fn new<'h>(
        model: &'m Model,
        header: impl Iterator<Item = &'h str> + Clone,
    ) -> Result<RowExplainer<'m>, MissingColumns> {
        let mut columns = Vec::with_capacity(model.features().len());
        let mut lacking = Vec::new();
        for feature in model.features() {
            match header.clone().position(|name| name.trim() == feature.factor.name) {
                Some(position) => columns.push(position),
                None => lacking.push(feature.factor.name.clone()),
            }
        }
        if !lacking.is_empty() {
            return Err(MissingColumns(lacking));
        }
        let inputs = columns.len();
        Ok(RowExplainer {
            model,
            columns,
            row: vec![0.0; inputs],
            contributions: vec![0.0; inputs],
            scratch: model.scratch(),
        })
    }

    /// For each input, the table's column.
    pub fn places(&self) -> &[usize] {
        &self.columns
    }

    /// Scores and explains a row. `cell` answers what is in a column; `None` and empty mean missing.
    ///
    /// # Errors
    /// When a number is expected and the cell holds something else.
    pub fn explain<'c, C: Into<Cell<'c>>>(
        &mut self,
        cell: impl Fn(usize) -> C,
    ) -> Result<Explanation<'_>, UnreadableCell> {
        for ((value, &column), feature) in self.row.iter_mut().zip(&self.columns).zip(self.model.features()) {
            *value = feature.encode_cell(cell(column))?;
        }
        let margin = self.model.explainer().margin(&self.row);
        self.model.explainer().explain(&self.row, &mut self.scratch, &mut self.contributions);
        Ok(Explanation {
            margin,
            probability: self.model.probability(margin),
            baseline: self.model.baseline(),
            attributions: Contributions { model: self.model, values: &self.contributions },
        })
    }
}
