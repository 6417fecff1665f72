//! `candor explain`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candor_engine::risk::import::{Imported, ImportedExplainer, Inputs};
use candor_engine::risk::{Model, RowExplainer};
use clap::Args;

use crate::config::Config;

use super::lines::{JsonLines, open};
use super::{Failure, score};

/// Rows that are explained together.
const BLOCK: usize = 4096;

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
    /// Table with a column for every input of the model; empty cells are missing values. `-` is standard input.
    #[arg(long, value_name = "CSV")]
    data: PathBuf,
    /// Explain against these rows (interventional values) instead of the training data's shares at each split. Models without
    /// those shares (ONNX) are explained against the first 1000 rows of the data where this is left out.
    #[arg(long, value_name = "CSV")]
    background: Option<PathBuf>,
}

/// Rows of the data that stand in for a background.
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

    fn own(&self, model: &Model) -> Result<(), Failure> {
        let mut table = csv::Reader::from_reader(open(Some(&self.data))?);
        let mut explainer = RowExplainer::new(model, table.headers()?.iter())?;
        let mut output = JsonLines::new();
        let mut row = csv::StringRecord::new();
        let mut progress = Progress::new();
        while table.read_record(&mut row)? {
            let explanation =
                explainer.explain(|column| row.get(column)).map_err(|error| Failure::from(error).at(place(&row)))?;
            output.write(&explanation)?;
            progress.add(1);
        }
        progress.finish();
        output.finish()
    }

    fn imported(&self, model: &Imported) -> Result<(), Failure> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut table = csv::Reader::from_reader(open(Some(&self.data))?);
        let inputs = Inputs::new(model, table.headers()?.iter())?;
        let mut rows = Rows { values: Vec::new(), count: 0, record: csv::StringRecord::new() };
        rows.read(&mut table, &inputs)?;
        let background = match &self.background {
            Some(path) => Some(table_of(model, path)?),
            None if model.covers => None,
            None => {
                let head: Vec<Vec<f64>> =
                    rows.values.chunks(inputs.names().len().max(1)).take(STAND_IN).map(<[f64]>::to_vec).collect();
                eprintln!(
                    "the model's file does not tell how much training data passed each split: \
                     explaining against the first {} rows of the data (see --background)",
                    head.len()
                );
                Some(head)
            }
        };
        let mut explainer = ImportedExplainer::new(model, background.as_deref(), threads)?;
        let mut output = JsonLines::new();
        let mut progress = Progress::new();
        while rows.count > 0 {
            explainer.explain(&rows.values);
            for row in 0..rows.count {
                output.write(&explainer.row(row, inputs.names()))?;
            }
            progress.add(rows.count);
            rows.read(&mut table, &inputs)?;
        }
        progress.finish();
        output.finish()
    }
}

/// Candor's own format names itself.
fn is_own(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{") && bytes.windows(13).take(4096).any(|window| window == b"candor-risk/1")
}

fn place(record: &csv::StringRecord) -> String {
    record.position().map_or_else(String::new, |position| format!("line {}", position.line()))
}

/// All rows of a table, encoded for a model.
pub(super) fn table_of(model: &Imported, path: &Path) -> Result<Vec<Vec<f64>>, Failure> {
    let mut table = csv::Reader::from_reader(open(Some(path))?);
    let inputs =
        Inputs::new(model, table.headers()?.iter()).map_err(|error| Failure::from(error).at(path.display()))?;
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while table.read_record(&mut record)? {
        let mut row = Vec::new();
        let read = inputs.encode(|column| record.get(column), &mut row);
        read.map_err(|error| Failure::from(error).at(place(&record)).at(path.display()))?;
        rows.push(row);
    }
    Ok(rows)
}

/// A block of encoded rows; its room is used again.
struct Rows {
    values: Vec<f64>,
    count: usize,
    record: csv::StringRecord,
}

impl Rows {
    fn read(&mut self, table: &mut csv::Reader<impl Read>, inputs: &Inputs<'_>) -> Result<(), Failure> {
        self.values.clear();
        self.count = 0;
        while self.count < BLOCK && table.read_record(&mut self.record)? {
            let record = &self.record;
            let read = inputs.encode(|column| record.get(column), &mut self.values);
            read.map_err(|error| Failure::from(error).at(place(record)))?;
            self.count += 1;
        }
        Ok(())
    }
}

/// Says on standard error how far a long run has come.
struct Progress {
    rows: usize,
    start: Instant,
    said: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { rows: 0, start: Instant::now(), said: Instant::now() }
    }

    fn add(&mut self, rows: usize) {
        self.rows += rows;
        if self.said.elapsed() > Duration::from_secs(2) {
            self.said = Instant::now();
            eprintln!("{} rows in {:.0} s", self.rows, self.start.elapsed().as_secs_f64());
        }
    }

    /// Short runs need no summary.
    fn finish(&self) {
        if self.start.elapsed() > Duration::from_secs(2) {
            eprintln!("{} rows in {:.1} s", self.rows, self.start.elapsed().as_secs_f64());
        }
    }
}
