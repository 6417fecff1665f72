//! `candor explain`.

use std::path::PathBuf;

use candor_engine::risk::RowExplainer;
use clap::Args;

use crate::config::Config;

use super::lines::{JsonLines, open};
use super::{Failure, score};

/// Explain a tree model's score of every row of a table by exact Shapley values, in log-odds.
///
/// Writes a line per row: margin, probability, baseline, and a contribution for every input; baseline and
/// contributions add up to the margin.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The model; the shipped one where it is left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Table with a column for every input of the model; empty cells are missing values. `-` is standard input.
    #[arg(long, value_name = "CSV")]
    data: PathBuf,
}

impl Explain {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let model = score::model(self.model.as_deref(), config)?;
        let mut table = csv::Reader::from_reader(open(Some(&self.data))?);
        let mut explainer = RowExplainer::new(&model, table.headers()?.iter())?;
        let mut output = JsonLines::new();
        let mut row = csv::StringRecord::new();
        while table.read_record(&mut row)? {
            let place = || row.position().map_or_else(String::new, |position| format!("line {}", position.line()));
            let explanation =
                explainer.explain(|column| row.get(column)).map_err(|error| Failure::from(error).at(place()))?;
            output.write(&explanation)?;
        }
        output.finish()
    }
}
