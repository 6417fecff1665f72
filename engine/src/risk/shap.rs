//! Exact Shapley values of the log-odds, path-dependent, by quadrature.
//!
//! The game: a coalition's worth is the expected score when its features are known and every split on another
//! feature sends the training data's shares both ways (Lundberg et al. 2020, "path-dependent"). On the path to one
//! leaf of value `v`, let `z` be the product of the shares taken at a feature's splits and `o` be 1 when the row
//! itself passes all of them, else 0. The worth of a coalition is then a product over the path's features, its
//! multilinear extension is `v · Π (z (1 - t) + o t)`, and the Shapley value of feature `i` is the integral of its
//! partial derivative along the diagonal (Owen 1972):
//!
//! ```text
//! φᵢ = v (oᵢ - zᵢ) ∫₀¹ Π_{j≠i} (zⱼ (1 - t) + oⱼ t) dt
//! ```
//!
//! A path with `D` different features gives a polynomial of degree `D - 1`, which `⌈D / 2⌉` Gauss–Legendre nodes
//! integrate exactly (Quadrature-TreeSHAP, arXiv 2605.04497). Summed over the leaves of a tree this becomes one walk up and one
//! walk down, at all nodes of the quadrature side by side. Write `K` for what a subtree is worth at `t`; at an
//! inner node with shares `s`, and `hot` for the side that the row takes,
//!
//! ```text
//! M = s_left K_left + s_right K_right      D = K_hot - M      K = M + λ D           (up)
//! φ_feature += above · κ · D                                                        (down)
//! above_hot = above · (s_hot + λ s_cold)   above_cold = above · s_cold (1 - λ)
//! ```
//!
//! with `λ = t` and `κ = 1` where the path looks at the feature for the first time. Where it has looked at it before and
//! the row passed, with share `z` so far, the earlier factor `a = z (1 - t) + t` is divided out: `λ = t / a`,
//! `κ = z / a²`. Where the row did not pass, the node only mixes: `λ = 0`, `κ = 0`. Every `K` is a weighted mean of leaves and
//! every `above` a product of numbers between 0 and 1, so nothing cancels and nothing grows, however deep the tree is; up to
//! 128 features on a path are allowed. `λ` and `κ` depend on the tree alone and are worked out once.
#![expect(clippy::indexing_slicing, reason = "every index comes from a Layout, which is made from checked trees")]

use super::ensemble::Ensemble;
use super::layout::{Inner, LEAF, Layout};
use super::quadrature::Rule;

/// Trees laid out for scoring and explaining rows one after another without allocating.
#[derive(Debug, Clone)]
pub struct Explainer {
    layout: Layout,
    points: Points,
}

/// The quadrature, with as many nodes as the deepest path needs.
#[derive(Debug, Clone)]
enum Points {
    Two(Factors<2>),
    Four(Factors<4>),
    Eight(Factors<8>),
    Sixteen(Box<Factors<16>>),
    ThirtyTwo(Box<Factors<32>>),
    SixtyFour(Box<Factors<64>>),
}

/// What depends on the quadrature and the trees, but not on a row.
#[derive(Debug, Clone)]
struct Factors<const N: usize> {
    weight: [f64; N],
    /// First for nodes whose feature the row failed before, which only mix; then one for every repeat of the layout, the first
    /// of which stands for features that the path has not looked at before.
    mixes: Vec<Mix<N>>,
}

/// `λ` and `κ` of a node.
#[derive(Debug, Clone, Copy)]
struct Mix<const N: usize> {
    lambda: [f64; N],
    kappa: [f64; N],
}

/// Room for one thread's work; made once, used for every row.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Per inner node and quadrature node: the product of factors above it; then room for what leaves do not need.
    above: Vec<f64>,
    /// Per inner node and quadrature node: what its subtree is worth.
    worth: Vec<f64>,
    /// Per inner node and quadrature node: what the row's own side is worth beyond the mean.
    beyond: Vec<f64>,
    /// Per inner node: the side that the row takes.
    side: Vec<u8>,
    /// Per inner node: whether the row passed every earlier split on the node's feature.
    live: Vec<bool>,
    /// Per feature and quadrature node.
    sums: Vec<f64>,
}

impl Explainer {
    /// Lays out an ensemble.
    pub fn new(ensemble: &Ensemble) -> Explainer {
        let layout = Layout::new(ensemble);
        let points = match layout.deepest {
            0..=4 => Points::Two(Factors::new(&layout)),
            5..=8 => Points::Four(Factors::new(&layout)),
            9..=16 => Points::Eight(Factors::new(&layout)),
            17..=32 => Points::Sixteen(Box::new(Factors::new(&layout))),
            33..=64 => Points::ThirtyTwo(Box::new(Factors::new(&layout))),
            _ => Points::SixtyFour(Box::new(Factors::new(&layout))),
        };
        Explainer { layout, points }
    }

