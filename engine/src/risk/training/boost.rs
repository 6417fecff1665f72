//! Growing the trees with `hessboost`, and taking them over.

use std::num::NonZeroUsize;

use hessboost::config::{Monotone as Constraint, TrainingParams, TreeMethod};
use hessboost::data::{DMatrix, FeatureType};
use hessboost::metric::EvalMetric;
use hessboost::model::BoostedModel;
use hessboost::objective::{Objective, RegLoss};
use hessboost::training::Trainer;
use hessboost::tree::RegTree;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::super::ensemble::{Ensemble, Tree};
use super::super::factors::{Kind, Monotone};
use super::super::features::Feature;
use super::super::figures::{auc, count};
use super::super::model::ModelError;
use super::split::Fold;
use super::{Options, TrainError};

/// Rounds without improvement on the held-out rows after which growing stops.
const PATIENCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(39);

/// The shape of trees, and how much of the data each one sees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Most splits on a path.
    pub depth: usize,
    /// Learning rate.
    pub rate: f64,
    /// Least Hessian in a leaf.
    pub leaf_weight: f64,
    /// L2 penalty on leaves.
    pub penalty: f64,
    /// Share of the inputs that a tree may look at.
    pub columns: f64,
}

const fn shape(depth: usize, rate: f64, leaf_weight: f64, penalty: f64, columns: f64) -> Shape {
    Shape { depth, rate, leaf_weight, penalty, columns }
}

/// The shapes that are tried; held-out rows choose. From small trees that hardly interact to deep ones.
const SHAPES: [Shape; 8] = [
    shape(2, 0.08, 1.0, 1.0, 0.8),
    shape(3, 0.08, 1.0, 1.0, 0.8),
    shape(4, 0.06, 2.0, 2.0, 0.8),
    shape(5, 0.05, 3.0, 4.0, 0.6),
    shape(6, 0.05, 0.5, 10.0, 0.5),
    shape(7, 0.05, 1.0, 2.0, 0.7),
    shape(10, 0.05, 0.2, 0.5, 0.6),
    shape(12, 0.05, 0.3, 1.0, 0.5),
];

/// A larger shape must order held-out rows better by more than this: it costs size and time with every score.
const WORTH_IT: f64 = 0.0005;

/// Share of the rows that a tree sees.
const ROWS: f64 = 0.8;

/// Trees as they were grown, before calibration.
#[derive(Debug, Clone)]
pub(super) struct Grown {
    pub(super) shape: Shape,
    pub(super) rounds: usize,
    pub(super) base: f64,
    pub(super) trees: Vec<Tree>,
    /// Log-odds of the held-out rows, by models that have not learned from them, with the rows' positions.
    pub(super) held_out: Vec<(usize, f64)>,
}

impl Grown {
    pub(super) fn ensemble(&self, features: &[Feature]) -> Result<Ensemble, ModelError> {
        let categories: Vec<Option<usize>> = features
            .iter()
            .map(|feature| (feature.factor.kind == Kind::Category).then_some(feature.categories.len()))
            .collect();
        Ok(Ensemble::new(self.base, self.trees.clone(), &categories)?)
    }
}

/// The encoded table that trees grow on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'d> {
    pub(super) matrix: &'d Array2<f64>,
    pub(super) labels: &'d [bool],
    /// A weight for every row.
    pub(super) weights: &'d [f64],
    pub(super) features: &'d [Feature],
    pub(super) options: &'d Options,
}

/// Forests whose mean stands for the final mean while shapes are tried, at most.
const FORESTS_TO_TRY: usize = 3;

/// What one shape did on the folds.
struct Tried {
    /// Area under the curve of the held-out rows, the folds' mean.
    auc: f64,
    rounds: usize,
    held_out: Vec<(usize, f64)>,
}

/// Tries every shape (or the one that is settled) on the folds, and grows the best again on all rows to learn from: as
/// several forests with seeds of their own where there are few rows, whose mean is steadier than each.
///
/// The best shape is the one that orders the held-out rows best: what it says of probabilities the calibration mends, which
/// keeps the order. Where the model is a mean of forests, means are compared: deep trees gain more by it than small ones.
pub(super) fn grow(
    ground: Ground<'_>,
    folds: &[Fold],
    learn: &[usize],
    settled: Option<Shape>,
) -> Result<Grown, TrainError> {
    let shapes = settled.map_or_else(|| SHAPES.to_vec(), |shape| vec![shape]);
    let mut matrices = Vec::with_capacity(folds.len());
    for fold in folds {
        matrices.push((library_matrix(ground, &fold.learn)?, library_matrix(ground, &fold.held_out)?));
    }
    let forests = ground.options.forests.unwrap_or_else(|| usual_forests(learn.len())).max(1);
    let mut best: Option<(Shape, Tried)> = None;
    for shape in shapes {
        let tried = try_shape(ground, folds, &matrices, shape, forests.min(FORESTS_TO_TRY))?;
        tracing::info!(depth = shape.depth, tried.rounds, tried.auc, "tried a shape of trees");
        if best.as_ref().is_none_or(|(_, most)| tried.auc > most.auc + WORTH_IT) {
            best = Some((shape, tried));
        }
    }
    let Some((shape, tried)) = best else { return Err(TrainError::NoInputs) };
    let all = library_matrix(ground, learn)?;
    let share = count(forests).recip();
    let (mut base, mut trees) = (0.0, Vec::new());
    for forest in 0..forests {
        let params = parameters(shape, ground, seed(ground, forest))?;
        let model = Trainer::new(&params, &all, tried.rounds).train()?.model;
        base += share * f64::from(model.base_score());
        trees.extend(take_over(&model, share));
    }
    Ok(Grown { shape, rounds: tried.rounds, base, trees, held_out: tried.held_out })
}

