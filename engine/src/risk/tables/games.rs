//! What the tables hold: every leaf's attributions for all ways to pass or fail the features of its path.
#![expect(clippy::indexing_slicing, reason = "every index comes from pieces of a tree that Tree::check accepted")]

use super::super::ensemble::{Ensemble, Tree};
use super::super::paths::{Leaf, Part, Paths};
use super::super::quadrature::Points;
use super::columns::Columns;
use super::kernel::{pext, sides};
use super::pieces::{Cut, Piece, Unit};

/// Path-dependent, or interventional with background rows and their ranks.
pub(super) struct Game<'g> {
    pub(super) columns: &'g Columns,
    pub(super) background: Option<(usize, &'g [u16])>,
}

/// What a leaf asks of one feature, in the bits of a piece's index.
struct Asked {
    slot: usize,
    share: f64,
    mask: usize,
    want: usize,
}

impl Game<'_> {
    /// All tables of a cut.
    pub(super) fn fill(&self, ensemble: &Ensemble, cut: &Cut) -> Vec<f64> {
        let mut entries = vec![0.0; cut.entries];
        let mut current: Option<(usize, Paths)> = None;
        let mut words = Vec::new();
        for unit in &cut.units {
            let tree = &ensemble.trees()[unit.tree];
            if current.as_ref().is_none_or(|(known, _)| *known != unit.tree) {
                current = Some((unit.tree, Paths::of(tree)));
            }
            let Some((_, paths)) = &current else { continue };
            if let Some((_, ranks)) = self.background {
                words.clear();
                words.extend(ranks.chunks_exact(self.columns.width()).map(|ranks| sides(unit, ranks)));
            }
            for piece in &unit.pieces {
                let size = piece.features.len() << piece.mask.count_ones();
                let table = &mut entries[piece.from..piece.from + size];
                self.fill_piece(tree, unit, piece, paths, &words, table);
            }
        }
        entries
    }

    fn fill_piece(&self, tree: &Tree, unit: &Unit, piece: &Piece, paths: &Paths, words: &[u64], table: &mut [f64]) {
        let width = piece.features.len();
        let bits = piece.mask.count_ones();
        // For every way to go, how many background rows go it.
        let mut ways = vec![0.0; 1 << bits];
        for &word in words {
            ways[pext(word, piece.mask)] += 1.0;
        }
        for leaf in leaves_below(tree, paths, piece.top) {
            let asked: Vec<Asked> = paths.parts(leaf).iter().map(|part| ask(unit, piece, paths, part)).collect();
            let pattern = |way: usize| {
                asked
                    .iter()
                    .enumerate()
                    .fold(0, |pattern, (at, asked)| pattern | usize::from(way & asked.mask == asked.want) << at)
            };
            let values = match self.background {
                None => path_dependent(leaf, &asked),
                Some((rows, _)) => {
                    let mut shares = vec![0.0; 1 << asked.len()];
                    let rows = u32::try_from(rows).map_or(f64::NAN, f64::from);
                    for (way, count) in ways.iter().enumerate() {
                        shares[pattern(way)] += count;
                    }
                    shares.iter_mut().for_each(|share| *share /= rows);
                    interventional(leaf, &shares, asked.len())
                }
            };
            for (way, entry) in table.chunks_exact_mut(width).enumerate() {
                let values = &values[pattern(way) * asked.len()..];
                for (asked, value) in asked.iter().zip(values) {
                    entry[asked.slot] += value;
                }
            }
        }
    }
}

/// The leaves under a node.
fn leaves_below<'p>(tree: &Tree, paths: &'p Paths, top: usize) -> Vec<&'p Leaf> {
    let mut leaves = Vec::new();
    let mut waiting = vec![top];
    while let Some(node) = waiting.pop() {
        if tree.is_leaf(node) {
            let found = paths.leaves.binary_search_by_key(&node, |leaf| leaf.node);
            leaves.extend(found.ok().map(|at| &paths.leaves[at]));
        } else {
            let (left, right) = tree.children(node);
            waiting.extend([right, left]);
        }
    }
    leaves
}

fn ask(unit: &Unit, piece: &Piece, paths: &Paths, part: &Part) -> Asked {
    let (mut mask, mut want) = (0, 0);
    for edge in paths.edges(part) {
        let bit = unit.nodes.iter().position(|&node| node == edge.node).unwrap_or(0);
        // The bits of the index are the piece's bits in their order.
        let place = (piece.mask & ((1 << bit) - 1)).count_ones();
        mask |= 1 << place;
        want |= usize::from(edge.right) << place;
    }
    let slot = piece.features.iter().position(|&feature| feature == part.feature).unwrap_or(0);
    Asked { slot, share: part.share, mask, want }
}

/// `v (o - z) ∫ Π (z (1 - t) + o t) dt` over the other features, for every pattern of `o`; see `shap.rs`.
fn path_dependent(leaf: &Leaf, asked: &[Asked]) -> Vec<f64> {
    let count = asked.len();
    let points = Points::exact_for(count);
    let mut values = vec![0.0; count << count];
    let mut before = vec![1.0; count + 1];
    for (pattern, values) in values.chunks_exact_mut(count).enumerate() {
        let own = |at: usize| f64::from(u8::from(pattern >> at & 1 == 1));
        for (t, rest, weight) in points.iter() {
            let factor = |at: usize| asked[at].share * rest + own(at) * t;
            for at in 0..count {
                before[at + 1] = before[at] * factor(at);
            }
            let mut after = weight * leaf.value;
            for at in (0..count).rev() {
                values[at] += before[at] * after;
                after *= factor(at);
            }
        }
        for (at, value) in values.iter_mut().enumerate() {
            *value *= own(at) - asked[at].share;
        }
    }
    values
}

/// The same with the background's patterns `b` and their shares: `v Σ_b share (o - b) ∫ Π (o t + b (1 - t)) dt`. The sum over
/// all patterns is taken one feature after another.
fn interventional(leaf: &Leaf, shares: &[f64], count: usize) -> Vec<f64> {
    let points = Points::exact_for(count);
    let mut values = vec![0.0; count << count];
    let mut sums = vec![0.0; shares.len()];
    for (t, rest, weight) in points.iter() {
        for feature in 0..count {
            sums.copy_from_slice(shares);
            for axis in 0..count {
                let step = 1 << axis;
                for low in (0..sums.len()).filter(|way| way & step == 0) {
                    let (failing, passing) = (sums[low], sums[low | step]);
                    (sums[low], sums[low | step]) =
                        if axis == feature { (-passing, failing) } else { (rest * passing, passing + t * failing) };
                }
            }
            for (pattern, sum) in sums.iter().enumerate() {
                values[pattern * count + feature] += weight * leaf.value * sum;
            }
        }
    }
    values
}
