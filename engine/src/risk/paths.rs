//! Every leaf's path, with the splits on one feature taken together.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use super::ensemble::Tree;

/// The leaves of one tree in the order of their nodes.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) leaves: Vec<Leaf>,
    parts: Vec<Part>,
    edges: Vec<Edge>,
}

/// A leaf and the range of its path's parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) node: usize,
    pub(super) value: f64,
    from: usize,
    to: usize,
}

/// What a path asks of one feature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) feature: u32,
    /// The share of the training data that passes all the splits, as the path-dependent game has it.
    pub(super) share: f64,
    from: usize,
    to: usize,
}

/// A split on a path and the side that the path takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) node: usize,
    pub(super) right: bool,
}

impl Paths {
    pub(super) fn of(tree: &Tree) -> Paths {
        let mut parent = vec![None; tree.len()];
        for node in (0..tree.len()).filter(|&node| !tree.is_leaf(node)) {
            let (left, right) = tree.children(node);
            parent[left] = Some(Edge { node, right: false });
            parent[right] = Some(Edge { node, right: true });
        }
        let mut paths = Paths { leaves: Vec::new(), parts: Vec::new(), edges: Vec::new() };
        for leaf in (0..tree.len()).filter(|&node| tree.is_leaf(node)) {
            // The splits of every feature, the feature nearest to the root first.
            let mut splits: Vec<(u32, Vec<Edge>)> = Vec::new();
            let mut above = Vec::new();
            let mut at = leaf;
            while let Some(edge) = parent[at] {
                above.push(edge);
                at = edge.node;
            }
            for edge in above.into_iter().rev() {
                let feature = tree.feature[edge.node];
                match splits.iter_mut().find(|(known, _)| *known == feature) {
                    Some((_, edges)) => edges.push(edge),
                    None => splits.push((feature, vec![edge])),
                }
            }
            let from = paths.parts.len();
            for (feature, edges) in splits {
                let share = |edge: &Edge| {
                    let (left, right) = tree.shares(edge.node);
                    if edge.right { right } else { left }
                };
                let (share, begin) = (edges.iter().map(share).product(), paths.edges.len());
                paths.edges.extend(edges);
                paths.parts.push(Part { feature, share, from: begin, to: paths.edges.len() });
            }
            paths.leaves.push(Leaf { node: leaf, value: tree.value[leaf], from, to: paths.parts.len() });
        }
        paths
    }

    /// The parts of a leaf's path.
    pub(super) fn parts(&self, leaf: &Leaf) -> &[Part] {
        &self.parts[leaf.from..leaf.to]
    }

    /// The splits of a part.
    pub(super) fn edges(&self, part: &Part) -> &[Edge] {
        &self.edges[part.from..part.to]
    }

    /// Whether a row passes a part, from the side that it takes at every node.
    pub(super) fn passes(&self, part: &Part, right: &[bool]) -> bool {
        self.edges(part).iter().all(|edge| right[edge.node] == edge.right)
    }
}

/// The side that a row takes at every inner node of a tree: whether it goes right.
pub(super) fn sides(tree: &Tree, row: &[f64], right: &mut [bool]) {
    for node in (0..tree.len()).filter(|&node| !tree.is_leaf(node)) {
        right[node] = !tree.goes_left(node, row[tree.feature[node] as usize]);
    }
}
