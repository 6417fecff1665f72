//! Training a risk model on a table with a label column.
//!
//! Time comes first: where a column tells it, the model learns on the earliest rows, the shape and number of trees are
//! chosen on the next, the calibration on the next, and the figures come from the last, which nothing has seen. Rows without
//! a time are shuffled: some are kept for the figures, the rest is cross-validated. Boosted trees are grown by `hessboost`
//! (chosen because the same data, parameters and seed give the same trees on any number of threads) and then taken over into
//! our own [`ModelFile`], with an affine calibration folded into base and leaves. Protected columns are never inputs.

mod alternatives;
mod boost;
mod calibrate;
mod card;
mod groups;
mod protected;
mod schema;
mod split;
mod table;

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::factors::{Catalogue, Factor, Kind, Role};
use super::fairness::{AttributionGap, GroupFigures, Jurisdiction, attribution_gaps};
use super::features::Feature;
use super::figures::{Figures, Reliability, count};
use super::model::{FORMAT, Model, ModelError, ModelFile};
pub use alternatives::{Variant, less_discriminatory};
use boost::Ground;
pub use boost::Shape;
use calibrate::Fitted;
pub use calibrate::{Method, Tried};
pub use protected::is_protected;
pub use schema::{ColumnSchema, Schema};
pub use split::Period;
use split::Plan;
pub use table::{Table, TableError};

/// What a row weighs in growing trees. The calibration, on unweighted rows, makes the probabilities true again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// Every row the same.
    #[default]
    Even,
    /// All frauds together as much as all honest rows.
    Balanced,
    /// A fraud so many times an honest row.
    Fraud(f64),
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The new model's version.
    pub version: String,
    /// What the data is, in a sentence, for the model's card.
    pub description: String,
    /// The column that holds 1 (or yes, true) for fraud and 0 (or no, false) for none.
    pub label: String,
    /// Words of the label that mean fraud, where they are others; every other word then means none.
    pub positive: Vec<String>,
    /// The column of numbers or dates that orders rows in time. None: `month` where there is one, else the rows are
    /// shuffled.
    pub time: Option<String>,
    /// Columns that must not be inputs, besides the ones whose name says that they are protected.
    pub protected: Vec<String>,
    /// Columns to leave out for other reasons.
    pub ignore: Vec<String>,
    /// What is known of single columns.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// Everything random follows from it.
    pub seed: u64,
    /// At most so many trees in a forest.
    pub most_trees: usize,
    /// Forests whose mean is the model; none takes what suits the number of rows.
    pub forests: Option<usize>,
    /// What a row weighs.
    pub class_weight: ClassWeight,
    /// The calibration; none takes the one that does best.
    pub calibration: Option<Method>,
    /// Percentage of the rows kept for the figures. With 0 every row is learned from, and the figures come from rows held
    /// out while shape and calibration were chosen.
    pub test_percent: usize,
    /// Code of the jurisdiction whose rules fairness is measured by.
    pub jurisdiction: String,
}

impl Options {
    /// Options with the usual values.
    pub fn new(version: impl Into<String>, label: impl Into<String>) -> Options {
        Options {
            version: version.into(),
            description: String::new(),
            label: label.into(),
            positive: Vec::new(),
            time: None,
            protected: Vec::new(),
            ignore: Vec::new(),
            columns: BTreeMap::new(),
            seed: 1,
            most_trees: 600,
            forests: None,
            class_weight: ClassWeight::Even,
            calibration: None,
            test_percent: 20,
            jurisdiction: "eu".to_owned(),
        }
    }