    /// The log-odds of a row, to the bit what [`Ensemble::margin`] gives, faster.
    pub fn margin(&self, row: &[f64]) -> f64 {
        self.layout.margin(row)
    }

    /// Room for one thread's work.
    pub fn scratch(&self) -> Scratch {
        let (points, nodes) = (self.points(), self.layout.largest);
        Scratch {
            above: vec![0.0; (nodes + 1) * points],
            worth: vec![0.0; nodes * points],
            beyond: vec![0.0; nodes * points],
            side: vec![0; nodes],
            live: vec![true; nodes],
            sums: vec![0.0; self.layout.features * points],
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
            Points::Two(factors) => explain(&self.layout, factors, row, scratch, out),
            Points::Four(factors) => explain(&self.layout, factors, row, scratch, out),
            Points::Eight(factors) => explain(&self.layout, factors, row, scratch, out),
            Points::Sixteen(factors) => explain(&self.layout, factors, row, scratch, out),
            Points::ThirtyTwo(factors) => explain(&self.layout, factors, row, scratch, out),
            Points::SixtyFour(factors) => explain(&self.layout, factors, row, scratch, out),
        }
    }

    /// [`Explainer::explain`] without the instructions that only some processors have.
    #[cfg(test)]
    pub(super) fn explain_portable(&self, row: &[f64], scratch: &mut Scratch, out: &mut [f64]) {
        match &self.points {
            Points::Two(factors) => explain_with(&self.layout, factors, row, scratch, out),
            Points::Four(factors) => explain_with(&self.layout, factors, row, scratch, out),
            Points::Eight(factors) => explain_with(&self.layout, factors, row, scratch, out),
            Points::Sixteen(factors) => explain_with(&self.layout, factors, row, scratch, out),
            Points::ThirtyTwo(factors) => explain_with(&self.layout, factors, row, scratch, out),
            Points::SixtyFour(factors) => explain_with(&self.layout, factors, row, scratch, out),
        }
    }
}

impl<const N: usize> Factors<N> {
    fn new(layout: &Layout) -> Factors<N> {
        let rule = Rule::<N>::new();
        let mix = |share: f64| {
            let mut mix = Mix { lambda: [0.0; N], kappa: [0.0; N] };
            for q in 0..N {
                let earlier = share * rule.rest[q] + rule.node[q];
                mix.lambda[q] = rule.node[q] / earlier;
                mix.kappa[q] = share / (earlier * earlier);
            }
            mix
        };
        let failed = Mix { lambda: [0.0; N], kappa: [0.0; N] };
        let first = Mix { lambda: rule.node, kappa: [1.0; N] };
        let repeats = layout.repeats.iter().skip(1).map(|repeat| mix(repeat.share));
        Factors { weight: rule.weight, mixes: [failed, first].into_iter().chain(repeats).collect() }
    }
}

/// With registers of four numbers where the processor has them: the same operations in the same order, so the same bits.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls what was compiled for processors with AVX2"))]
fn explain<const N: usize>(layout: &Layout, factors: &Factors<N>, row: &[f64], scratch: &mut Scratch, out: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function was compiled for.
        return unsafe { explain_avx2(layout, factors, row, scratch, out) };
    }
    explain_with(layout, factors, row, scratch, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn explain_avx2<const N: usize>(
    layout: &Layout,
    factors: &Factors<N>,
    row: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
) {
    explain_with(layout, factors, row, scratch, out);
}

/// For every tree the row's sides, then the walk up, then the walk down.
#[inline(always)]
fn explain_with<const N: usize>(
    layout: &Layout,
    factors: &Factors<N>,
    row: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
) {
    let (above, _) = scratch.above.as_chunks_mut::<N>();
    let (worth, _) = scratch.worth.as_chunks_mut::<N>();
    let (beyond, _) = scratch.beyond.as_chunks_mut::<N>();
    let (sums, _) = scratch.sums.as_chunks_mut::<N>();
    sums.fill([0.0; N]);
    for tree in layout.trees.iter().filter(|tree| tree.from < tree.to) {
        let nodes = &layout.inner[tree.from..tree.to];
        let side = &mut scratch.side[..nodes.len()];
        let live = &mut scratch.live[..nodes.len()];
        choose_sides(layout, nodes, row, side, live);
        let mut walk = Walk {
            layout,
            factors,
            nodes,
            twigs: tree.twigs - tree.from,
            side,
            live,
            above: &mut above[..=nodes.len()],
            worth: &mut worth[..nodes.len()],
            beyond: &mut beyond[..nodes.len()],
        };
        walk.up();
        walk.down(sums);
    }
    for (contribution, sum) in out.iter_mut().zip(sums.iter()) {
        *contribution = sum.iter().sum();
    }
}

/// The side that the row takes at every node, and whether it passed the earlier splits on the node's feature.
#[inline(always)]
fn choose_sides(layout: &Layout, nodes: &[Inner], row: &[f64], side: &mut [u8], live: &mut [bool]) {
    for (position, node) in nodes.iter().enumerate() {
        side[position] = layout.side(node, row[node.feature as usize]);
        // Without short circuits: the processor cannot guess which nodes repeat a feature.
        let repeat = layout.repeats[node.repeat as usize];
        let earlier = repeat.earlier as usize;
        live[position] = (node.repeat == 0) | (live[earlier] & (side[earlier] == repeat.side));
    }
}

/// One tree and one row.
struct Walk<'w, const N: usize> {
    layout: &'w Layout,
    factors: &'w Factors<N>,
    nodes: &'w [Inner],
    /// From here on both children are leaves.
    twigs: usize,
    side: &'w [u8],
    live: &'w [bool],
    above: &'w mut [[f64; N]],
    worth: &'w mut [[f64; N]],
    beyond: &'w mut [[f64; N]],
}

