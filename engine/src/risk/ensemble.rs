//! An ensemble of decision trees on flat arrays: its shape in a model file, its checks, its score.
#![expect(clippy::indexing_slicing, reason = "Tree::check establishes every index before a tree is used")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// More different features than this on one path are refused: the explainer's largest quadrature is exact up to here.
pub const MAX_FEATURES_ON_A_PATH: usize = 128;

/// More splits than this on one path are refused: no library grows such trees, and a file that holds one is broken.
pub(super) const MAX_SPLITS_ON_A_PATH: usize = 1024;

/// Category codes are below this; a set of categories is kept as bits.
pub(super) const MAX_CATEGORIES: u32 = 1 << 16;

/// Values this close to zero are missing where zero means missing: LightGBM's `kZeroThreshold`, `1e-35f`.
pub(super) const ZERO: f64 = 1e-35_f32 as f64;

/// One tree. Node 0 is the root; every array has one entry per node; a node comes before its children.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The feature a node looks at; 0 in leaves.
    pub feature: Vec<u32>,
    /// A value below it goes left; 0 in leaves and in nodes that look at a category.
    pub threshold: Vec<f64>,
    /// For nodes that look at a category, the codes that go left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<u32, Vec<u32>>,
    /// 1 where a missing value goes left.
    pub missing_left: Vec<u8>,
    /// 1 where a value of zero counts as missing; empty where no node does that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zero_missing: Vec<u8>,
    /// The left child; 0 in leaves.
    pub left: Vec<u32>,
    /// The right child; 0 in leaves.
    pub right: Vec<u32>,
    /// What a leaf adds to the log-odds; 0 in inner nodes.
    pub value: Vec<f64>,
    /// How much of the training data passed through the node, in any unit.
    pub cover: Vec<f64>,
}

/// Why a tree cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tree {tree}, node {node}: {fault}")]
pub struct TreeError {
    /// The tree's position.
    pub tree: usize,
    /// The node's position.
    pub node: usize,
    /// What is wrong.
    pub fault: String,
}

/// How a node sends a row on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Split<'a> {
    Leaf,
    Below(f64),
    OneOf(&'a [u32]),
}

impl Tree {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// A checked tree has at least its root.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether a node is a leaf.
    pub fn is_leaf(&self, node: usize) -> bool {
        self.left[node] == 0
    }

    pub(super) fn children(&self, node: usize) -> (usize, usize) {
        (self.left[node] as usize, self.right[node] as usize)
    }

