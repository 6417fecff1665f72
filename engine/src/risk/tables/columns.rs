//! A row as the trees' nodes see it: for every kind of question asked of a feature, a number of 16 bits.
//!
//! All thresholds on a feature are sorted; a value's rank is how many of them it has reached, and a node sends it left
//! when the rank is below the node's own. A missing value has rank 0 or the highest, depending on where the nodes send
//! it, so that nodes of both kinds read different columns. A set of categories is a column with the ranks 0 and 1.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use std::collections::{BTreeMap, BTreeSet};

use super::super::ensemble::{Ensemble, Split, Tree, ZERO};

/// Goes right everywhere.
const HIGHEST: u16 = u16::MAX;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    feature: u32,
    missing_left: bool,
    zero_missing: bool,
    /// The codes of a set; `None` for thresholds.
    codes: Option<Vec<u32>>,
}

#[derive(Debug, Clone)]
struct Column {
    feature: usize,
    missing: u16,
    zero_missing: bool,
    bounds: Bounds,
}

#[derive(Debug, Clone)]
enum Bounds {
    Thresholds(Vec<f64>),
    Codes(Vec<u32>),
}

/// What a node asks: whether the rank in a column has reached its cut, from which on a row goes right.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Question {
    pub(super) column: u16,
    pub(super) cut: u16,
}

/// All columns of an ensemble.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    columns: Vec<Column>,
    places: BTreeMap<Key, u16>,
}

impl Columns {
    /// `None` when there are more columns or thresholds than 16 bits can number.
    pub(super) fn new(ensemble: &Ensemble) -> Option<Columns> {
        let mut found: BTreeMap<Key, BTreeSet<u64>> = BTreeMap::new();
        for tree in ensemble.trees() {
            for node in (0..tree.len()).filter(|&node| !tree.is_leaf(node)) {
                let thresholds = found.entry(key(tree, node)).or_default();
                if let Split::Below(threshold) = tree.split(node) {
                    thresholds.insert(threshold.to_bits());
                }
            }
        }
        let mut columns = Vec::with_capacity(found.len());
        let mut places = BTreeMap::new();
        for (key, thresholds) in found {
            let mut thresholds: Vec<f64> = thresholds.into_iter().map(f64::from_bits).collect();
            thresholds.sort_by(f64::total_cmp);
            if thresholds.len() >= usize::from(HIGHEST) - 1 {
                return None;
            }
            columns.push(Column {
                feature: key.feature as usize,
                missing: if key.missing_left { 0 } else { HIGHEST },
                zero_missing: key.zero_missing,
                bounds: match &key.codes {
                    None => Bounds::Thresholds(thresholds),
                    Some(codes) => Bounds::Codes(codes.clone()),
                },
            });
            places.insert(key, u16::try_from(columns.len() - 1).ok()?);
        }
        Some(Columns { columns, places })
    }

    /// How many there are.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// What a node asks.
    pub(super) fn question(&self, tree: &Tree, node: usize) -> Question {
        let column = self.places.get(&key(tree, node)).copied().unwrap_or(0);
        let cut = match (tree.split(node), &self.columns[usize::from(column)].bounds) {
            (Split::Below(threshold), Bounds::Thresholds(thresholds)) => {
                // The node's own threshold has been reached.
                thresholds.partition_point(|other| *other <= threshold)
            }
            _ => 1,
        };
        Question { column, cut: u16::try_from(cut).unwrap_or(HIGHEST) }
    }

    /// Writes the ranks of some rows of `features` values each: for every column one after another, `lanes` numbers, of
    /// which the first are the rows'.
    pub(super) fn rank(&self, rows: &[f64], features: usize, lanes: usize, ranks: &mut [u16]) {
        for (column, ranks) in self.columns.iter().zip(ranks.chunks_exact_mut(lanes)) {
            for (row, rank) in rows.chunks_exact(features).zip(ranks) {
                *rank = column.rank(row[column.feature]);
            }
        }
    }
}

impl Column {
    #[inline(always)]
    fn rank(&self, value: f64) -> u16 {
        if value.is_nan() || (self.zero_missing && value.abs() <= ZERO) {
            return self.missing;
        }
        match &self.bounds {
            Bounds::Thresholds(thresholds) => u16::try_from(reached(thresholds, value)).unwrap_or(HIGHEST),
            Bounds::Codes(codes) => u16::from(!codes.iter().any(|&code| f64::from(code) == value)),
        }
    }
}

/// How many thresholds a value has reached: a search without branches, which the processor could not guess.
fn reached(thresholds: &[f64], value: f64) -> usize {
    let (mut from, mut count) = (0, thresholds.len());
    while count > 1 {
        let half = count / 2;
        from += if thresholds[from + half - 1] <= value { half } else { 0 };
        count -= half;
    }
    from + usize::from(count == 1 && thresholds[from] <= value)
}

fn key(tree: &Tree, node: usize) -> Key {
    Key {
        feature: tree.feature[node],
        missing_left: tree.missing_left[node] != 0,
        zero_missing: tree.takes_zero_as_missing(node),
        codes: match tree.split(node) {
            Split::OneOf(codes) => Some(codes.to_vec()),
            _ => None,
        },
    }
}
