//! `candor train`.

use std::path::PathBuf;

use candor_engine::risk::training::{self, Options, Table};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::applications::labels::labelled;
use crate::config::Config;
use crate::db::Database;

use super::Failure;
use super::lines::{JsonLines, open};

/// The column of labels of the bank's own applications.
const LABEL: &str = "fraud";

/// Train a model on your own data.
#[derive(Debug, Subcommand)]
pub(super) enum Train {
    Risk(Risk),
}

impl Train {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Risk(command) => command.run(config),
        }
    }
}

/// Train the fraud model on a table of past applications.
///
/// The model learns on the earliest rows and is measured on the latest, which nothing has seen. Columns whose names say
/// that they are protected (age, sex, nationality, …) are never inputs; they only serve to measure fairness. Writes
/// model.json and its card README.md into the folder, and the report as JSON to standard output.
#[derive(Debug, Args)]
pub(super) struct Risk {
    /// Past applications with a header; empty cells are missing values. `-` is standard input.
    #[arg(long, value_name = "CSV", required_unless_present = "from_database")]
    data: Option<PathBuf>,
    /// Take the bank's own applications whose end is known, with the factors as of their arrival.
    #[arg(long, conflicts_with_all = ["data", "label", "time"])]
    from_database: bool,
    /// Only what was known by then, for instance 2026-11-24T12:00:00Z (default: now). For --from-database.
    #[arg(long, value_name = "TIME", requires = "from_database")]
    as_of: Option<DateTime<Utc>>,
    /// Column with 1, yes or true for fraud, and 0, no or false for none.
    #[arg(long, value_name = "COLUMN", required_unless_present = "from_database")]
    label: Option<String>,
    /// Folder for the model and its card.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The new model's version (default: today's date).
    #[arg(long)]
    version: Option<String>,
    /// What the data is, in a sentence, for the model's card.
    #[arg(long, default_value = "")]
    description: String,
    /// Column of numbers that orders rows in time (default: month, where there is one; else rows are shuffled).
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Further column that must not be an input, only a measure of fairness; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    protected: Vec<String>,
    /// Column to leave out; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// At most so many trees.
    #[arg(long, default_value_t = 600)]
    most_trees: usize,
}

impl Risk {
    fn run(self, config: &Config) -> Result<(), Failure> {
        let table = match &self.data {
            Some(path) => Table::read(open(Some(path))?).map_err(|error| Failure::from(error).at(path.display()))?,
            None => from_database(config, self.as_of.unwrap_or_else(Utc::now))?,
        };
        eprintln!("{} rows; growing trees", table.rows());
        let version = self.version.unwrap_or_else(|| Utc::now().format("%Y-%m-%d").to_string());
        let options = Options {
            description: self.description,
            time: self.time,
            protected: self.protected,
            ignore: self.ignore,
            seed: self.seed,
            most_trees: self.most_trees,
            ..Options::new(version, self.label.unwrap_or_else(|| LABEL.to_owned()))
        };
        let trained = training::train(&table, &options)?;
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::from(error).at(self.out.display()))?;
        for (name, bytes) in [("model.json", trained.bytes.as_slice()), ("README.md", trained.card().as_bytes())] {
            let path = self.out.join(name);
            std::fs::write(&path, bytes).map_err(|error| Failure::from(error).at(path.display()))?;
        }
        eprintln!("The model and its card are in {}", self.out.display());
        let mut output = JsonLines::new();
        output.write(&trained.report)?;
        output.finish()
    }
}

/// The bank's applications whose end was known by `as_of`.
fn from_database(config: &Config, as_of: DateTime<Utc>) -> Result<Table, Failure> {
    let rows = tokio::runtime::Runtime::new()?.block_on(async {
        let database = Database::join(config, |line| eprintln!("{line}")).await?;
        let rows = labelled(&database.pool, as_of).await;
        database.close().await;
        rows.map_err(Failure::from)
    })?;
    eprintln!("{} applications were labelled by {as_of}", rows.len());
    Ok(Table::of_applications(rows.iter().map(|row| (&row.factors, row.fraud)), LABEL))
}
