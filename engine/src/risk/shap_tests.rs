//! The explainer against brute force over all coalitions, and its promises over random ensembles.
#![expect(clippy::cast_possible_truncation, reason = "test trees have few nodes and features")]

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ensemble::{Ensemble, Tree};
use super::shap::Explainer;

/// How random ensembles are drawn.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    pub(super) seed: u64,
    pub(super) trees: usize,
    pub(super) features: usize,
    pub(super) depth: usize,
    /// Out of 10: how often a node above the last level is a leaf already.
    pub(super) leafy: u32,
}

/// Every third feature is a category of four values; thresholds lie on a grid of halves so that rows tie with them.
fn is_category(feature: usize) -> bool {
    feature % 3 == 2
}

fn grow(rng: &mut ChaCha8Rng, tree: &mut Tree, draw: &Draw, depth: usize, cover: f64) -> u32 {
    let node = tree.feature.len();
    tree.feature.push(0);
    tree.threshold.push(0.0);
    tree.missing_left.push(0);
    tree.left.push(0);
    tree.right.push(0);
    tree.value.push(0.0);
    tree.cover.push(cover);
    if depth == 0 || rng.random_range(0..10) < draw.leafy {
        tree.value[node] = rng.random_range(-2.0..2.0);
        return node as u32;
    }
    let feature = rng.random_range(0..draw.features);
    tree.feature[node] = feature as u32;
    tree.missing_left[node] = rng.random_range(0..2);
    if is_category(feature) {
        let codes = (0..4).filter(|_| rng.random_bool(0.5)).collect();
        tree.categories.insert(node as u32, codes);
    } else {
        tree.threshold[node] = f64::from(rng.random_range(-4..5)) / 2.0;
    }
    // Now and then no training data went one way.
    let share = if rng.random_range(0..12) == 0 { 0.0 } else { rng.random_range(0.05..0.95) };
    // A branch without training data is still asked for: its own children need a cover.
    let left = grow(rng, tree, draw, depth - 1, (cover * share).max(if share == 0.0 { 0.0 } else { 1e-9 }));
    let right = grow(rng, tree, draw, depth - 1, cover * (1.0 - share));
    for child in [left, right] {
        let inner = tree.left[child as usize] != 0;
        let (a, b) = (tree.left[child as usize] as usize, tree.right[child as usize] as usize);
        if inner && tree.cover[a] + tree.cover[b] <= 0.0 {
            tree.cover[a] = 1.0;
        }
    }
    tree.left[node] = left;
    tree.right[node] = right;
    node as u32
}

pub(super) fn ensemble(draw: &Draw) -> (Ensemble, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(draw.seed);
    let trees = (0..draw.trees)
        .map(|_| {
            let mut tree = Tree::default();
            grow(&mut rng, &mut tree, draw, draw.depth, 1000.0);
            let root = (tree.left[0] as usize, tree.right[0] as usize);
            if root.0 != 0 && tree.cover[root.0] + tree.cover[root.1] <= 0.0 {
                tree.cover[root.0] = 1.0;
            }
            tree
        })
        .collect();
    let categories: Vec<Option<usize>> = (0..draw.features).map(|feature| is_category(feature).then_some(4)).collect();
    (Ensemble::new(rng.random_range(-1.0..1.0), trees, &categories).unwrap(), rng)
}

pub(super) fn row(rng: &mut ChaCha8Rng, features: usize) -> Vec<f64> {
    (0..features)
        .map(|feature| match (rng.random_range(0..5), is_category(feature)) {
            (0, _) => f64::NAN,
            (_, true) => f64::from(rng.random_range(0..4)),
            (_, false) => f64::from(rng.random_range(-5..6)) / 2.0,
        })
        .collect()
}

/// What a tree says when only the features of a coalition are known.
pub(super) fn worth(tree: &Tree, node: usize, row: &[f64], coalition: u32) -> f64 {
    if tree.is_leaf(node) {
        return tree.value[node];
    }
    let (left, right) = (tree.left[node] as usize, tree.right[node] as usize);
    if coalition >> tree.feature[node] & 1 == 1 {
        let value = row[tree.feature[node] as usize];
        return worth(tree, if tree.goes_left(node, value) { left } else { right }, row, coalition);
    }
    let (share_left, share_right) = tree.shares(node);
    share_left * worth(tree, left, row, coalition) + share_right * worth(tree, right, row, coalition)
}

/// The Shapley values by their definition.
fn brute_force(ensemble: &Ensemble, row: &[f64]) -> Vec<f64> {
    let features = ensemble.features();
    let worths: Vec<f64> = (0..1_u32 << features)
        .map(|coalition| ensemble.trees().iter().map(|tree| worth(tree, 0, row, coalition)).sum())
        .collect();
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    (0..features)
        .map(|feature| {
            let others = (0..1_u32 << features).filter(|coalition| coalition >> feature & 1 == 0);
            others
                .map(|coalition| {
                    let size = coalition.count_ones() as usize;
                    let weight = factorial(size) * factorial(features - size - 1) / factorial(features);
                    weight * (worths[(coalition | 1 << feature) as usize] - worths[coalition as usize])
                })
                .sum()
        })
        .collect()
}

fn explain(ensemble: &Ensemble, row: &[f64]) -> Vec<f64> {
    let explainer = Explainer::new(ensemble);
    let mut out = vec![0.0; ensemble.features()];
    explainer.explain(row, &mut explainer.scratch(), &mut out);
    out
}

