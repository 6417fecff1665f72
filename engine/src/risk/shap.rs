//! Exact Shapley values of the log-odds, path-dependent, by quadrature.
//!
//! The game: a coalition's worth is the expected score when its features are known and every split on another
//! feature sends the training data's shares both ways (Lundberg et al. 2020, "path-dependent"). On the path to one
//! leaf of value `v`, let `z` be the product of the shares taken at a feature's splits and `o` be 1 when the row
//! itself passes all of them, else 0. The worth of a coalition is then a product over the path's features, its
//! multilinear extension is `v · Π (z + t (o - z))`, and the Shapley value of feature `i` is the integral of its
//! partial derivative along the diagonal (Owen 1972):
//!
//! ```text
//! φᵢ = v (oᵢ - zᵢ) ∫₀¹ Π_{j≠i} (zⱼ (1 - t) + oⱼ t) dt
//! ```
//!
//! A path with `D` different features gives a polynomial of degree `D - 1`, which `⌈D / 2⌉` Gauss–Legendre nodes
//! integrate exactly (Quadrature-TreeSHAP, arXiv 2605.04497). Every factor is a sum of terms that are not negative, so
//! nothing cancels however deep the tree is; up to 128 features on a path are allowed.
//!
//! A tree is walked twice: down, multiplying the factors at all nodes of the quadrature at once; and up, adding the leaves
//! and giving each edge's share to its feature. Where a feature comes back on a path, its earlier factor is divided
//! out and its earlier share taken back. That division is only ever by `z (1 - t) + t`, which is not zero.
#![expect(clippy::indexing_slicing, reason = "Explainer::new builds every index from trees that Tree::check accepted")]

use super::ensemble::{Ensemble, Split, Tree};
use super::quadrature::Rule;

/// No earlier split on the same feature.
const NONE: u32 = u32::MAX;

/// One inner node as both walks need it.
#[derive(Debug, Clone, Copy)]
struct Inner {
    threshold: f64,
    /// Shares of the feature along the whole path: through the left child, through the right child.
    path_share: [f64; 2],
    /// Shares at this node alone.
    share: [f64; 2],
    children: [u32; 2],
    node: u32,
    feature: u32,
    /// The node whose incoming edge last looked at this feature, or `NONE`.
    earlier: u32,
    /// That edge's share of the feature along its path.
    earlier_share: f64,
    /// Which words of `Explainer::categories` hold the codes that go left; `NONE` for a threshold.
    categories: u32,
    words: u32,
    missing_left: bool,
}

/// One tree: ranges into the explainer's arrays.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: usize,
    inner_from: usize,
    inner_to: usize,
    leaf_from: usize,
    leaf_to: usize,
}

/// Trees laid out for explaining rows one after another without allocating.
#[derive(Debug, Clone)]
pub struct Explainer {
    trees: Vec<Extent>,
    inner: Vec<Inner>,
    leaves: Vec<(u32, f64)>,
    categories: Vec<u64>,
    features: usize,
    largest: usize,
    points: Points,
}

/// The quadrature, with as many nodes as the deepest path needs.
#[derive(Debug, Clone)]
enum Points {
    Two(Rule<2>),
    Four(Rule<4>),
    Eight(Rule<8>),
    Sixteen(Box<Rule<16>>),
    ThirtyTwo(Box<Rule<32>>),
    SixtyFour(Box<Rule<64>>),
}

/// Room for one thread's work; made once, used for every row.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Per tree node and quadrature node: the product of factors on the way down, the leaves' sum on the way up.
    product: Vec<f64>,
    /// Per tree node: whether the row itself passed every split on the incoming edge's feature.
    passed: Vec<bool>,
    /// Per inner node of the tree: the side that the row takes.
    side: Vec<u8>,
    /// Per feature and quadrature node.
    sums: Vec<f64>,
}

impl Explainer {
    /// Lays out an ensemble.
    pub fn new(ensemble: &Ensemble) -> Explainer {
        let mut explainer = Explainer {
            trees: Vec::with_capacity(ensemble.trees().len()),
            inner: Vec::new(),
            leaves: Vec::new(),
            categories: Vec::new(),
            features: ensemble.features(),
            largest: 1,
            points: Points::Two(Rule::new()),
        };
        let mut deepest = 0;
        for tree in ensemble.trees() {
            deepest = deepest.max(explainer.add(tree));
        }
        explainer.points = match deepest {
            0..=4 => Points::Two(Rule::new()),
            5..=8 => Points::Four(Rule::new()),
            9..=16 => Points::Eight(Rule::new()),
            17..=32 => Points::Sixteen(Box::new(Rule::new())),
            33..=64 => Points::ThirtyTwo(Box::new(Rule::new())),
            _ => Points::SixtyFour(Box::new(Rule::new())),
        };
        explainer
    }

