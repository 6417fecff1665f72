//! Interventional attributions of trees too deep for tables: every leaf keeps which of its features the background
//! rows pass, each pattern once.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use std::collections::BTreeMap;

use super::super::ensemble::{Ensemble, MAX_FEATURES_ON_A_PATH, Tree};
use super::super::paths::{Leaf, Paths, sides};

/// A leaf's patterns with their shares of the background.
type Seen = Vec<(u128, f64)>;

/// The trees, and for every leaf the background's patterns with their shares.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    trees: Vec<(Tree, Paths, Vec<Seen>)>,
    /// `inverse[n][p]` is `1 / (p · C(n, p))`: the weight of one of `p` features that must be the row's among `n`.
    inverse: Vec<Vec<f64>>,
}

impl Patterns {
    pub(super) fn new(ensemble: &Ensemble, background: &[Vec<f64>]) -> Patterns {
        let share = 1.0 / u32::try_from(background.len()).map_or(f64::NAN, f64::from);
        let trees = ensemble.trees().iter().map(|tree| {
            let paths = Paths::of(tree);
            let mut seen: Vec<BTreeMap<u128, f64>> = vec![BTreeMap::new(); paths.leaves.len()];
            let mut right = vec![false; tree.len()];
            for row in background {
                sides(tree, row, &mut right);
                for (leaf, seen) in paths.leaves.iter().zip(&mut seen) {
                    *seen.entry(pattern(&paths, leaf, &right)).or_default() += share;
                }
            }
            let seen = seen.into_iter().map(Seen::from_iter).collect();
            (tree.clone(), paths, seen)
        });
        Patterns { trees: trees.collect(), inverse: inverse() }
    }

    /// Most nodes of a tree.
    pub(super) fn nodes(&self) -> usize {
        self.trees.iter().map(|(tree, ..)| tree.len()).max().unwrap_or(0)
    }

    /// Adds a row's attributions. `right` has room for the sides at [`Patterns::nodes`] nodes.
    pub(super) fn add(&self, row: &[f64], right: &mut [bool], out: &mut [f64]) {
        for (tree, paths, seen) in &self.trees {
            sides(tree, row, right);
            for (leaf, seen) in paths.leaves.iter().zip(seen) {
                let parts = paths.parts(leaf);
                let all = if parts.len() == 128 { u128::MAX } else { (1 << parts.len()) - 1 };
                let own = pattern(paths, leaf, right);
                for &(other, share) in seen {
                    // A feature that neither passes keeps every coalition from the leaf.
                    if (own | other) != all || own == other {
                        continue;
                    }
                    let (with, without) = (own & !other, other & !own);
                    let (p, m) = (with.count_ones() as usize, without.count_ones() as usize);
                    let (raise, lower) = (self.inverse[p + m][p], self.inverse[p + m][m]);
                    for (at, part) in parts.iter().enumerate() {
                        if with >> at & 1 == 1 {
                            out[part.feature as usize] += leaf.value * share * raise;
                        } else if without >> at & 1 == 1 {
                            out[part.feature as usize] -= leaf.value * share * lower;
                        }
                    }
                }
            }
        }
    }
}

/// The features of a leaf's path that a row passes, as bits.
fn pattern(paths: &Paths, leaf: &Leaf, right: &[bool]) -> u128 {
    let parts = paths.parts(leaf).iter().enumerate();
    parts.fold(0, |bits, (at, part)| bits | u128::from(paths.passes(part, right)) << at)
}

fn inverse() -> Vec<Vec<f64>> {
    // Rows of Pascal's triangle; up to 128 they stay far below the largest number.
    let mut choose = vec![1.0];
    let mut table = Vec::new();
    for n in 0..=MAX_FEATURES_ON_A_PATH {
        table.push(
            (0_u32..).zip(&choose).map(|(p, ways)| if p == 0 { 0.0 } else { 1.0 / (f64::from(p) * ways) }).collect(),
        );
        let mut next = vec![1.0; n + 2];
        for p in 1..=n {
            next[p] = choose[p - 1] + choose[p];
        }
        choose = next;
    }
    table
}
