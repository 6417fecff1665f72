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
use super::super::model::ModelError;
use super::split::Parts;
use super::{Options, TrainError};

/// Rounds without improvement on the tuning period after which growing stops.
const PATIENCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(39);

/// The shape of trees.
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
}

/// The shapes that are tried; the tuning period chooses.
const SHAPES: [Shape; 4] = [
    Shape { depth: 3, rate: 0.08, leaf_weight: 1.0, penalty: 1.0 },
    Shape { depth: 4, rate: 0.06, leaf_weight: 2.0, penalty: 2.0 },
    Shape { depth: 5, rate: 0.05, leaf_weight: 3.0, penalty: 4.0 },
    Shape { depth: 6, rate: 0.05, leaf_weight: 5.0, penalty: 8.0 },
];

/// Trees as they were grown, before calibration.
#[derive(Debug, Clone)]
pub(super) struct Grown {
    pub(super) shape: Shape,
    pub(super) base: f64,
    pub(super) trees: Vec<Tree>,
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

/// Tries every shape on the training period, and grows the best again on training and tuning period together.
pub(super) fn grow(
    matrix: &Array2<f64>,
    labels: &[bool],
    features: &[Feature],
    parts: &Parts,
    options: &Options,
) -> Result<Grown, TrainError> {
    let train = library_matrix(matrix, labels, features, &parts.train.rows)?;
    let tune = library_matrix(matrix, labels, features, &parts.tune.rows)?;
    let mut best: Option<(f64, Shape, usize)> = None;
    for shape in SHAPES {
        let params = parameters(shape, features, options)?;
        let result = Trainer::new(&params, &train, options.most_trees)
            .eval(&tune, "tune")
            .early_stopping_rounds(PATIENCE)
            .train()?;
        let rounds = result.model.best_iteration().map_or(options.most_trees, |last| last + 1);
        let loss = result.best_score.unwrap_or(f64::INFINITY);
        tracing::info!(depth = shape.depth, rounds, loss, "tried a shape of trees");
        if best.is_none_or(|(least, ..)| loss < least) {
            best = Some((loss, shape, rounds));
        }
    }
    let (_, shape, rounds) = best.unwrap_or((0.0, SHAPES[0], 1));
    let both: Vec<usize> = parts.train.rows.iter().chain(&parts.tune.rows).copied().collect();
    let params = parameters(shape, features, options)?;
    let model = Trainer::new(&params, &library_matrix(matrix, labels, features, &both)?, rounds).train()?.model;
    Ok(Grown { shape, base: f64::from(model.base_score()), trees: take_over(&model) })
}

fn parameters(shape: Shape, features: &[Feature], options: &Options) -> Result<TrainingParams, TrainError> {
    let constraints = features
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
        .subsample(0.8)
        .colsample_bytree(0.8)
        .monotone_constraints(constraints)
        .seed(options.seed)
        .build()?)
}

/// Some rows in the library's own form.
#[expect(clippy::cast_possible_truncation, reason = "features are rounded to single precision when they are encoded")]
fn library_matrix(
    matrix: &Array2<f64>,
    labels: &[bool],
    features: &[Feature],
    rows: &[usize],
) -> Result<DMatrix, TrainError> {
    let values: Vec<f32> = rows.iter().flat_map(|&row| matrix.row(row).to_vec()).map(|value| value as f32).collect();
    let targets: Vec<f32> = rows.iter().map(|&row| f32::from(u8::from(labels.get(row) == Some(&true)))).collect();
    let types: Vec<FeatureType> = features
        .iter()
        .map(|feature| match feature.factor.kind {
            Kind::Category => FeatureType::Categorical,
            Kind::Number | Kind::Flag => FeatureType::Numerical,
        })
        .collect();
    Ok(DMatrix::from_dense_vec(values, rows.len(), features.len())?
        .with_labels(&targets)?
        .with_feature_types(&types)?)
}

/// The library's trees as ours. Its leaves already contain the learning rate or carry it as the tree's weight.
fn take_over(model: &BoostedModel) -> Vec<Tree> {
    model
        .trees()
        .iter()
        .zip(model.tree_weights())
        .map(|(tree, weight)| take_over_tree(tree, f64::from(weight)))
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
        let rows: Vec<usize> = (0..2000).collect();
        let theirs = library_matrix(&matrix, &labels, &features, &rows).unwrap();
        let params = parameters(SHAPES[2], &features, &Options::new("1", "y")).unwrap();
        let model = Trainer::new(&params, &theirs, 60).train().unwrap().model;
        let ours = Grown { shape: SHAPES[2], base: f64::from(model.base_score()), trees: take_over(&model) };
        assert!(ours.trees.iter().any(|tree| !tree.categories.is_empty()), "a category is split on");
        let ensemble = ours.ensemble(&features).unwrap();
        let margins = model.predict_margin(&theirs, ..).unwrap();
        for (row, margin) in rows.iter().zip(margins.as_slice()) {
            let ours = ensemble.margin(&matrix.row(*row).to_vec());
            assert!((ours - f64::from(*margin)).abs() < 1e-5, "row {row}: {ours} is not {margin}");
        }
    }
}