    /// Adds a tree; answers the most different features on one of its paths.
    fn add(&mut self, tree: &Tree) -> usize {
        let (inner_from, leaf_from) = (self.inner.len(), self.leaves.len());
        let steps = tree.paths();
        // Per node: the share of the incoming edge's feature along the whole path.
        let mut path_share = vec![1.0; tree.len()];
        for node in 0..tree.len() {
            let index = u32::try_from(node).unwrap_or(NONE);
            let split = tree.split(node);
            if matches!(split, Split::Leaf) {
                self.leaves.push((index, tree.value[node]));
                continue;
            }
            let (left, right) = tree.children(node);
            let (share_left, share_right) = tree.shares(node);
            let earlier = steps[left].earlier;
            let before = earlier.map_or(1.0, |earlier| path_share[earlier]);
            path_share[left] = before * share_left;
            path_share[right] = before * share_right;
            let (threshold, categories, words) = match split {
                Split::Below(threshold) => (threshold, NONE, 0),
                Split::OneOf(codes) => {
                    let from = self.categories.len();
                    let words = codes.iter().max().map_or(0, |&code| code as usize / 64 + 1);
                    self.categories.resize(from + words, 0);
                    for &code in codes {
                        self.categories[from + code as usize / 64] |= 1 << (code % 64);
                    }
                    (0.0, u32::try_from(from).unwrap_or(NONE), u32::try_from(words).unwrap_or(0))
                }
                Split::Leaf => (0.0, NONE, 0),
            };
            self.inner.push(Inner {
                threshold,
                path_share: [path_share[left], path_share[right]],
                share: [share_left, share_right],
                children: [tree.left[node], tree.right[node]],
                node: index,
                feature: tree.feature[node],
                earlier_share: before,
                earlier: earlier.and_then(|earlier| u32::try_from(earlier).ok()).unwrap_or(NONE),
                categories,
                words,
                missing_left: tree.missing_left[node] != 0,
            });
        }
        self.largest = self.largest.max(tree.len());
        self.trees.push(Extent {
            nodes: tree.len(),
            inner_from,
            inner_to: self.inner.len(),
            leaf_from,
            leaf_to: self.leaves.len(),
        });
        steps.iter().map(|step| step.features).max().unwrap_or(0)
    }

    /// Room for one thread's work.
    pub fn scratch(&self) -> Scratch {
        let points = self.points();
        Scratch {
            product: vec![0.0; self.largest * points],
            passed: vec![true; self.largest],
            side: vec![0; self.largest],
            sums: vec![0.0; self.features * points],
        }
    }

    /// Nodes of the quadrature.
    pub fn points(&self) -> usize {
        match &self.points {
            Points::Two(_) => 2,
            Points::Four(_) => 4,
            Points::Eight(_) => 8,
            Points::Sixteen(_) => 16,
            Points::ThirtyTwo(_) => 32,
            Points::SixtyFour(_) => 64,
        }
    }

    /// Writes every feature's contribution to the row's log-odds. `row` and `out` have one entry per feature,
    /// NaN stands for a missing value, and `scratch` comes from this explainer. Allocates nothing, and gives the same
    /// bits every time on every machine.
    pub fn explain(&self, row: &[f64], scratch: &mut Scratch, out: &mut [f64]) {
        match &self.points {
            Points::Two(rule) => self.explain_with(rule, row, scratch, out),
            Points::Four(rule) => self.explain_with(rule, row, scratch, out),
            Points::Eight(rule) => self.explain_with(rule, row, scratch, out),
            Points::Sixteen(rule) => self.explain_with(rule, row, scratch, out),
            Points::ThirtyTwo(rule) => self.explain_with(rule, row, scratch, out),
            Points::SixtyFour(rule) => self.explain_with(rule, row, scratch, out),
        }
    }