/// Every forest has a seed of its own.
fn seed(ground: Ground<'_>, forest: usize) -> u64 {
    ground.options.seed.wrapping_add(u64::try_from(forest).unwrap_or(0))
}

/// Few rows make single forests unsteady; many make each dear and steady.
fn usual_forests(rows: usize) -> usize {
    match rows {
        0..=4_999 => 8,
        5_000..=29_999 => 4,
        _ => 1,
    }
}

fn try_shape(
    ground: Ground<'_>,
    folds: &[Fold],
    matrices: &[(DMatrix, DMatrix)],
    shape: Shape,
    forests: usize,
) -> Result<Tried, TrainError> {
    let mut tried = Tried { auc: 0.0, rounds: 0, held_out: Vec::new() };
    for (fold, (learn, held_out)) in folds.iter().zip(matrices) {
        let mut rounds = 0;
        let mut margins = vec![0.0; fold.held_out.len()];
        for forest in 0..forests {
            let params = parameters(shape, ground, seed(ground, forest))?;
            // The first forest says when to stop; the others grow as long.
            let model = if forest == 0 {
                let trainer = Trainer::new(&params, learn, ground.options.most_trees);
                let model = trainer.eval(held_out, "held out").early_stopping_rounds(PATIENCE).train()?.model;
                rounds = model.best_iteration().map_or(ground.options.most_trees, |last| last + 1);
                model
            } else {
                Trainer::new(&params, learn, rounds).train()?.model
            };
            let grown = model.predict_margin(held_out, ..rounds)?;
            for (margin, &one) in margins.iter_mut().zip(grown.as_slice()) {
                *margin += f64::from(one) / count(forests);
            }
        }
        let label = |row: &usize| ground.labels.get(*row) == Some(&true);
        let scored: Vec<(f64, bool)> =
            margins.iter().zip(&fold.held_out).map(|(&margin, row)| (margin, label(row))).collect();
        tried.auc += auc(&scored).0 / count(folds.len());
        tried.held_out.extend(fold.held_out.iter().copied().zip(margins));
        tried.rounds += rounds;
    }
    tried.rounds = (tried.rounds / folds.len().max(1)).max(1);
    Ok(tried)
}

fn parameters(shape: Shape, ground: Ground<'_>, seed: u64) -> Result<TrainingParams, TrainError> {
    let constraints = ground
        .features
        .iter()
        .map(|feature| match feature.factor.monotone {
            Monotone::Free => Constraint::None,
            Monotone::Increasing => Constraint::Increasing,
            Monotone::Decreasing => Constraint::Decreasing,
        })
        .collect();
    Ok(TrainingParams::builder()
        .objective(Objective::BinaryLogistic(RegLoss::default()))
        .eval_metric(EvalMetric::LogLoss)
        .tree_method(TreeMethod::Hist)
        .max_depth(shape.depth)
        .eta(shape.rate)
        .min_child_weight(shape.leaf_weight)
        .lambda(shape.penalty)
        .subsample(ROWS)
        .colsample_bytree(shape.columns)
        .monotone_constraints(constraints)
        .seed(seed)
        .build()?)
}

/// Some rows in the library's own form.
#[expect(clippy::cast_possible_truncation, reason = "the library reckons in single precision")]
fn library_matrix(ground: Ground<'_>, rows: &[usize]) -> Result<DMatrix, TrainError> {
    let values: Vec<f32> =
        rows.iter().flat_map(|&row| ground.matrix.row(row).to_vec()).map(|value| value as f32).collect();
    let targets: Vec<f32> =
        rows.iter().map(|&row| f32::from(u8::from(ground.labels.get(row) == Some(&true)))).collect();
    let types: Vec<FeatureType> = ground
        .features
        .iter()
        .map(|feature| match feature.factor.kind {
            Kind::Category => FeatureType::Categorical,
            Kind::Number | Kind::Flag => FeatureType::Numerical,
        })
        .collect();
    let matrix = DMatrix::from_dense_vec(values, rows.len(), ground.features.len())?
        .with_labels(&targets)?
        .with_feature_types(&types)?;
    if ground.weights.iter().all(|&weight| weight == 1.0) {
        return Ok(matrix);
    }
    let weights: Vec<f32> =
        rows.iter().map(|&row| ground.weights.get(row).map_or(1.0, |&weight| weight as f32)).collect();
    Ok(matrix.with_weights(&weights)?)
}

