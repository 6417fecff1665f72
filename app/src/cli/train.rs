//! `candor train`.

use std::path::PathBuf;

use candor_engine::risk::training::{self, ClassWeight, Method, Options, Schema, Table};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::applications::labels::labelled;
use crate::config::Config;
use crate::db::Database;

use super::Failure;
use super::lines::{JsonLines, open};
use super::train_intents::Intents;

/// The column of labels of the bank's own applications.
const LABEL: &str = "fraud";

/// Train a model on your own data.
#[derive(Debug, Subcommand)]
pub(super) enum Train {
    Risk(Risk),
    Intents(Intents),
}

impl Train {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Risk(command) => command.run(config),
            Self::Intents(command) => command.run(config),
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
    /// Column with 1, yes or true for fraud, and 0, no or false for none. A schema may name it.
    #[arg(long, value_name = "COLUMN", required_unless_present_any = ["from_database", "schema"])]
    label: Option<String>,
    /// What is known of the table in TOML: label and its words, time, protected columns, and for single columns labels,
    /// reasons, codes, monotone senses, kinds. See `engine/src/risk/training/README.md`.
    #[arg(long, value_name = "TOML")]
    schema: Option<PathBuf>,
    /// Folder for the model and its card.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The new model's version (default: today's date).
    #[arg(long)]
    version: Option<String>,
    /// What the data is, in a sentence, for the model's card.
    #[arg(long, default_value = "")]
    description: String,
    /// Column of numbers or dates that orders rows in time (default: month, where there is one; else rows are shuffled).
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
    /// Forests whose mean is the model (default: as many as suit the number of rows).
    #[arg(long)]
    forests: Option<usize>,
    /// What a fraud weighs beside an honest row in growing trees: even, balanced, or a number.
    #[arg(long, default_value = "even", value_parser = class_weight)]
    class_weight: ClassWeight,
    /// The calibration: platt, beta or isotonic (default: the one that does best).
    #[arg(long, value_parser = method)]
    calibration: Option<Method>,
    /// Percentage of the rows kept for the figures; with 0 every row is learned from.
    #[arg(long, default_value_t = 20)]
    test_percent: usize,
    /// Whose rules fairness is measured by: us, eu or uk. A schema may name it.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// Search for a less discriminatory model: train variants and list those with nearly the same recall and a smaller
    /// difference between the groups of this column, a JSON line each and together in alternatives.json. May be repeated.
    #[arg(long, value_name = "COLUMN")]
    alternatives: Vec<String>,
}

/// The file of the variants that were tried, beside the model.
pub(super) const ALTERNATIVES: &str = "alternatives.json";

/// Frauds of the original that an alternative may miss, as a share.
const TOLERANCE: f64 = 0.02;

fn class_weight(text: &str) -> Result<ClassWeight, String> {
    match text {
        "even" => Ok(ClassWeight::Even),
        "balanced" => Ok(ClassWeight::Balanced),
        number => match number.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(ClassWeight::Fraud(times)),
            _ => Err("must be even, balanced, or a number above zero".to_owned()),
        },
    }
}

fn method(text: &str) -> Result<Method, String> {
    [Method::Platt, Method::Beta, Method::Isotonic]
        .into_iter()
        .find(|method| method.as_str() == text)
        .ok_or_else(|| "must be platt, beta or isotonic".to_owned())
}

impl Risk {
    fn run(self, config: &Config) -> Result<(), Failure> {
        let schema = match &self.schema {
            None => Schema::default(),
            Some(path) => {
                let at = |failure: Failure| failure.at(path.display());
                let text = std::fs::read_to_string(path).map_err(|error| at(error.into()))?;
                Schema::parse(&text).map_err(|error| at(error.into()))?
            }
        };
        let table = match &self.data {
            Some(path) => {
                let table = Table::read_as(open(Some(path))?, &schema);
                table.map_err(|error| Failure::from(error).at(path.display()))?
            }
            None => from_database(config, self.as_of.unwrap_or_else(Utc::now))?,
        };
        eprintln!("{} rows; growing trees", table.rows());
        let version = self.version.unwrap_or_else(|| Utc::now().format("%Y-%m-%d").to_string());
        let label = self.label.or_else(|| self.from_database.then(|| LABEL.to_owned()));
        let mut options = Options {
            description: self.description,
            time: self.time,
            protected: self.protected,
            ignore: self.ignore,
            seed: self.seed,
            most_trees: self.most_trees,
            forests: self.forests,
            class_weight: self.class_weight,
            calibration: self.calibration,
            test_percent: self.test_percent,
            ..Options::new(version, label.unwrap_or_default())
        };
        schema.apply(&mut options);
        if let Some(jurisdiction) = self.jurisdiction {
            options.jurisdiction = jurisdiction;
        }
        let trained = training::train(&table, &options)?;
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::from(error).at(self.out.display()))?;
        for (name, bytes) in [("model.json", trained.bytes.as_slice()), ("README.md", trained.card().as_bytes())] {
            let path = self.out.join(name);
            std::fs::write(&path, bytes).map_err(|error| Failure::from(error).at(path.display()))?;
        }
        eprintln!("The model and its card are in {}", self.out.display());
        let mut output = JsonLines::new();
        output.write(&trained.report)?;
        let mut variants = Vec::new();
        for column in &self.alternatives {
            eprintln!("Searching for less discriminatory models by {column}");
            let found = training::less_discriminatory(&table, &options, column, TOLERANCE)?;
            found.iter().try_for_each(|variant| output.write(variant))?;
            variants.extend(found);
        }
        if !variants.is_empty() {
            let path = self.out.join(ALTERNATIVES);
            let text = serde_json::to_vec_pretty(&variants)?;
            std::fs::write(&path, text).map_err(|error| Failure::from(error).at(path.display()))?;
        }
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
