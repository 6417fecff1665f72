//! Explaining a table's rows with another library's model, a block of rows at a time.

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeStruct, Serializer};

use super::super::cell::Cell;
use super::super::explain::MissingColumns;
use super::super::shap::Explainer;
use super::super::tables::{BackgroundError, Tables, Workspace};
use super::{Imported, NotANumber};

/// Finds a model's inputs in a table.
#[derive(Debug)]
pub struct Inputs<'m> {
    model: &'m Imported,
    /// For each input, the table's column.
    places: Vec<usize>,
    names: Vec<String>,
}

impl<'m> Inputs<'m> {
    /// By name; columns that are no inputs are ignored. A model whose file has no names also takes a table with
    /// just as many columns as it has inputs, in their order.
    ///
    /// # Errors
    /// The inputs that the table lacks.
    pub fn new<'h>(model: &'m Imported, header: impl Iterator<Item = &'h str>) -> Result<Inputs<'m>, MissingColumns> {
        let header: Vec<&str> = header.map(str::trim).collect();
        let find = |name: &String| header.iter().position(|known| known == name);
        let found: Vec<Option<usize>> = model.columns.iter().map(|column| find(&column.name)).collect();
        let names = |places: &[usize]| {
            let name = |place: &usize| header.get(*place).map(|name| (*name).to_owned()).unwrap_or_default();
            places.iter().map(name).collect()
        };
        if let Some(places) = found.iter().copied().collect::<Option<Vec<usize>>>() {
            return Ok(Inputs { model, names: names(&places), places });
        }
        if !model.named && header.len() == model.columns.len() {
            let places: Vec<usize> = (0..header.len()).collect();
            return Ok(Inputs { model, names: names(&places), places });
        }
        let lacking = model.columns.iter().zip(&found).filter(|(_, found)| found.is_none());
        Err(MissingColumns(lacking.map(|(column, _)| column.name.clone()).collect()))
    }

    /// Appends a row as the trees see it. `cell` answers what is in a column; `None` and empty mean missing.
    ///
    /// # Errors
    /// When a number is expected and the cell holds something else.
    pub fn encode<'c, C: Into<Cell<'c>>>(
        &self,
        cell: impl Fn(usize) -> C,
        rows: &mut Vec<f64>,
    ) -> Result<(), NotANumber> {
        for (&place, column) in self.places.iter().zip(&self.model.columns) {
            rows.push(self.model.encode(column, cell(place))?);
        }
        Ok(())
    }

    /// For each input, the table's column.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// The inputs' names in the table.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// An imported model with its tables, which any number of threads may use.
#[derive(Debug)]
pub struct ImportedExplainer<'m> {
    model: &'m Imported,
    outputs: Vec<(Explainer, Tables)>,
}

/// A block of explained rows; its room is used again. One thread works with it.
#[derive(Debug)]
pub struct ExplainedBlock<'e> {
    explainer: &'e ImportedExplainer<'e>,
    /// One for every output.
    workspaces: Vec<Workspace>,
    /// For every output, the attributions of the rows of the last block.
    attributions: Vec<Vec<f64>>,
    margins: Vec<Vec<f64>>,
}

/// The path-dependent game needs to know how much training data passed every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The file does not say it.
    #[error("the model's file does not tell how much training data passed each node: a background is needed")]
    NoCovers,
    /// The background cannot be used.
    #[error(transparent)]
    Background(#[from] BackgroundError),
}