    pub(super) fn split(&self, node: usize) -> Split<'_> {
        if self.is_leaf(node) {
            return Split::Leaf;
        }
        // Nodes are counted in u32: their links are.
        let at = u32::try_from(node).unwrap_or(u32::MAX);
        match self.categories.get(&at) {
            Some(codes) => Split::OneOf(codes),
            None => Split::Below(self.threshold[node]),
        }
    }

    /// Whether zero counts as missing at a node.
    pub(super) fn takes_zero_as_missing(&self, node: usize) -> bool {
        self.zero_missing.get(node).is_some_and(|&flag| flag != 0)
    }

    /// Whether a value goes left at an inner node. NaN is a missing value.
    pub fn goes_left(&self, node: usize, value: f64) -> bool {
        if value.is_nan() || (self.takes_zero_as_missing(node) && value.abs() <= ZERO) {
            return self.missing_left[node] != 0;
        }
        match self.split(node) {
            Split::OneOf(codes) => codes.iter().any(|&code| f64::from(code) == value),
            Split::Below(threshold) => value < threshold,
            Split::Leaf => false,
        }
    }

    /// The value of the leaf that a row reaches.
    pub fn score(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        while !self.is_leaf(node) {
            let (left, right) = self.children(node);
            node = if self.goes_left(node, row[self.feature[node] as usize]) { left } else { right };
        }
        self.value[node]
    }

    /// The shares of the training data that go left and right at an inner node; they sum to one.
    pub fn shares(&self, node: usize) -> (f64, f64) {
        let (left, right) = self.children(node);
        let both = self.cover[left] + self.cover[right];
        (self.cover[left] / both, self.cover[right] / both)
    }

    /// The mean leaf, weighted with the covers: what the tree says when nothing is known.
    pub fn expectation(&self) -> f64 {
        let mut mean = self.value.clone();
        for node in (0..self.len()).rev() {
            if !self.is_leaf(node) {
                let (left, right) = self.children(node);
                let (share_left, share_right) = self.shares(node);
                mean[node] = share_left * mean[left] + share_right * mean[right];
            }
        }
        mean[0]
    }

    /// Length of the longest path, in edges.
    pub fn depth(&self) -> usize {
        let mut depth = vec![0_usize; self.len()];
        for node in 0..self.len() {
            if !self.is_leaf(node) {
                let (left, right) = self.children(node);
                depth[left] = depth[node] + 1;
                depth[right] = depth[node] + 1;
            }
        }
        depth.into_iter().max().unwrap_or(0)
    }

    /// For every node, the child edge on its path from the root that last looked at the same feature as the
    /// edge into the node, and how many different features the path holds.
    pub(super) fn paths(&self) -> Vec<PathStep> {
        let mut steps = vec![PathStep { parent: 0, earlier: None, features: 0 }; self.len()];
        for node in 0..self.len() {
            if self.is_leaf(node) {
                continue;
            }
            let mut earlier = None;
            let mut above = node;
            while above != 0 {
                let parent = steps[above].parent;
                if self.feature[parent] == self.feature[node] {
                    earlier = Some(above);
                    break;
                }
                above = parent;
            }
            let features = steps[node].features + usize::from(earlier.is_none());
            let (left, right) = self.children(node);
            steps[left] = PathStep { parent: node, earlier, features };
            steps[right] = PathStep { parent: node, earlier, features };
        }
        steps
    }

    /// Checks everything that the rest relies on.
    fn check(&self, position: usize, columns: &[Column]) -> Result<(), TreeError> {
        let fault = |node: usize, fault: &str| Err(TreeError { tree: position, node, fault: fault.to_owned() });
        let nodes = self.len();
        if nodes == 0 || u32::try_from(nodes).is_err() {
            return fault(0, "must have 1 to 2^32-1 nodes");
        }
        let lengths =
            [self.feature.len(), self.threshold.len(), self.missing_left.len(), self.right.len(), self.value.len()];
        if lengths.iter().any(|&length| length != nodes) || self.cover.len() != nodes {
            return fault(0, "every array must have one entry per node");
        }
        if !self.zero_missing.is_empty() && self.zero_missing.len() != nodes {
            return fault(0, "zero_missing must have one entry per node or none at all");
        }
        let mut reached = vec![false; nodes];
        reached[0] = true;
        for node in 0..nodes {
            if !reached[node] {
                return fault(node, "no earlier node leads here");
            }
            if !self.value[node].is_finite() || !self.threshold[node].is_finite() {
                return fault(node, "value and threshold must be finite");
            }
            if !(self.cover[node].is_finite() && self.cover[node] >= 0.0) {
                return fault(node, "cover must be finite and not negative");
            }
            let (left, right) = self.children(node);
            if left == 0 && right == 0 {
                continue;
            }
            if left <= node || right <= node || left >= nodes || right >= nodes || left == right {
                return fault(node, "children must be two later nodes");
            }
            if reached[left] || reached[right] {
                return fault(node, "a child has another parent");
            }
            reached[left] = true;
            reached[right] = true;
            if self.cover[left] + self.cover[right] <= 0.0 {
                return fault(node, "the children's covers must not both be zero");
            }
            let Some(column) = columns.get(self.feature[node] as usize) else {
                return fault(node, "feature is not one of the model's");
            };
            match (self.split(node), column) {
                (Split::Below(_), Column::Number | Column::Any) => {}
                (Split::OneOf(codes), Column::Category(count)) => {
                    if codes.iter().any(|code| code >= count) {
                        return fault(node, "a category's code is not one of the feature's");
                    }
                }
                (Split::OneOf(codes), Column::Any) => {
                    if codes.iter().any(|&code| code >= MAX_CATEGORIES) {
                        return fault(node, "a category's code is 65536 or more");
                    }
                }
                (Split::OneOf(_), Column::Number) => return fault(node, "a number cannot be split by categories"),
                (Split::Below(_), Column::Category(_)) => {
                    return fault(node, "a category cannot be split by a threshold");
                }
                (Split::Leaf, _) => return fault(node, "an inner node needs a left child"),
            }
        }
        if self.depth() > MAX_SPLITS_ON_A_PATH {
            return fault(0, "a path has more than 1024 splits");
        }
        if self.paths().iter().any(|step| step.features > MAX_FEATURES_ON_A_PATH) {
            return fault(0, "a path looks at more than 128 different features");
        }
        Ok(())
    }
}

/// What a path knows at one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathStep {
    /// The node above.
    pub(super) parent: usize,
    /// The node further up whose incoming edge looked at the same feature last.
    pub(super) earlier: Option<usize>,
    /// Different features from the root to here.
    pub(super) features: usize,
}

/// What the trees need to know of a column.
#[derive(Debug, Clone, Copy)]
enum Column {
    Number,
    /// With this many categories.
    Category(u32),
    /// Nothing is known: another library's model may split it either way.
    Any,
}

/// Trees whose leaves add up to log-odds.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    base: f64,
    trees: Vec<Tree>,
    features: usize,
}

impl Ensemble {
    /// Checks the trees and takes them in. `categories` tells each feature's number of categories, `None` for a number.
    ///
    /// # Errors
    /// The first tree that cannot be used.
    pub fn new(base: f64, trees: Vec<Tree>, categories: &[Option<usize>]) -> Result<Ensemble, TreeError> {
        let column = |categories: &Option<usize>| match categories {
            None => Column::Number,
            Some(count) => Column::Category(u32::try_from(*count).unwrap_or(u32::MAX).min(MAX_CATEGORIES)),
        };
        Ensemble::checked(base, trees, &categories.iter().map(column).collect::<Vec<_>>())
    }

