//! Trees laid out for speed: inner nodes in one array, leaves in another, nothing looked up in maps.
#![expect(clippy::indexing_slicing, reason = "Layout::new builds every index from trees that Tree::check accepted")]

use super::ensemble::{Ensemble, Split, Tree, ZERO};

/// Nothing there.
const NONE: u32 = u32::MAX;

/// A link with this bit leads to a leaf; the rest is its position.
pub(super) const LEAF: u32 = 1 << 31;

/// One inner node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inner {
    /// A value below it goes left, unless the node looks at a category.
    threshold: f64,
    /// Shares of the training data that go left and right; they sum to one.
    pub(super) share: [f64; 2],
    /// Left and right: an inner node's position in its tree, or [`LEAF`] and a leaf's position among all leaves.
    pub(super) next: [u32; 2],
    pub(super) feature: u32,
    /// Where the bits of the categories that go left begin; [`NONE`] for a threshold.
    categories: u32,
    /// How many words of bits there are.
    words: u32,
    /// Position among the repeats; 0 where the path has not looked at the feature before.
    pub(super) repeat: u32,
    missing_left: bool,
    zero_missing: bool,
}

/// A node whose feature the path has looked at before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    /// The inner node of the same tree that looked at it last, and the side that the path took there.
    pub(super) earlier: u32,
    pub(super) side: u8,
    /// The share of the feature's splits along the path so far.
    pub(super) share: f64,
}

/// One tree: ranges into the layout's arrays. Nodes come before their children; twigs, the inner nodes
/// with two leaves, come last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The root, or a leaf.
    root: u32,
    pub(super) from: usize,
    pub(super) twigs: usize,
    pub(super) to: usize,
}

/// The trees of an ensemble.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    base: f64,
    pub(super) trees: Vec<Extent>,
    pub(super) inner: Vec<Inner>,
    pub(super) leaves: Vec<f64>,
    /// The first one stands for no repeat, so that nothing need be asked before it is looked up.
    pub(super) repeats: Vec<Repeat>,
    categories: Vec<u64>,
    pub(super) features: usize,
    /// Most inner nodes of a tree.
    pub(super) largest: usize,
    /// Most different features on a path.
    pub(super) deepest: usize,
}

impl Layout {
    pub(super) fn new(ensemble: &Ensemble) -> Layout {
        let mut layout = Layout {
            base: ensemble.base(),
            trees: Vec::with_capacity(ensemble.trees().len()),
            inner: Vec::new(),
            leaves: Vec::new(),
            repeats: vec![Repeat { earlier: 0, side: 0, share: 1.0 }],
            categories: Vec::new(),
            features: ensemble.features(),
            largest: 0,
            deepest: 0,
        };
        for tree in ensemble.trees() {
            layout.add(tree);
        }
        layout
    }

    fn add(&mut self, tree: &Tree) {
        let is_twig = |node: usize| {
            let (left, right) = tree.children(node);
            tree.is_leaf(left) && tree.is_leaf(right)
        };
        let inner: Vec<usize> = (0..tree.len()).filter(|&node| !tree.is_leaf(node)).collect();
        let (twigs, others): (Vec<usize>, Vec<usize>) = inner.iter().partition(|&&node| is_twig(node));
        let from = self.inner.len();

        // Where every node of the tree is found.
        let mut links = vec![NONE; tree.len()];
        for (position, &node) in others.iter().chain(&twigs).enumerate() {
            links[node] = index(position);
        }
        for node in (0..tree.len()).filter(|&node| tree.is_leaf(node)) {
            links[node] = LEAF | index(self.leaves.len());
            self.leaves.push(tree.value[node]);
        }

        let steps = tree.paths();
        // Per node: the share of the incoming edge's feature along the whole path.
        let mut path_share = vec![1.0; tree.len()];
        let mut earlier_share = vec![1.0; tree.len()];
        for &node in &inner {
            let (left, right) = tree.children(node);
            let (share_left, share_right) = tree.shares(node);
            let before = steps[left].earlier.map_or(1.0, |earlier| path_share[earlier]);
            earlier_share[node] = before;
            path_share[left] = before * share_left;
            path_share[right] = before * share_right;
        }
        for &node in others.iter().chain(&twigs) {
            let (left, right) = tree.children(node);
            let (share_left, share_right) = tree.shares(node);
            let repeat = match steps[left].earlier {
                None => 0,
                Some(edge) => {
                    let above = steps[edge].parent;
                    self.repeats.push(Repeat {
                        earlier: links[above],
                        side: u8::from(tree.children(above).1 == edge),
                        share: earlier_share[node],
                    });
                    index(self.repeats.len() - 1)
                }
            };
            let (threshold, categories, words) = match tree.split(node) {
                Split::OneOf(codes) => self.add_categories(codes),
                Split::Below(threshold) => (threshold, NONE, 0),
                Split::Leaf => (0.0, NONE, 0),
            };
            self.inner.push(Inner {
                threshold,
                share: [share_left, share_right],
                next: [links[left], links[right]],
                feature: tree.feature[node],
                categories,
                words,
                repeat,
                missing_left: tree.missing_left[node] != 0,
                zero_missing: tree.takes_zero_as_missing(node),
            });
        }
        self.trees.push(Extent { root: links[0], from, twigs: from + others.len(), to: self.inner.len() });
        self.largest = self.largest.max(inner.len());
        self.deepest = steps.iter().map(|step| step.features).fold(self.deepest, usize::max);
    }

    /// Packs category codes into bits; answers a threshold of no use, the first word and the number of words.
    fn add_categories(&mut self, codes: &[u32]) -> (f64, u32, u32) {
        let from = self.categories.len();
        let words = codes.iter().max().map_or(0, |&code| code as usize / 64 + 1);
        self.categories.resize(from + words, 0);
        for &code in codes {
            self.categories[from + code as usize / 64] |= 1 << (code % 64);
        }
        (0.0, index(from), index(words))
    }

    /// The side that a value takes at a node: 0 left, 1 right. NaN is a missing value.
    #[inline(always)]
    pub(super) fn side(&self, node: &Inner, value: f64) -> u8 {
        let missing = value.is_nan() | (node.zero_missing & (value.abs() <= ZERO));
        let left = if node.categories == NONE {
            !missing & (value < node.threshold)
        } else {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "compared with the value below"
            )]
            let code = value as u32;
            f64::from(code) == value
                && code / 64 < node.words
                && self.categories[(node.categories + code / 64) as usize] >> (code % 64) & 1 == 1
                && !missing
        };
        // Without short circuits: the processor cannot guess which way a row goes.
        u8::from(!(left | (missing & node.missing_left)))
    }

    /// The log-odds of a row, the same bits as [`Ensemble::margin`].
    pub(super) fn margin(&self, row: &[f64]) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| {
            let mut link = tree.root;
            while link & LEAF == 0 {
                let node = &self.inner[tree.from + link as usize];
                link = node.next[usize::from(self.side(node, row[node.feature as usize]))];
            }
            sum + self.leaves[(link & !LEAF) as usize]
        })
    }
}

/// Positions are counted in u32 because the links of a checked tree are.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(NONE)
}