impl<const N: usize> Walk<'_, N> {
    /// What the subtree behind a link is worth.
    #[inline(always)]
    fn worth_of(&self, link: u32) -> [f64; N] {
        let is_leaf = link & LEAF != 0;
        let leaf = self.layout.leaves[if is_leaf { (link & !LEAF) as usize } else { 0 }];
        let inner = &self.worth[if is_leaf { 0 } else { link as usize }];
        std::array::from_fn(|q| if is_leaf { leaf } else { inner[q] })
    }

    /// From the leaves to the root.
    #[inline(always)]
    fn up(&mut self) {
        for position in (0..self.nodes.len()).rev() {
            let node = &self.nodes[position];
            // Twigs come last: their children are leaves, which the processor then need not guess.
            let [left, right] = if position >= self.twigs {
                node.next.map(|link| [self.layout.leaves[(link & !LEAF) as usize]; N])
            } else {
                node.next.map(|link| self.worth_of(link))
            };
            let [share_left, share_right] = node.share;
            // K_hot - M is s_right (K_left - K_right) or its opposite: no choice between vectors.
            let tilt = [share_right, -share_left][usize::from(self.side[position] & 1)];
            let mean: [f64; N] = std::array::from_fn(|q| share_left * left[q] + share_right * right[q]);
            let mix = mix(self.factors, node, self.live[position]);
            let beyond: [f64; N] = std::array::from_fn(|q| tilt * (left[q] - right[q]));
            self.worth[position] = std::array::from_fn(|q| mean[q] + mix.lambda[q] * beyond[q]);
            self.beyond[position] = beyond;
        }
    }

    /// From the root to the leaves.
    #[inline(always)]
    fn down(&mut self, sums: &mut [[f64; N]]) {
        self.above[0] = self.factors.weight;
        for position in 0..self.nodes.len() {
            let node = &self.nodes[position];
            let above = self.above[position];
            let hot = usize::from(self.side[position] & 1);
            let (share_hot, share_cold) = (node.share[hot], node.share[1 - hot]);
            let mix = mix(self.factors, node, self.live[position]);
            let beyond = &self.beyond[position];
            let sum = &mut sums[node.feature as usize];
            *sum = std::array::from_fn(|q| sum[q] + above[q] * mix.kappa[q] * beyond[q]);
            if position >= self.twigs {
                continue;
            }
            let above_hot: [f64; N] = std::array::from_fn(|q| above[q] * (share_hot + mix.lambda[q] * share_cold));
            let above_cold: [f64; N] = std::array::from_fn(|q| above[q] * (share_cold * (1.0 - mix.lambda[q])));
            // What is above a leaf nobody needs; it is written down all the same, which is cheaper than to ask.
            let unused = self.nodes.len();
            for (link, above) in [(node.next[hot], above_hot), (node.next[1 - hot], above_cold)] {
                self.above[if link & LEAF == 0 { link as usize } else { unused }] = above;
            }
        }
    }
}

/// `λ` and `κ` of a node; both are zero where the row failed an earlier split on its feature.
#[inline(always)]
fn mix<'w, const N: usize>(factors: &'w Factors<N>, node: &Inner, live: bool) -> &'w Mix<N> {
    &factors.mixes[if live { node.repeat as usize + 1 } else { 0 }]
}
