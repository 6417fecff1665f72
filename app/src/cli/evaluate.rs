//! `candor evaluate`.

use std::io::Read;
use std::path::{Path, PathBuf};

use candor_engine::dialogue::evaluate::{evaluate, read_scenarios};
use candor_engine::understanding::evaluate::{Labelled, evaluate_intents, evaluate_sentiment};
use chrono::Utc;
use clap::Subcommand;

use crate::config::Config;

use super::lines::{JsonLines, open};
use super::understand::engine;
use super::{Failure, articles};

/// Measure how often the models are right, on labelled data; figures as JSON.
#[derive(Debug, Subcommand)]
pub(super) enum Evaluate {
    /// Intents. `accuracy` takes the most likely label of rows in scope; `accuracy_served` counts a rejection as an
    /// error.
    Intents {
        /// The head to measure, for instance banking77, clinc150 or desk.
        #[arg(long)]
        head: String,
        /// Table with columns text and label; the label oos is out of scope. `-` is standard input.
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
    },
    /// Sentiment.
    Sentiment {
        /// Table with columns text and label (negative, neutral, positive). `-` is standard input.
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
    },
    /// Whole conversations with a known end, each with a fresh bank in memory.
    Dialogue {
        /// Scenarios, JSON lines as tests/dialogue/README.md describes them. `-` is standard input.
        #[arg(long, value_name = "FILE")]
        scenarios: PathBuf,
    },
}

impl Evaluate {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new()?;
        let mut output = JsonLines::new();
        match self {
            Self::Intents { head, data } => {
                let rows = labelled(&data)?;
                output.write(&runtime.block_on(evaluate_intents(&engine(config)?, &head, &rows))?)?;
            }
            Self::Sentiment { data } => {
                let rows = labelled(&data)?;
                output.write(&runtime.block_on(evaluate_sentiment(&engine(config)?, &rows))?)?;
            }
            Self::Dialogue { scenarios } => {
                let mut text = String::new();
                open(Some(&scenarios))?.read_to_string(&mut text)?;
                let scenarios =
                    read_scenarios(&text).map_err(|problem| Failure::new(problem).at(scenarios.display()))?;
                let engine = engine(config)?;
                let report = runtime.block_on(async {
                    let knowledge = articles::knowledge(&engine).await?;
                    let today = Utc::now().date_naive();
                    let report = evaluate(engine.dialogue(), &engine, &knowledge, &scenarios, today).await;
                    report.map_err(|error| Failure::new(error.to_string()))
                })?;
                output.write(&report)?;
            }
        }
        output.finish()
    }
}

/// Rows of a table with columns `text` and `label`; other columns are ignored.
fn labelled(path: &Path) -> Result<Vec<Labelled>, Failure> {
    let mut table = csv::Reader::from_reader(open(Some(path))?);
    table.deserialize().map(|row| row.map_err(|error| Failure::from(error).at(path.display()))).collect()
}