impl<'m> ImportedExplainer<'m> {
    /// Prepares path-dependent attributions, or interventional ones where there is a background.
    ///
    /// # Errors
    /// When there is neither a background nor a cover for every node, or the background does not fit.
    pub fn new(model: &'m Imported, background: Option<&[Vec<f64>]>) -> Result<ImportedExplainer<'m>, ExplainError> {
        if background.is_none() && !model.covers {
            return Err(ExplainError::NoCovers);
        }
        let outputs = model.outputs.iter().map(|output| {
            let tables = match background {
                None => Tables::path_dependent(&output.ensemble),
                Some(rows) => Tables::interventional(&output.ensemble, rows)?,
            };
            Ok((Explainer::new(&output.ensemble), tables))
        });
        let outputs: Vec<(Explainer, Tables)> = outputs.collect::<Result<_, ExplainError>>()?;
        Ok(ImportedExplainer { model, outputs })
    }

    /// Room for a thread that explains.
    pub fn block(&self) -> ExplainedBlock<'_> {
        ExplainedBlock {
            explainer: self,
            workspaces: self.outputs.iter().map(|(_, tables)| tables.workspace()).collect(),
            attributions: vec![Vec::new(); self.outputs.len()],
            margins: vec![Vec::new(); self.outputs.len()],
        }
    }
}

impl ExplainedBlock<'_> {
    /// Explains a block of encoded rows, one value per input, row after row.
    pub fn explain(&mut self, rows: &[f64]) {
        let width = self.explainer.model.columns.len().max(1);
        let outputs = self.explainer.outputs.iter().zip(&mut self.workspaces);
        let results = self.attributions.iter_mut().zip(&mut self.margins);
        for (((explainer, tables), workspace), (attributions, margins)) in outputs.zip(results) {
            attributions.resize(rows.len(), 0.0);
            tables.explain(rows, workspace, attributions);
            margins.clear();
            margins.extend(rows.chunks_exact(width).map(|row| explainer.margin(row)));
        }
    }

    /// A row of the last block.
    pub fn row<'b>(&'b self, at: usize, names: &'b [String]) -> ImportedExplanation<'b> {
        ImportedExplanation { block: self, at, names }
    }
}

/// A row's score with every input's part in it, ready to be written: `margin`, `probability` (`prediction` where the
/// model does not give probabilities), `baseline`, `attributions`; each a map by class where there are several outputs.
#[derive(Debug, Clone, Copy)]
pub struct ImportedExplanation<'e> {
    block: &'e ExplainedBlock<'e>,
    at: usize,
    names: &'e [String],
}

impl ImportedExplanation<'_> {
    /// Every output's margin.
    pub fn margins(&self) -> Vec<f64> {
        self.block.margins.iter().map(|margins| margins.get(self.at).copied().unwrap_or(f64::NAN)).collect()
    }

    /// An output's attributions, in the order of the model's inputs.
    pub fn attributions(&self, output: usize) -> &[f64] {
        let width = self.names.len();
        let all = self.block.attributions.get(output).map(Vec::as_slice).unwrap_or_default();
        all.get(self.at * width..(self.at + 1) * width).unwrap_or_default()
    }
}

impl Serialize for ImportedExplanation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let explainer = self.block.explainer;
        let model = explainer.model;
        let margins = self.margins();
        let mut predictions = margins.clone();
        model.link.apply(&mut predictions);
        let baselines: Vec<f64> = explainer.outputs.iter().map(|(_, tables)| tables.baseline()).collect();
        let classes: Vec<&str> = model.outputs.iter().map(|output| output.name.as_str()).collect();
        let attributions: Vec<ByName<'_>> =
            (0..classes.len()).map(|output| ByName(self.names, self.attributions(output))).collect();
        let prediction = if model.link.gives_probability() { "probability" } else { "prediction" };
        let mut line = serializer.serialize_struct("explanation", 4)?;
        line.serialize_field("margin", &ByClass(&classes, &margins))?;
        line.serialize_field(prediction, &ByClass(&classes, &predictions))?;
        line.serialize_field("baseline", &ByClass(&classes, &baselines))?;
        line.serialize_field("attributions", &ByClass(&classes, &attributions))?;
        line.end()
    }
}

/// A value where there is one output, a map where there are several.
struct ByClass<'e, T>(&'e [&'e str], &'e [T]);

impl<T: Serialize> Serialize for ByClass<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [one] = self.1 {
            return one.serialize(serializer);
        }
        serializer.collect_map(self.0.iter().zip(self.1))
    }
}

struct ByName<'e>(&'e [String], &'e [f64]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.1.len()))?;
        for (name, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
