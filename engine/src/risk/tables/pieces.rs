//! Cutting trees into pieces whose nodes can go all ways in a table.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use super::super::ensemble::{Ensemble, Tree};
use super::columns::{Columns, Question};
use super::entries::{LINE, stride};

/// Nodes of a piece, its own and those above, unless a single twig needs more.
const BITS: usize = 7;

/// A piece with a twig deeper than this has no table.
const MOST_BITS: usize = 10;

/// A part of a tree with a table, as the inner loops read it: in one place, because a single row hardly does more than read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Where its table begins, in numbers.
    pub(super) from: usize,
    bits: usize,
    width: usize,
    questions: [Question; MOST_BITS],
    features: [u32; MOST_BITS],
}

impl Piece {
    /// What its nodes ask; the answers are the bits of an entry's position.
    #[inline(always)]
    pub(super) fn questions(&self) -> &[Question] {
        &self.questions[..self.bits]
    }

    /// The features of its entries.
    #[inline(always)]
    pub(super) fn features(&self) -> &[u32] {
        &self.features[..self.width]
    }

    /// Numbers from one entry to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        stride(self.width)
    }

    /// Numbers in its table.
    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        self.stride() << self.bits
    }
}

/// Where a piece was cut from.
#[derive(Debug)]
pub(super) struct Origin {
    /// The tree's position in the ensemble.
    pub(super) tree: usize,
    /// The node under which the piece's leaves are.
    pub(super) top: usize,
    /// The tree's node behind every question.
    pub(super) nodes: Vec<usize>,
}

/// What cutting an ensemble gives.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) columns: Columns,
    pub(super) pieces: Vec<Piece>,
    /// One for every piece.
    pub(super) origins: Vec<Origin>,
    /// The trees that have no tables.
    pub(super) others: Vec<usize>,
    /// Numbers in all tables.
    pub(super) entries: usize,
}

/// Cuts every tree that fits; single leaves need nothing.
pub(super) fn cut(ensemble: &Ensemble, most: usize) -> Cut {
    let all = || (0..ensemble.trees().len()).collect();
    let Some(columns) = Columns::new(ensemble) else {
        return Cut { columns: Columns::default(), pieces: Vec::new(), origins: Vec::new(), others: all(), entries: 0 };
    };
    let mut cut = Cut { columns, pieces: Vec::new(), origins: Vec::new(), others: Vec::new(), entries: 0 };
    for (position, tree) in ensemble.trees().iter().enumerate() {
        if tree.len() <= 1 {
            continue;
        }
        match cut_tree(tree, position, &cut.columns, cut.entries, most) {
            Some((pieces, entries)) => {
                for (piece, origin) in pieces {
                    cut.pieces.push(piece);
                    cut.origins.push(origin);
                }
                cut.entries = entries;
            }
            None => cut.others.push(position),
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
) -> Option<(Vec<(Piece, Origin)>, usize)> {
    let shape = Shape::of(tree);
    let mut pieces = Vec::new();
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
        let mut piece = Piece {
            from: entries,
            bits,
            width: features.len(),
            questions: [Question::default(); MOST_BITS],
            features: [0; MOST_BITS],
        };
        piece.features[..features.len()].copy_from_slice(&features);
        for (question, &node) in piece.questions.iter_mut().zip(&nodes) {
            *question = columns.question(tree, node);
        }
        entries = (entries + piece.size()).next_multiple_of(LINE);
        if entries > most {
            return None;
        }
        pieces.push((piece, Origin { tree: position, top, nodes }));
    }
    Some((pieces, entries))
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