    fn explain_with<const N: usize>(&self, rule: &Rule<N>, row: &[f64], scratch: &mut Scratch, out: &mut [f64]) {
        let (product, _) = scratch.product.as_chunks_mut::<N>();
        let (sums, _) = scratch.sums.as_chunks_mut::<N>();
        sums.fill([0.0; N]);
        for &extent in &self.trees {
            let inner = &self.inner[extent.inner_from..extent.inner_to];
            let product = &mut product[..extent.nodes];
            self.walk_down(inner, row, rule, product, &mut scratch.passed, &mut scratch.side);
            for &(leaf, value) in &self.leaves[extent.leaf_from..extent.leaf_to] {
                for factor in &mut product[leaf as usize] {
                    *factor *= value;
                }
            }
            walk_up(inner, rule, product, &scratch.passed, &scratch.side, sums);
        }
        for (contribution, sum) in out.iter_mut().zip(sums.iter()) {
            *contribution = sum.iter().sum();
        }
    }

    /// Multiplies the factors from the root to every node.
    #[inline(always)]
    fn walk_down<const N: usize>(
        &self,
        inner: &[Inner],
        row: &[f64],
        rule: &Rule<N>,
        product: &mut [[f64; N]],
        passed: &mut [bool],
        side: &mut [u8],
    ) {
        product[0] = [1.0; N];
        for (position, node) in inner.iter().enumerate() {
            let hot = usize::from(!self.goes_left(node, row[node.feature as usize]));
            let cold = 1 - hot;
            side[position] = u8::from(hot == 1);
            let (hot_child, cold_child) = (node.children[hot] as usize, node.children[cold] as usize);
            passed[cold_child] = false;
            let above = product[node.node as usize];
            if node.earlier == NONE {
                passed[hot_child] = true;
                let (share_hot, share_cold) = (node.path_share[hot], node.path_share[cold]);
                for q in 0..N {
                    product[hot_child][q] = above[q] * (share_hot * rule.rest[q] + rule.node[q]);
                    product[cold_child][q] = above[q] * (share_cold * rule.rest[q]);
                }
            } else if passed[node.earlier as usize] {
                passed[hot_child] = true;
                let (share_hot, share_cold) = (node.path_share[hot], node.path_share[cold]);
                let earlier = node.earlier_share;
                for q in 0..N {
                    let before = above[q] / (earlier * rule.rest[q] + rule.node[q]);
                    product[hot_child][q] = before * (share_hot * rule.rest[q] + rule.node[q]);
                    product[cold_child][q] = before * (share_cold * rule.rest[q]);
                }
            } else {
                passed[hot_child] = false;
                for q in 0..N {
                    product[hot_child][q] = above[q] * node.share[hot];
                    product[cold_child][q] = above[q] * node.share[cold];
                }
            }
        }
    }

    #[inline(always)]
    fn goes_left(&self, node: &Inner, value: f64) -> bool {
        if node.categories == NONE {
            return value < node.threshold || (value.is_nan() && node.missing_left);
        }
        if value.is_nan() {
            return node.missing_left;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a category's code is a small count"
        )]
        let code = value as u32;
        code / 64 < node.words && self.categories[(node.categories + code / 64) as usize] >> (code % 64) & 1 == 1
    }
}

/// Adds the leaves from the bottom up and gives every edge's share to its feature.
#[inline(always)]
fn walk_up<const N: usize>(
    inner: &[Inner],
    rule: &Rule<N>,
    product: &mut [[f64; N]],
    passed: &[bool],
    side: &[u8],
    sums: &mut [[f64; N]],
) {
    for (position, node) in inner.iter().enumerate().rev() {
        let hot = usize::from(side[position]);
        let below_hot = product[node.children[hot] as usize];
        let below_cold = product[node.children[1 - hot] as usize];
        let here = &mut product[node.node as usize];
        for q in 0..N {
            here[q] = below_hot[q] + below_cold[q];
        }
        let sum = &mut sums[node.feature as usize];
        let share = node.path_share[hot];
        if node.earlier == NONE {
            for q in 0..N {
                let through_hot = rule.weight[q] * (1.0 - share) / (share * rule.rest[q] + rule.node[q]);
                sum[q] += below_hot[q] * through_hot - below_cold[q] * rule.cold[q];
            }
        } else if passed[node.earlier as usize] {
            let earlier = node.earlier_share;
            for q in 0..N {
                let through_hot = rule.weight[q] * (1.0 - share) / (share * rule.rest[q] + rule.node[q]);
                let given_before = rule.weight[q] * (1.0 - earlier) / (earlier * rule.rest[q] + rule.node[q]);
                sum[q] += below_hot[q] * through_hot - below_cold[q] * rule.cold[q] - here[q] * given_before;
            }
        }
        // Where the row had already left the feature's path, both edges give what the earlier one gave: nothing changes.
    }
}
