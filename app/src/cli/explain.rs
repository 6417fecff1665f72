//! `candor explain`.

use std::path::{Path, PathBuf};

use candor_engine::risk::import::{Imported, ImportedExplainer, Inputs};
use candor_engine::risk::{Model, RowExplainer};
use clap::Args;

use crate::config::Config;

use super::in_order::in_order;
use super::table::{Block, Table};
use super::{Failure, score};

/// Explain a tree model's score of every row of a table by exact Shapley values, in log-odds.
///
/// The model is Candor's own, or XGBoost JSON or UBJSON, LightGBM text, or an ONNX ensemble of trees. Writes a line per row:
/// margin, probability, baseline, and a contribution for every input; baseline and contributions add up to
/// the margin. Where a model has several outputs each of these is a map by class; where it does not give probabilities the
/// second is called prediction. Tables of any length take constant memory.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The model; the shipped one where it is left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Table with a column for every input of the model, CSV or Parquet; empty cells are missing values. `-` is CSV on standard
    /// input.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Explain against these rows (interventional values) instead of the training data's shares at each split. Models without
    /// those shares (ONNX) are explained against the first 1000 rows of the data where this is left out.
    #[arg(long, value_name = "FILE")]
    background: Option<PathBuf>,
    /// Threads; 0 takes what the machine has. The output is the same with any number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// Rows of the data that stand in for a background; at most a block.
const STAND_IN: usize = 1000;

impl Explain {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        if let Some(path) = &self.model {
            let bytes = std::fs::read(path).map_err(|error| Failure::from(error).at(path.display()))?;
            if !is_own(&bytes) {
                let model = Imported::read(&bytes).map_err(|error| Failure::from(error).at(path.display()))?;
                return self.imported(&model);
            }
        }
        if self.background.is_some() {
            return Err(Failure::new("--background is for models of other libraries"));
        }
        let model = score::model(self.model.as_deref(), config)?;
        self.own(&model)
    }

    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    fn own(&self, model: &Model) -> Result<(), Failure> {
        let mut table = Table::open(&self.data)?;
        let explainer = RowExplainer::new(model, table.names().iter().map(String::as_str))?;
        table.only(explainer.places())?;
        let mut first = Block::new();
        table.read(&mut first)?;
        in_order(table, first, vec![explainer; self.threads()].into_iter().map(by_row).collect())
    }

    fn imported(&self, model: &Imported) -> Result<(), Failure> {
        let mut table = Table::open(&self.data)?;
        let inputs = Inputs::new(model, table.names().iter().map(String::as_str))?;
        table.only(inputs.places())?;
        let mut first = Block::new();
        table.read(&mut first)?;
        let background = match &self.background {
            Some(path) => Some(table_of(model, path)?),
            None if model.covers => None,
            None => {
                let head = (0..first.rows().min(STAND_IN)).map(|row| encoded(&inputs, &first, row));
                let head = head.collect::<Result<Vec<_>, Failure>>()?;
                eprintln!(
                    "the model's file does not tell how much training data passed each split: \
                     explaining against the first {} rows of the data (see --background)",
                    head.len()
                );
                Some(head)
            }
        };
        let explainer = ImportedExplainer::new(model, background.as_deref())?;
        let worker = |()| {
            let (mut explained, mut values) = (explainer.block(), Vec::new());
            let inputs = &inputs;
            move |block: &Block, lines: &mut Vec<u8>| {
                values.clear();
                let mut fault = None;
                let mut rows = 0;
                for row in 0..block.rows() {
                    let before = values.len();
                    match inputs.encode(|column| block.cell(row, column), &mut values) {
                        Ok(()) => rows += 1,
                        Err(error) => {
                            values.truncate(before);
                            fault = Some(Failure::from(error).at(block.place(row)));
                            break;
                        }
                    }
                }
                explained.explain(&values);
                for row in 0..rows {
                    serde_json::to_writer(&mut *lines, &explained.row(row, inputs.names()))?;
                    lines.push(b'\n');
                }
                fault.map_or(Ok(()), Err)
            }
        };
        in_order(table, first, vec![(); self.threads()].into_iter().map(worker).collect())
    }
}

/// Explains one row after the other.
fn by_row<'m>(mut explainer: RowExplainer<'m>) -> impl FnMut(&Block, &mut Vec<u8>) -> Result<(), Failure> + use<'m> {
    move |block, lines| {
        for row in 0..block.rows() {
            let explanation = explainer
                .explain(|column| block.cell(row, column))
                .map_err(|error| Failure::from(error).at(block.place(row)))?;
            serde_json::to_writer(&mut *lines, &explanation)?;
            lines.push(b'\n');
        }
        Ok(())
    }
}

/// Candor's own format names itself.
fn is_own(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{") && bytes.windows(13).take(4096).any(|window| window == b"candor-risk/1")
}

fn encoded(inputs: &Inputs<'_>, block: &Block, row: usize) -> Result<Vec<f64>, Failure> {
    let mut values = Vec::new();
    let read = inputs.encode(|column| block.cell(row, column), &mut values);
    read.map_err(|error| Failure::from(error).at(block.place(row)))?;
    Ok(values)
}

/// All rows of a table, encoded for a model.
pub(super) fn table_of(model: &Imported, path: &Path) -> Result<Vec<Vec<f64>>, Failure> {
    let mut table = Table::open(path)?;
    let inputs = Inputs::new(model, table.names().iter().map(String::as_str))
        .map_err(|error| Failure::from(error).at(path.display()))?;
    table.only(inputs.places())?;
    let (mut block, mut rows) = (Block::new(), Vec::new());
    loop {
        table.read(&mut block).map_err(|failure| failure.at(path.display()))?;
        if block.rows() == 0 {
            return Ok(rows);
        }
        for row in 0..block.rows() {
            rows.push(encoded(&inputs, &block, row).map_err(|failure| failure.at(path.display()))?);
        }
    }
}