fn draws() -> impl Strategy<Value = Draw> {
    (any::<u64>(), 0..4_usize, 1..9_usize, 0..9_usize, 0..5_u32)
        .prop_map(|(seed, trees, features, depth, leafy)| Draw { seed, trees, features, depth, leafy })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Few features and deep trees: the same feature comes back on most paths.
    #[test]
    fn equals_brute_force_over_all_coalitions(draw in draws()) {
        let (ensemble, mut rng) = ensemble(&draw);
        for _ in 0..3 {
            let row = row(&mut rng, draw.features);
            for (feature, (ours, truth)) in explain(&ensemble, &row).iter().zip(brute_force(&ensemble, &row)).enumerate() {
                prop_assert!((ours - truth).abs() < 1e-9, "feature {feature} of {row:?}: {ours} is not {truth}");
            }
        }
    }

    /// Many features on a path: every size of quadrature is used.
    #[test]
    fn contributions_add_up_to_the_margin(seed in any::<u64>(), features in 1..150_usize, depth in 0..10_usize) {
        let draw = Draw { seed, trees: 3, features, depth, leafy: 1 };
        let (ensemble, mut rng) = ensemble(&draw);
        let explainer = Explainer::new(&ensemble);
        let (mut scratch, mut out) = (explainer.scratch(), vec![0.0; features]);
        for _ in 0..5 {
            let row = row(&mut rng, features);
            explainer.explain(&row, &mut scratch, &mut out);
            let sum = ensemble.baseline() + out.iter().sum::<f64>();
            prop_assert!((sum - ensemble.margin(&row)).abs() < 1e-9, "{sum} is not {}", ensemble.margin(&row));
            prop_assert_eq!(explainer.margin(&row).to_bits(), ensemble.margin(&row).to_bits());
            let first: Vec<u64> = out.iter().map(|value| value.to_bits()).collect();
            explainer.explain(&row, &mut scratch, &mut out);
            prop_assert_eq!(&first, &out.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), "the same bits twice");
            explainer.explain_portable(&row, &mut scratch, &mut out);
            prop_assert_eq!(&first, &out.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), "and on any processor");
        }
    }
}

/// A tree that is one long path: feature k splits at depth k, and only the deepest leaf is not zero.
pub(super) fn chain_tree(depth: usize, share: impl Fn(usize) -> f64) -> Tree {
    let mut tree = Tree { left: vec![0], right: vec![0], ..Tree::default() };
    let mut cover = 1.0;
    let push = |tree: &mut Tree, cover: f64| {
        tree.feature.push(0);
        tree.threshold.push(0.0);
        tree.missing_left.push(0);
        tree.value.push(0.0);
        tree.cover.push(cover);
    };
    push(&mut tree, cover);
    let mut node = 0;
    for feature in 0..depth {
        let (left, right) = (tree.left.len(), tree.left.len() + 1);
        tree.left.extend([0, 0]);
        tree.right.extend([0, 0]);
        push(&mut tree, cover * (1.0 - share(feature)));
        push(&mut tree, cover * share(feature));
        tree.feature[node] = feature as u32;
        tree.left[node] = left as u32;
        tree.right[node] = right as u32;
        cover *= share(feature);
        node = right;
    }
    tree.value[node] = 1.0;
    tree
}

fn chain(depth: usize, share: impl Fn(usize) -> f64) -> Ensemble {
    Ensemble::new(0.0, vec![chain_tree(depth, share)], &vec![None; depth]).unwrap()
}

#[test]
fn a_path_of_128_features_loses_nothing() {
    // Every feature plays the same part, so each gets the same share of 1 - 2^-128.
    let same = chain(128, |_| 0.5);
    assert_eq!(Explainer::new(&same).points(), 64);
    for contribution in explain(&same, &[1.0; 128]) {
        assert!((contribution - 1.0 / 128.0).abs() < 1e-15, "{contribution}");
    }
    // Unequal shares, a row that fails half-way: all worth is lost by not knowing.
    let unequal = chain(128, |feature| 0.5 + 0.4 * (feature as f64 / 128.0));
    let mut row = vec![1.0; 128];
    row[64] = -1.0;
    let contributions = explain(&unequal, &row);
    let sum = unequal.baseline() + contributions.iter().sum::<f64>();
    assert!(sum.abs() < 1e-15, "{sum}");
    assert!(contributions[64] < 0.0 && contributions[63] > 0.0, "{contributions:?}");
}

#[test]
fn a_path_of_129_features_is_refused() {
    let tree = chain_tree(129, |_| 0.5);
    assert!(Ensemble::new(0.0, vec![tree], &[None; 129]).unwrap_err().fault.contains("128"));
}

#[test]
fn single_leaves_and_no_trees_give_nothing_to_anyone() {
    let leaf = Tree {
        feature: vec![0],
        threshold: vec![0.0],
        missing_left: vec![0],
        left: vec![0],
        right: vec![0],
        value: vec![0.7],
        cover: vec![3.0],
        ..Tree::default()
    };
    let ensemble = Ensemble::new(0.1, vec![leaf], &[None, None]).unwrap();
    assert_eq!(explain(&ensemble, &[1.0, f64::NAN]), [0.0, 0.0]);
    assert_eq!(ensemble.baseline(), 0.1 + 0.7);
    assert_eq!(explain(&Ensemble::new(0.1, vec![], &[None]).unwrap(), &[1.0]), [0.0]);
}
