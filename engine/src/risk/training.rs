//! Training a risk model on a table with a label column.
//!
//! Time comes first: the model learns on the earliest rows, the number of trees is chosen on the next, the calibration on
//! the next, and the figures come from the last, which nothing has seen. Boosted trees are grown by `hessboost`
//! (chosen because the same data, parameters and seed give the same trees on any number of threads) and then taken over into
//! our own [`ModelFile`], with the calibration folded into base and leaves. Protected columns are never inputs.

mod boost;
mod calibrate;
mod card;
mod figures;
mod protected;
mod split;
mod table;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::factors::{Catalogue, Factor, Kind, Role};
use super::features::Feature;
use super::model::{FORMAT, Model, ModelError, ModelFile, probability};
pub use boost::Shape;
pub use figures::{Figures, Group, Interval};
pub use protected::is_protected;
pub use split::{Part, Parts, Period};
pub use table::{Table, TableError};

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The new model's version.
    pub version: String,
    /// What the data is, in a sentence, for the model's card.
    pub description: String,
    /// The column that holds 1 (or yes, true) for fraud and 0 (or no, false) for none.
    pub label: String,
    /// The column of numbers that orders rows in time. None: `month` where there is one, else the rows are shuffled.
    pub time: Option<String>,
    /// Columns that must not be inputs, besides the ones whose name says that they are protected.
    pub protected: Vec<String>,
    /// Columns to leave out for other reasons.
    pub ignore: Vec<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// At most so many trees.
    pub most_trees: usize,
}

impl Options {
    /// Options with the usual values.
    pub fn new(version: impl Into<String>, label: impl Into<String>) -> Options {
        Options {
            version: version.into(),
            description: String::new(),
            label: label.into(),
            time: None,
            protected: Vec::new(),
            ignore: Vec::new(),
            seed: 1,
            most_trees: 600,
        }
    }
}

/// Why training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No column is left to learn from.
    #[error("no column is left to learn from")]
    NoInputs,
    /// A part of the data holds rows of one kind only.
    #[error("{part}: {positives} of {rows} rows are fraud; every part needs at least 5 of both kinds")]
    OneSided {
        /// Which part of the split.
        part: &'static str,
        /// Its rows.
        rows: usize,
        /// Rows that are fraud.
        positives: usize,
    },
    /// The trees could not be grown.
    #[error("growing the trees: {0}")]
    Boosting(#[from] hessboost::error::HessboostError),
    /// The finished model does not pass its own checks.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model could not be written.
    #[error("writing the model: {0}")]
    Write(#[from] serde_json::Error),
}

/// A finished model.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model, ready for use.
    pub model: Model,
    /// The bytes of its file.
    pub bytes: Vec<u8>,
    /// How it was made and how good it is.
    pub report: Report,
}

impl Trained {
    /// The model card, in Markdown.
    pub fn card(&self) -> String {
        card::write(&self.model, &self.report)
    }
}

/// How a model was made and how good it is on rows that it has never seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model's version.
    pub version: String,
    /// SHA-256 over the model's file.
    pub sha256: String,
    /// The options it was trained with.
    pub options: Options,
    /// Whether rows were ordered in time or shuffled.
    pub time_ordered: bool,
    /// The periods, in the order of use: train, tune, calibrate, test.
    pub periods: Vec<Period>,
    /// The shape of trees that did best on the tuning period.
    pub shape: Shape,
    /// Number of trees.
    pub trees: usize,
    /// Number of leaves in all.
    pub leaves: usize,
    /// Columns that were not used, with the reason.
    pub left_out: Vec<(String, String)>,
    /// Figures on the test period.
    pub test: Figures,
    /// Figures for groups of people, on the test period.
    pub groups: Vec<Group>,
    /// The inputs by mean |contribution| on the test period, in log-odds.
    pub importance: Vec<(String, f64)>,
}

