//! Exact interactions of two factors, path-dependent, by quadrature.
//!
//! The Shapley interaction index of features `i` and `j` (Grabisch and Roubens 1999) is the integral of the mixed
//! derivative of the game's multilinear extension along the diagonal. With the notation of `shap.rs`, one leaf gives
//!
//! ```text
//! φᵢⱼ = v (oᵢ - zᵢ) (oⱼ - zⱼ) ∫₀¹ Π_{k≠i,j} (z_k (1 - t) + o_k t) dt
//! ```
//!
//! As in the libraries the matrix holds half of it at `(i, j)` and half at `(j, i)`, and on the diagonal what is left of the feature's
//! attribution: every row adds up to the attribution, all of it to margin minus baseline.
#![expect(clippy::indexing_slicing, reason = "every index comes from a tree that Tree::check accepted")]

use super::ensemble::{Ensemble, Tree};
use super::paths::{Paths, sides};
use super::quadrature::Points;
use super::shap::{Explainer, Scratch};

/// Paths laid out for interactions.
#[derive(Debug, Clone)]
pub struct Interactions {
    trees: Vec<(Tree, Paths)>,
    explainer: Explainer,
    points: Points,
    features: usize,
    /// Most nodes of a tree and most features of a path.
    nodes: usize,
    longest: usize,
}

/// Room for one thread's work.
#[derive(Debug, Clone)]
pub struct InteractionScratch {
    right: Vec<bool>,
    /// Per feature of the path: whether the row passes, and `(o - z) / (z (1 - t) + o t)` at one `t`.
    passes: Vec<bool>,
    ratio: Vec<f64>,
    /// Per pair of the path's features: the sum over the quadrature.
    pairs: Vec<f64>,
    attributions: Vec<f64>,
    scratch: Scratch,
}

impl Interactions {
    /// Lays out an ensemble.
    pub fn new(ensemble: &Ensemble) -> Interactions {
        let trees: Vec<(Tree, Paths)> = ensemble.trees().iter().map(|tree| (tree.clone(), Paths::of(tree))).collect();
        let lengths = trees.iter().flat_map(|(_, paths)| paths.leaves.iter().map(|leaf| paths.parts(leaf).len()));
        let longest = lengths.max().unwrap_or(0);
        Interactions {
            explainer: Explainer::new(ensemble),
            points: Points::exact_for(longest),
            features: ensemble.features(),
            nodes: trees.iter().map(|(tree, _)| tree.len()).max().unwrap_or(0),
            longest,
            trees,
        }
    }

    /// Room for one thread's work.
    pub fn scratch(&self) -> InteractionScratch {
        InteractionScratch {
            right: vec![false; self.nodes],
            passes: vec![false; self.longest],
            ratio: vec![0.0; self.longest],
            pairs: vec![0.0; self.longest * self.longest],
            attributions: vec![0.0; self.features],
            scratch: self.explainer.scratch(),
        }
    }

    /// Writes the matrix of a row, `features` by `features`, in log-odds. Allocates nothing.
    pub fn explain(&self, row: &[f64], scratch: &mut InteractionScratch, out: &mut [f64]) {
        out.fill(0.0);
        for (tree, paths) in &self.trees {
            sides(tree, row, &mut scratch.right);
            for leaf in &paths.leaves {
                let parts = paths.parts(leaf);
                if leaf.value == 0.0 || parts.len() < 2 {
                    continue;
                }
                for (passes, part) in scratch.passes.iter_mut().zip(parts) {
                    *passes = paths.passes(part, &scratch.right);
                }
                // Nobody in training went there and the row does not either: the leaf is worth nothing to any coalition.
                let dead = |(part, &passes): (&super::paths::Part, &bool)| part.share == 0.0 && !passes;
                if parts.iter().zip(&scratch.passes).any(dead) {
                    continue;
                }
                let count = parts.len();
                let pairs = &mut scratch.pairs[..count * count];
                pairs.fill(0.0);
                for (t, rest, weight) in self.points.iter() {
                    let mut product = weight * leaf.value;
                    for ((part, &passes), ratio) in parts.iter().zip(&scratch.passes).zip(&mut scratch.ratio) {
                        let own = f64::from(u8::from(passes));
                        let factor = part.share * rest + own * t;
                        product *= factor;
                        *ratio = (own - part.share) / factor;
                    }
                    for i in 1..count {
                        let left = product * scratch.ratio[i];
                        for j in 0..i {
                            pairs[i * count + j] += left * scratch.ratio[j];
                        }
                    }
                }
                for i in 1..count {
                    for j in 0..i {
                        let half = 0.5 * pairs[i * count + j];
                        let (a, b) = (parts[i].feature as usize, parts[j].feature as usize);
                        out[a * self.features + b] += half;
                        out[b * self.features + a] += half;
                    }
                }
            }
        }
        self.explainer.explain(row, &mut scratch.scratch, &mut scratch.attributions);
        for (feature, attribution) in scratch.attributions.iter().enumerate() {
            let from = feature * self.features;
            let others: f64 = out[from..from + self.features].iter().sum();
            out[from + feature] = attribution - others;
        }
    }
}
