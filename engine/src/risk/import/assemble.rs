//! A tree from nodes in any order.

use super::super::ensemble::Tree;

/// How an inner node looks at its feature.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// A value below goes left.
    Below(f64),
    /// A value that equals a code goes left.
    OneOf(Vec<u32>),
}

impl Test {
    /// `value <= threshold` goes left, for every value.
    pub(super) fn at_most(threshold: f64) -> Test {
        Test::Below(threshold.next_up())
    }
}

/// A node of a file, its children by number.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Leaf { value: f64, cover: f64 },
    Inner { feature: u32, test: Test, missing_left: bool, zero_missing: bool, left: usize, right: usize, cover: f64 },
}

/// What is wrong with the nodes, or with how one is written.
#[derive(Debug)]
pub(super) enum Fault<E> {
    Shape(String),
    Node(E),
}

/// Builds the tree under `root`, asking for each of `count` nodes at most once. Nodes that nothing leads to, as pruning
/// leaves behind, are left out.
pub(super) fn assemble<E>(
    root: usize,
    count: usize,
    mut node: impl FnMut(usize) -> Result<Node, E>,
) -> Result<Tree, Fault<E>> {
    let mut tree = Tree::default();
    let mut zero_missing = false;
    let mut seen = vec![false; count];
    // Nodes still to come: theirs, and our parent with the side.
    let mut waiting: Vec<(usize, Option<(usize, bool)>)> = vec![(root, None)];
    while let Some((at, parent)) = waiting.pop() {
        match seen.get_mut(at) {
            None => return Err(Fault::Shape(format!("node {at} is not there"))),
            Some(true) => return Err(Fault::Shape(format!("two ways lead to node {at}"))),
            Some(seen) => *seen = true,
        }
        let here = tree.feature.len();
        let Ok(link) = u32::try_from(here) else { return Err(Fault::Shape("there are too many nodes".to_owned())) };
        if let Some((parent, is_left)) = parent {
            let links = if is_left { &mut tree.left } else { &mut tree.right };
            if let Some(slot) = links.get_mut(parent) {
                *slot = link;
            }
        }
        tree.left.push(0);
        tree.right.push(0);
        match node(at).map_err(Fault::Node)? {
            Node::Leaf { value, cover } => {
                tree.feature.push(0);
                tree.threshold.push(0.0);
                tree.missing_left.push(0);
                tree.zero_missing.push(0);
                tree.value.push(value);
                tree.cover.push(cover);
            }
            Node::Inner { feature, test, missing_left, zero_missing: zero, left, right, cover } => {
                tree.feature.push(feature);
                tree.missing_left.push(u8::from(missing_left));
                tree.zero_missing.push(u8::from(zero));
                zero_missing |= zero;
                tree.value.push(0.0);
                tree.cover.push(cover);
                match test {
                    Test::Below(threshold) => tree.threshold.push(threshold),
                    Test::OneOf(codes) => {
                        tree.threshold.push(0.0);
                        tree.categories.insert(link, codes);
                    }
                }
                waiting.push((right, Some((here, false))));
                waiting.push((left, Some((here, true))));
            }
        }
    }
    if !zero_missing {
        tree.zero_missing = Vec::new();
    }
    Ok(tree)
}