/// Trains a model.
///
/// # Errors
/// When the table cannot be used or has too few rows of a kind.
pub fn train(table: &Table, options: &Options) -> Result<Trained, TrainError> {
    let labels = table.labels(&options.label)?;
    let time = time_column(table, options);
    let parts = match time {
        Some(name) => Parts::in_time(table.numbers(name)?),
        None => Parts::shuffled(table.rows(), options.seed),
    };
    for part in parts.all() {
        let positives = part.rows.iter().filter(|&&row| labels.get(row) == Some(&true)).count();
        if positives < 5 || part.rows.len() - positives < 5 {
            return Err(TrainError::OneSided { part: part.name, rows: part.rows.len(), positives });
        }
    }

    let (features, left_out) = choose_features(table, options, time, &parts.train.rows);
    if features.is_empty() {
        return Err(TrainError::NoInputs);
    }
    let matrix = encode(table, &features);
    let grown = boost::grow(&matrix, &labels, &features, &parts, options)?;
    let raw = grown.ensemble(&features)?;
    let margins: Vec<(f64, bool)> =
        rows_of(&matrix, &labels, &parts.calibrate.rows).map(|(row, label)| (raw.margin(&row), label)).collect();
    let calibration = calibrate::fit(&margins);

    let file = ModelFile {
        format: FORMAT.to_owned(),
        version: options.version.clone(),
        description: options.description.clone(),
        calibration,
        base: calibration.slope * grown.base + calibration.intercept,
        features,
        trees: grown.trees.iter().map(|tree| calibrate::fold(tree, calibration)).collect(),
    };
    let bytes = serde_json::to_vec(&file)?;
    let model = Model::load(&bytes)?;

    let tested: Vec<(f64, bool)> = rows_of(&matrix, &labels, &parts.test.rows)
        .map(|(row, label)| (probability(model.ensemble().margin(&row)), label))
        .collect();
    let test = Figures::of(&tested);
    let groups = figures::groups(table, &parts.test.rows, &tested, test.threshold_at_5_percent, |name| {
        is_protected(name) || options.protected.iter().any(|protected| protected == name)
    });
    let report = Report {
        version: options.version.clone(),
        sha256: model.sha256().to_owned(),
        options: options.clone(),
        time_ordered: time.is_some(),
        periods: parts.all().iter().map(|part| part.period(&labels)).collect(),
        shape: grown.shape,
        trees: model.ensemble().trees().len(),
        leaves: model.ensemble().trees().iter().map(|tree| tree.len() / 2 + 1).sum(),
        left_out,
        test,
        groups,
        importance: importance(&model, &matrix, &parts.test.rows),
    };
    Ok(Trained { model, bytes, report })
}

fn time_column<'a>(table: &Table, options: &'a Options) -> Option<&'a str> {
    let usual = table.numbers("month").is_ok().then_some("month");
    options.time.as_deref().or(usual)
}

/// The inputs, with what is usual in the training rows; and the columns that are none, with the reason.
fn choose_features(
    table: &Table,
    options: &Options,
    time: Option<&str>,
    rows: &[usize],
) -> (Vec<Feature>, Vec<(String, String)>) {
    let mut features = Vec::new();
    let mut left_out = Vec::new();
    for name in table.names() {
        let known = Catalogue::shipped().get(name);
        let kind = table.kind(name);
        let why = if name == options.label {
            continue;
        } else if is_protected(name)
            || options.protected.iter().any(|protected| protected == name)
            || known.is_some_and(|factor| factor.role == Role::Protected)
        {
            "protected: used only to measure fairness"
        } else if time == Some(name) || known.is_some_and(|factor| factor.role == Role::Time) {
            "time: orders the rows"
        } else if options.ignore.iter().any(|ignored| ignored == name) {
            "left out on request"
        } else if looks_like_an_identifier(name) {
            "an identifier"
        } else {
            let factor = known
                .filter(|factor| (factor.kind == Kind::Category) == (kind == Kind::Category))
                .cloned()
                .unwrap_or_else(|| Factor::unlisted(name, kind));
            match table.feature(factor, rows) {
                Ok(feature) => {
                    features.push(feature);
                    continue;
                }
                Err(why) => why,
            }
        };
        left_out.push((name.to_owned(), why.to_owned()));
    }
    (features, left_out)
}

fn looks_like_an_identifier(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.is_empty() || name == "id" || name.ends_with("_id") || name.starts_with("unnamed")
}

/// Every row as the trees see it.
fn encode(table: &Table, features: &[Feature]) -> Array2<f64> {
    let mut matrix = Array2::from_elem((table.rows(), features.len()), f64::NAN);
    for (mut column, feature) in matrix.columns_mut().into_iter().zip(features) {
        table.encode_into(feature, &mut column);
    }
    matrix
}

/// Encoded rows with their labels.
fn rows_of<'a>(
    matrix: &'a Array2<f64>,
    labels: &'a [bool],
    rows: &'a [usize],
) -> impl Iterator<Item = (Vec<f64>, bool)> + 'a {
    rows.iter().filter_map(|&row| Some((matrix.row(row).to_vec(), *labels.get(row)?)))
}

/// The inputs by mean |contribution|, the largest first, over at most 5,000 rows.
fn importance(model: &Model, matrix: &Array2<f64>, rows: &[usize]) -> Vec<(String, f64)> {
    let mut scratch = model.scratch();
    let mut contributions = vec![0.0; model.features().len()];
    let mut sums = vec![0.0; model.features().len()];
    let taken: Vec<usize> = rows.iter().copied().step_by((rows.len() / 5_000).max(1)).collect();
    for &row in &taken {
        model.explainer().explain(&matrix.row(row).to_vec(), &mut scratch, &mut contributions);
        for (sum, contribution) in sums.iter_mut().zip(&contributions) {
            *sum += contribution.abs();
        }
    }
    let names = model.features().iter().map(|feature| feature.factor.name.clone());
    let mut importance: Vec<(String, f64)> =
        names.zip(sums.into_iter().map(|sum| sum / figures::count(taken.len()).max(1.0))).collect();
    importance.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    importance
}

#[cfg(test)]
mod tests;
