//! What the tables hold: every leaf's attributions for all ways to pass or fail the features of its path.
#![expect(clippy::indexing_slicing, reason = "every index comes from pieces of a tree that Tree::check accepted")]

use super::super::ensemble::{Ensemble, Tree};
use super::super::paths::{Leaf, Part, Paths};
use super::super::quadrature::Points;
use super::columns::Columns;
use super::entries::Entries;
use super::kernel::{LANES, ways};
use super::pieces::{Cut, Origin, Piece};

/// Path-dependent, or interventional with background rows.
pub(super) struct Game<'g> {
    columns: &'g Columns,
    background: Option<Background>,
}

/// The background's ranks, as the kernel reads them, and how many rows there are.
struct Background {
    ranks: Vec<u16>,
    rows: usize,
}

/// What a leaf asks of one feature, in the bits of a piece's index.
struct Asked {
    slot: usize,
    share: f64,
    mask: usize,
    want: usize,
}

impl<'g> Game<'g> {
    pub(super) fn new(columns: &'g Columns, background: Option<&[Vec<f64>]>) -> Game<'g> {
        let background = background.map(|rows| {
            let lanes = columns.width() * LANES;
            let mut ranks = vec![0; rows.len().div_ceil(LANES) * lanes];
            for (rows, ranks) in rows.chunks(LANES).zip(ranks.chunks_exact_mut(lanes.max(1))) {
                let features = rows.first().map_or(1, Vec::len).max(1);
                columns.rank(&rows.concat(), features, LANES, ranks);
            }
            Background { ranks, rows: rows.len() }
        });
        Game { columns, background }
    }

    /// All tables of a cut.
    pub(super) fn fill(&self, ensemble: &Ensemble, cut: &Cut) -> Entries {
        let mut entries = Entries::zeros(cut.entries);
        let mut current: Option<(usize, Paths)> = None;
        for (piece, origin) in cut.pieces.iter().zip(&cut.origins) {
            let tree = &ensemble.trees()[origin.tree];
            if current.as_ref().is_none_or(|(known, _)| *known != origin.tree) {
                current = Some((origin.tree, Paths::of(tree)));
            }
            if let Some((_, paths)) = &current {
                self.fill_piece(tree, piece, origin, paths, entries.get_mut(piece.from..piece.from + piece.size()));
            }
        }
        entries
    }

    /// For every way to go, how many background rows go it.
    fn counts(&self, piece: &Piece) -> Vec<f64> {
        let mut counts = vec![0.0; 1 << piece.questions().len()];
        if let Some(background) = &self.background {
            let lanes = (self.columns.width() * LANES).max(1);
            let all = background.ranks.chunks_exact(lanes).flat_map(|ranks| ways(piece.questions(), ranks));
            for way in all.take(background.rows) {
                counts[usize::from(way)] += 1.0;
            }
        }
        counts
    }

    fn fill_piece(&self, tree: &Tree, piece: &Piece, origin: &Origin, paths: &Paths, table: &mut [f64]) {
        let counts = self.counts(piece);
        for leaf in leaves_below(tree, paths, origin.top) {
            let asked: Vec<Asked> = paths.parts(leaf).iter().map(|part| ask(piece, origin, paths, part)).collect();
            let pattern = |way: usize| {
                asked
                    .iter()
                    .enumerate()
                    .fold(0, |pattern, (at, asked)| pattern | usize::from(way & asked.mask == asked.want) << at)
            };
            let values = match &self.background {
                None => path_dependent(leaf, &asked),
                Some(background) => {
                    let mut shares = vec![0.0; 1 << asked.len()];
                    let rows = u32::try_from(background.rows).map_or(f64::NAN, f64::from);
                    for (way, count) in counts.iter().enumerate() {
                        shares[pattern(way)] += count;
                    }
                    shares.iter_mut().for_each(|share| *share /= rows);
                    interventional(leaf, &shares, asked.len())
                }
            };
            for (way, entry) in table.chunks_exact_mut(piece.stride()).enumerate() {
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

fn ask(piece: &Piece, origin: &Origin, paths: &Paths, part: &Part) -> Asked {
    let (mut mask, mut want) = (0, 0);
    for edge in paths.edges(part) {
        let place = origin.nodes.iter().position(|&node| node == edge.node).unwrap_or(0);
        mask |= 1 << place;
        want |= usize::from(edge.right) << place;
    }
    let slot = piece.features().iter().position(|&feature| feature == part.feature).unwrap_or(0);
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