    /// Whether a column must not be an input, by its name or because somebody said so.
    fn protects(&self, column: &str) -> bool {
        is_protected(column)
            || self.protected.iter().any(|protected| protected == column)
            || Catalogue::shipped().get(column).is_some_and(|factor| factor.role == Role::Protected)
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
    /// No such jurisdiction.
    #[error("no jurisdiction {0:?} is known")]
    Jurisdiction(String),
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

/// Which factors carry a group's difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupGap {
    /// The protected column.
    pub ground: String,
    /// The group.
    pub group: String,
    /// Mean log-odds in the group less everybody else's.
    pub total: f64,
    /// The factors with the largest part in it.
    pub factors: Vec<AttributionGap>,
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
    /// The shape of trees that did best on held-out rows.
    pub shape: Shape,
    /// Number of trees.
    pub trees: usize,
    /// Number of leaves in all.
    pub leaves: usize,
    /// Columns that were not used, with the reason.
    pub left_out: Vec<(String, String)>,
    /// Forests whose mean the model is.
    pub forests: usize,
    /// How every way to calibrate did, on rows that it was not fitted on.
    pub calibrations: Vec<Tried>,
    /// Whether the figures come from a test that nothing has seen; else from rows held out while shape and calibration
    /// were chosen, which flatters a little.
    pub unseen: bool,
    /// Figures on those rows.
    pub test: Figures,
    /// Their calibration curve, over 10 bins.
    pub reliability: Reliability,
    /// Figures for groups of people, on those rows.
    pub groups: Vec<GroupFigures>,
    /// For every group, the factors that carry most of its difference from everybody else.
    pub gaps: Vec<GroupGap>,
    /// The inputs by mean |contribution| on the test period, in log-odds.
    pub importance: Vec<(String, f64)>,
}

/// Trains a model.
///
/// # Errors
/// When the table cannot be used or has too few rows of a kind.
pub fn train(table: &Table, options: &Options) -> Result<Trained, TrainError> {
    train_with(table, options, None, None)
}

/// Trains with a settled shape where one is given, and with further weights of the rows.
fn train_with(
    table: &Table,
    options: &Options,
    settled: Option<Shape>,
    further_weights: Option<&[f64]>,
) -> Result<Trained, TrainError> {
    let jurisdiction = Jurisdiction::get(&options.jurisdiction)
        .ok_or_else(|| TrainError::Jurisdiction(options.jurisdiction.clone()))?;
    let labels = table.labels(&options.label, &options.positive)?;
    let time = time_column(table, options);
    let plan = match time {
        Some(name) => Plan::in_time(&table.moments(name)?, options.test_percent),
        None => Plan::shuffled(&labels, options.test_percent, options.seed),
    };
    check_parts(&plan, &labels)?;

    let (features, left_out) = choose_features(table, options, time, &plan.learn);
    if features.is_empty() {
        return Err(TrainError::NoInputs);
    }
    let matrix = encode(table, &features);
    let mut weights = class_weights(&labels, &plan.learn, options.class_weight);
    for (weight, further) in weights.iter_mut().zip(further_weights.unwrap_or_default()) {
        *weight *= further;
    }
    let ground = Ground { matrix: &matrix, labels: &labels, weights: &weights, features: &features, options };
    let grown = boost::grow(ground, &plan.folds, &plan.learn, settled)?;
    let raw = grown.ensemble(&features)?;
    let label = |row: usize| labels.get(row) == Some(&true);
    let margins: Vec<(f64, bool)> = match &plan.calibrate {
        Some(rows) => rows.iter().map(|&row| (raw.margin(&matrix.row(row).to_vec()), label(row))).collect(),
        None => grown.held_out.iter().map(|&(row, margin)| (margin, label(row))).collect(),
    };
    let (fitted, calibrations) = calibrate::choose(&margins, options.calibration);

    let Fitted { affine, curve } = fitted.clone();
    let file = ModelFile {
        format: FORMAT.to_owned(),
        version: options.version.clone(),
        description: options.description.clone(),
        calibration: affine,
        curve,
        base: affine.slope * grown.base + affine.intercept,
        features,
        trees: grown.trees.iter().map(|tree| calibrate::fold(tree, affine)).collect(),
    };
    let bytes = serde_json::to_vec(&file)?;
    let model = Model::load(&bytes)?;

    // Figures: on the test, or where there is none on the rows that calibrated.
    let unseen = !plan.test().is_empty();
    let (rows, tested): (Vec<usize>, Vec<(f64, bool)>) = match (&plan.calibrate, unseen) {
        (None, false) => grown
            .held_out
            .iter()
            .map(|&(row, margin)| (row, (super::probability(fitted.apply(margin)), label(row))))
            .unzip(),
        (calibrate, _) => {
            let rows = if unseen { plan.test() } else { calibrate.as_deref().unwrap_or_default() };
            let score = |row: usize| model.probability(model.explainer().margin(&matrix.row(row).to_vec()));
            rows.iter().map(|&row| (row, (score(row), label(row)))).unzip()
        }
    };
    let test = Figures::of(&tested);
    let protected: Vec<String> = table.names().filter(|name| options.protects(name)).map(str::to_owned).collect();
    let explained = explain_rows(&model, &matrix, &rows);
    let report = Report {
        version: options.version.clone(),
        sha256: model.sha256().to_owned(),
        options: options.clone(),
        time_ordered: time.is_some(),
        periods: plan.parts.iter().filter(|part| !part.rows.is_empty()).map(|part| part.period(&labels)).collect(),
        shape: grown.shape,
        trees: model.ensemble().trees().len(),
        leaves: model.ensemble().trees().iter().map(|tree| tree.len() / 2 + 1).sum(),
        forests: model.ensemble().trees().len() / grown.rounds.max(1),
        calibrations,
        unseen,
        left_out,
        groups: groups::measure_all(table, &protected, &rows, &tested, test.at_5_percent.threshold, jurisdiction),
        gaps: group_gaps(table, &protected, &rows, &model, &explained, jurisdiction),
        reliability: Reliability::of(&tested, 10),
        test,
        importance: importance(&model, &explained),
    };
    Ok(Trained { model, bytes, report })
}

/// Every part that decides or judges needs rows of both kinds.
fn check_parts(plan: &Plan, labels: &[bool]) -> Result<(), TrainError> {
    for part in plan.parts.iter().filter(|part| part.name != "test" || !part.rows.is_empty()) {
        let positives = part.rows.iter().filter(|&&row| labels.get(row) == Some(&true)).count();
        if positives < 5 || part.rows.len() - positives < 5 {
            return Err(TrainError::OneSided { part: part.name, rows: part.rows.len(), positives });
        }
    }
    Ok(())
}

fn class_weights(labels: &[bool], learn: &[usize], weight: ClassWeight) -> Vec<f64> {
    let frauds = count(learn.iter().filter(|&&row| labels.get(row) == Some(&true)).count()).max(1.0);
    let fraud = match weight {
        ClassWeight::Even => 1.0,
        ClassWeight::Balanced => (count(learn.len()) - frauds).max(1.0) / frauds,
        ClassWeight::Fraud(times) => times,
    };
    labels.iter().map(|&label| if label { fraud } else { 1.0 }).collect()
}

fn time_column<'a>(table: &Table, options: &'a Options) -> Option<&'a str> {
    let usual = table.moments("month").is_ok().then_some("month");
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
        } else if options.protects(name) {
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
            let factor = match options.columns.get(name) {
                Some(column) => column.complete(factor),
                None => factor,
            };
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

/// At most 5,000 of some rows, explained: positions among the rows, and contributions.
fn explain_rows(model: &Model, matrix: &Array2<f64>, rows: &[usize]) -> Vec<(usize, Vec<f64>)> {
    let mut scratch = model.scratch();
    let taken = rows.iter().enumerate().step_by(rows.len().div_ceil(5_000).max(1));
    taken
        .map(|(position, &row)| {
            let mut contributions = vec![0.0; model.features().len()];
            model.explainer().explain(&matrix.row(row).to_vec(), &mut scratch, &mut contributions);
            (position, contributions)
        })
        .collect()
}

/// The inputs by mean |contribution|, the largest first.
fn importance(model: &Model, explained: &[(usize, Vec<f64>)]) -> Vec<(String, f64)> {
    let mut sums = vec![0.0; model.features().len()];
    for (_, contributions) in explained {
        for (sum, contribution) in sums.iter_mut().zip(contributions) {
            *sum += contribution.abs();
        }
    }
    let names = model.features().iter().map(|feature| feature.factor.name.clone());
    let mut importance: Vec<(String, f64)> =
        names.zip(sums.into_iter().map(|sum| sum / count(explained.len()).max(1.0))).collect();
    importance.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    importance
}

/// For every group of every protected column, the factors that carry its difference from everybody else.
fn group_gaps(
    table: &Table,
    protected: &[String],
    rows: &[usize],
    model: &Model,
    explained: &[(usize, Vec<f64>)],
    jurisdiction: &Jurisdiction,
) -> Vec<GroupGap> {
    let factors: Vec<String> = model.features().iter().map(|feature| feature.factor.name.clone()).collect();
    let mut all = Vec::new();
    for column in protected {
        let groups = groups::memberships(table, column, rows, jurisdiction);
        let of_explained: Vec<Option<&str>> =
            explained.iter().map(|(position, _)| groups.get(*position).and_then(|group| group.as_deref())).collect();
        let mut names: Vec<&str> = of_explained.iter().flatten().copied().collect();
        names.sort_unstable();
        names.dedup();
        if !(2..=groups::MOST_GROUPS).contains(&names.len()) {
            continue;
        }
        let contributions: Vec<Vec<f64>> = explained.iter().map(|(_, contributions)| contributions.clone()).collect();
        for name in names {
            let inside: Vec<bool> = of_explained.iter().map(|group| *group == Some(name)).collect();
            let mut gaps = attribution_gaps(&factors, &contributions, &inside);
            let total = gaps.iter().map(|gap| gap.gap).sum();
            gaps.truncate(3);
            all.push(GroupGap { ground: column.clone(), group: name.to_owned(), total, factors: gaps });
        }
    }
    all
}

#[cfg(test)]
mod tests;