/// The library's trees as ours, every leaf times `share`. Its leaves already contain the learning rate or carry it as the
/// tree's weight.
fn take_over(model: &BoostedModel, share: f64) -> Vec<Tree> {
    model
        .trees()
        .iter()
        .zip(model.tree_weights())
        .map(|(tree, weight)| take_over_tree(tree, share * f64::from(weight)))
        .collect()
}

/// One tree, its nodes in the order of a walk that goes left first.
fn take_over_tree(from: &RegTree, weight: f64) -> Tree {
    let mut tree = Tree::default();
    // Nodes still to come: theirs, and our parent with the side.
    let mut waiting: Vec<(usize, Option<(usize, bool)>)> = vec![(0, None)];
    while let Some((at, parent)) = waiting.pop() {
        let node = from.node(at);
        let here = tree.feature.len();
        // A tree holds far fewer than 2^32 nodes.
        let link = u32::try_from(here).unwrap_or(u32::MAX);
        if let Some((parent, is_left)) = parent {
            let links = if is_left { &mut tree.left } else { &mut tree.right };
            if let Some(slot) = links.get_mut(parent) {
                *slot = link;
            }
        }
        let inner = !node.is_leaf();
        tree.feature.push(if inner { node.split_feature } else { 0 });
        tree.threshold.push(if inner && !node.is_categorical { f64::from(node.split_cond) } else { 0.0 });
        tree.missing_left.push(u8::from(inner && node.default_left));
        tree.left.push(0);
        tree.right.push(0);
        tree.value.push(if inner { 0.0 } else { weight * f64::from(node.leaf_value) });
        tree.cover.push(f64::from(node.sum_hess));
        if !inner {
            continue;
        }
        if node.is_categorical {
            tree.categories.insert(link, from.split_categories(at).to_vec());
        }
        if let (Ok(left), Ok(right)) = (usize::try_from(node.left), usize::try_from(node.right)) {
            waiting.push((right, Some((here, false))));
            waiting.push((left, Some((here, true))));
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::factors::Factor;
    use crate::risk::features::single;
    use crate::risk::generator::Draws;

    /// Numbers with missing values beside a category, and a label that depends on all of them.
    fn data(rows: usize) -> (Array2<f64>, Vec<bool>, Vec<Feature>) {
        let mut draws = Draws::new(8);
        let mut matrix = Array2::from_elem((rows, 3), f64::NAN);
        let mut labels = Vec::new();
        for mut row in matrix.rows_mut() {
            let (a, b, c) = (draws.normal(), draws.normal(), draws.whole(0.0, 5.0));
            row[0] = single(a);
            row[1] = if draws.chance(0.3) { f64::NAN } else { single(b) };
            row[2] = c;
            labels
                .push(a + if row[1].is_nan() { 1.0 } else { -b } + if c == 2.0 || c == 4.0 { 1.5 } else { 0.0 } > 0.5);
        }
        let feature = |name: &str, kind, categories: usize| Feature {
            factor: Factor::unlisted(name, kind),
            categories: (0..categories).map(|code| code.to_string()).collect(),
            usual_low: None,
            usual_high: None,
            usual_categories: Vec::new(),
        };
        let features =
            vec![feature("a", Kind::Number, 0), feature("b", Kind::Number, 0), feature("c", Kind::Category, 6)];
        (matrix, labels, features)
    }

    #[test]
    fn our_margin_is_the_librarys_own() {
        let (matrix, labels, features) = data(2000);
        let (options, weights) = (Options::new("1", "y"), vec![1.0; 2000]);
        let ground =
            Ground { matrix: &matrix, labels: &labels, weights: &weights, features: &features, options: &options };
        let rows: Vec<usize> = (0..2000).collect();
        let theirs = library_matrix(ground, &rows).unwrap();
        let model = Trainer::new(&parameters(SHAPES[3], ground, 1).unwrap(), &theirs, 60).train().unwrap().model;
        let ours = Grown {
            shape: SHAPES[3],
            rounds: 60,
            base: f64::from(model.base_score()),
            trees: take_over(&model, 1.0),
            held_out: Vec::new(),
        };
        assert!(ours.trees.iter().any(|tree| !tree.categories.is_empty()), "a category is split on");
        let ensemble = ours.ensemble(&features).unwrap();
        let margins = model.predict_margin(&theirs, ..).unwrap();
        for (row, margin) in rows.iter().zip(margins.as_slice()) {
            let ours = ensemble.margin(&matrix.row(*row).to_vec());
            assert!((ours - f64::from(*margin)).abs() < 1e-5, "row {row}: {ours} is not {margin}");
        }
    }
}
