//! Cutting trees into pieces whose nodes can go all ways in a table.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use super::super::ensemble::{Ensemble, Tree};
use super::columns::Columns;

/// Nodes of a piece, its own and those above, unless a single twig needs more.
const BITS: usize = 7;

/// A piece with a twig deeper than this has no table.
const MOST_BITS: usize = 10;

/// Nodes whose sides fit a word.
pub(super) const NODES: usize = 64;

/// Up to 64 nodes of a tree, and the pieces among them.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// The tree's position in the ensemble.
    pub(super) tree: usize,
    /// The tree's node behind every bit.
    pub(super) nodes: Vec<usize>,
    /// The column that a node reads, and the rank from which on it goes right.
    pub(super) column: [u16; NODES],
    pub(super) cut: [u16; NODES],
    pub(super) pieces: Vec<Piece>,
}

/// A part of a tree with a table.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Its nodes' bits.
    pub(super) mask: u64,
    /// Where its table begins.
    pub(super) from: usize,
    /// The features of its entries.
    pub(super) features: Vec<u32>,
    /// The node under which its leaves are.
    pub(super) top: usize,
}

/// What cutting an ensemble gives.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) columns: Columns,
    pub(super) units: Vec<Unit>,
    /// The trees that have no tables.
    pub(super) others: Vec<usize>,
    /// Numbers in all tables.
    pub(super) entries: usize,
}

/// Cuts every tree that fits; single leaves need nothing.
pub(super) fn cut(ensemble: &Ensemble, most: usize) -> Cut {
    let all = || (0..ensemble.trees().len()).collect();
    let Some(columns) = Columns::new(ensemble) else {
        return Cut { columns: Columns::default(), units: Vec::new(), others: all(), entries: 0 };
    };
    let mut cut = Cut { columns, units: Vec::new(), others: Vec::new(), entries: 0 };
    for (position, tree) in ensemble.trees().iter().enumerate() {
        if tree.len() <= 1 {
            continue;
        }
        let before = cut.units.len();
        match cut_tree(tree, position, &cut.columns, cut.entries, most) {
            Some((units, entries)) => {
                cut.units.extend(units);
                cut.entries = entries;
            }
            None => {
                cut.units.truncate(before);
                cut.others.push(position);
            }
        }
    }
    cut
}

fn cut_tree(
    tree: &Tree,
    position: usize,
    columns: &Columns,
    mut entries: usize,
    most: usize,
) -> Option<(Vec<Unit>, usize)> {
    let shape = Shape::of(tree);
    let mut units: Vec<Unit> = Vec::new();
    let mut waiting = vec![0];
    while let Some(top) = waiting.pop() {
        let bits = shape.depth[top] + shape.inner[top];
        if bits > BITS.max(shape.deepest[top]) {
            let (left, right) = tree.children(top);
            waiting.extend([right, left]);
            continue;
        }
        if bits > MOST_BITS {
            return None;
        }
        let nodes = shape.nodes(tree, top);
        let mut features: Vec<u32> = nodes.iter().map(|&node| tree.feature[node]).collect();
        features.sort_unstable();
        features.dedup();
        let from = entries;
        entries += features.len() << bits;
        if entries > most {
            return None;
        }
        let fits = |unit: &&mut Unit| {
            unit.nodes.len() + nodes.iter().filter(|node| !unit.nodes.contains(node)).count() <= NODES
        };
        let unit = match units.last_mut().filter(fits) {
            Some(unit) => unit,
            None => {
                units.push(Unit {
                    tree: position,
                    nodes: Vec::new(),
                    column: [0; NODES],
                    cut: [0; NODES],
                    pieces: Vec::new(),
                });
                units.last_mut()?
            }
        };
        let mut mask = 0;
        for node in nodes {
            let bit = unit.nodes.iter().position(|&known| known == node).unwrap_or_else(|| {
                let bit = unit.nodes.len();
                (unit.column[bit], unit.cut[bit]) = columns.question(tree, node);
                unit.nodes.push(node);
                bit
            });
            mask |= 1 << bit;
        }
        unit.pieces.push(Piece { mask, from, features, top });
    }
    Some((units, entries))
}

/// Counts over a tree.
struct Shape {
    parent: Vec<usize>,
    depth: Vec<usize>,
    /// Inner nodes in the subtree.
    inner: Vec<usize>,
    /// Depth of the subtree's deepest leaf, from the root.
    deepest: Vec<usize>,
}

impl Shape {
    fn of(tree: &Tree) -> Shape {
        let count = tree.len();
        let mut shape =
            Shape { parent: vec![0; count], depth: vec![0; count], inner: vec![0; count], deepest: vec![0; count] };
        for node in 0..count {
            if !tree.is_leaf(node) {
                let (left, right) = tree.children(node);
                for child in [left, right] {
                    shape.parent[child] = node;
                    shape.depth[child] = shape.depth[node] + 1;
                }
            }
        }
        for node in (0..count).rev() {
            if tree.is_leaf(node) {
                shape.deepest[node] = shape.depth[node];
            } else {
                let (left, right) = tree.children(node);
                shape.inner[node] = 1 + shape.inner[left] + shape.inner[right];
                shape.deepest[node] = shape.deepest[left].max(shape.deepest[right]);
            }
        }
        shape
    }

    /// The inner nodes above a node and below it, with itself.
    fn nodes(&self, tree: &Tree, top: usize) -> Vec<usize> {
        let mut nodes = Vec::new();
        let mut above = top;
        while above != 0 {
            above = self.parent[above];
            nodes.push(above);
        }
        nodes.reverse();
        let mut waiting = vec![top];
        while let Some(node) = waiting.pop() {
            if !tree.is_leaf(node) {
                nodes.push(node);
                let (left, right) = tree.children(node);
                waiting.extend([right, left]);
            }
        }
        nodes
    }
}