    /// Takes in another library's trees, whose `features` may be split by thresholds and by categories alike. A value
    /// belongs to a category when it equals the code.
    ///
    /// # Errors
    /// The first tree that cannot be used.
    pub fn imported(base: f64, trees: Vec<Tree>, features: usize) -> Result<Ensemble, TreeError> {
        Ensemble::checked(base, trees, &vec![Column::Any; features])
    }

    /// Some of another ensemble's trees, without its base.
    pub(super) fn of<'t>(trees: impl Iterator<Item = &'t Tree>, features: usize) -> Ensemble {
        Ensemble { base: 0.0, trees: trees.cloned().collect(), features }
    }

    fn checked(base: f64, trees: Vec<Tree>, columns: &[Column]) -> Result<Ensemble, TreeError> {
        if !base.is_finite() {
            return Err(TreeError { tree: 0, node: 0, fault: "the base of the log-odds must be finite".to_owned() });
        }
        for (position, tree) in trees.iter().enumerate() {
            tree.check(position, columns)?;
        }
        Ok(Ensemble { base, trees, features: columns.len() })
    }

    /// The log-odds of a row with one value per feature, NaN where it is missing. Summed in the trees' order, so
    /// that it is the same to the last bit every time.
    pub fn margin(&self, row: &[f64]) -> f64 {
        debug_assert_eq!(row.len(), self.features);
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.score(row))
    }

    /// The log-odds when nothing is known of a row.
    pub fn baseline(&self) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.expectation())
    }

    /// The trees.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// What every row starts from, before any tree.
    pub fn base(&self) -> f64 {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump() -> Tree {
        Tree {
            feature: vec![0, 0, 0],
            threshold: vec![2.0, 0.0, 0.0],
            categories: BTreeMap::new(),
            missing_left: vec![0, 0, 0],
            zero_missing: Vec::new(),
            left: vec![1, 0, 0],
            right: vec![2, 0, 0],
            value: vec![0.0, -1.0, 3.0],
            cover: vec![4.0, 3.0, 1.0],
        }
    }

    #[test]
    fn a_value_equal_to_the_threshold_goes_right_and_missing_goes_where_it_learned() {
        let ensemble = Ensemble::new(0.5, vec![stump()], &[None]).unwrap();
        assert_eq!(ensemble.margin(&[1.9]), -0.5);
        assert_eq!(ensemble.margin(&[2.0]), 3.5);
        assert_eq!(ensemble.margin(&[f64::NAN]), 3.5);
        assert_eq!(ensemble.baseline(), 0.5);
    }

    type Spoil = fn(&mut Tree);

    #[test]
    fn broken_trees_are_refused_by_name() {
        let faults: [(&str, Spoil); 10] = [
            ("one entry per node", |tree| tree.cover.truncate(2)),
            ("two later nodes", |tree| tree.right[0] = 9),
            ("two later nodes", |tree| tree.right[0] = 1),
            ("two later nodes", |tree| tree.left[0] = 0),
            ("no earlier node", |tree| (tree.left[0], tree.right[0]) = (0, 0)),
            ("not one of the model's", |tree| tree.feature[0] = 1),
            ("finite", |tree| tree.value[1] = f64::NAN),
            ("cover", |tree| tree.cover[1] = -1.0),
            ("both be zero", |tree| tree.cover = vec![0.0; 3]),
            ("split by categories", |tree| drop(tree.categories.insert(0, vec![0]))),
        ];
        for (expected, spoil) in faults {
            let mut tree = stump();
            spoil(&mut tree);
            let error = Ensemble::new(0.0, vec![tree], &[None]).unwrap_err();
            assert!(error.fault.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn zero_goes_where_missing_goes_when_it_means_that() {
        let mut tree = stump();
        tree.missing_left = vec![1; 3];
        tree.threshold[0] = -1.0;
        assert_eq!([0.0, -0.0, 1e-36, f64::NAN].map(|value| tree.score(&[value])), [3.0, 3.0, 3.0, -1.0]);
        tree.zero_missing = vec![1, 0, 0];
        assert_eq!([0.0, -0.0, 1e-36, f64::NAN].map(|value| tree.score(&[value])), [-1.0; 4]);
        assert_eq!([1e-34, -2.0].map(|value| tree.score(&[value])), [3.0, -1.0]);
        tree.zero_missing.pop();
        assert!(Ensemble::new(0.0, vec![tree], &[None]).unwrap_err().fault.contains("zero_missing"));
    }

    #[test]
    fn categories_go_by_their_codes() {
        let mut tree = stump();
        tree.categories.insert(0, vec![0, 2]);
        let ensemble = Ensemble::new(0.0, vec![tree], &[Some(3)]).unwrap();
        assert_eq!([0.0, 1.0, 2.0, f64::NAN].map(|code| ensemble.margin(&[code])), [-1.0, 3.0, -1.0, 3.0]);
    }
}
