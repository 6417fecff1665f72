//! The experts of the fast form.
#![expect(unsafe_code, reason = "tasks write disjoint rows of one buffer")]

use std::ops::Range;

use super::{Pairs, every};
use crate::backend::cpu::int8::{Int8Matrix, Rows};
use crate::backend::cpu::{self, Cells, Crew};
use crate::layers::Router;
use crate::weights::{Error, Tensors};

/// Pairs that one task takes: so many that weights are read seldom, so few that what lies between the products stays in the
/// cache and that threads end together.
const SHARE: usize = 32;

/// Router and experts of a layer.
pub(super) struct FastExperts {
    router: Router,
    /// `[inner, width]` of each expert.
    rise: Vec<Int8Matrix>,
    /// `[width, inner]` of each expert.
    fall: Vec<Int8Matrix>,
    /// `[width]`, added once whatever was chosen.
    bias: Vec<f32>,
    width: usize,
    inner: usize,
}

impl FastExperts {
    /// Reads the router and the tensors `w1`, `b1`, `w2`, `b2` under `prefix`.
    pub(super) fn open(
        tensors: &Tensors,
        prefix: &str,
        width: usize,
        (experts, groups, inner): (usize, usize, usize),
    ) -> Result<Self, Error> {
        let read = |part: &str, shape: &[usize]| tensors.get(&format!("{prefix}.{part}"), shape);
        let (w1, b1) = (read("w1", &[experts, inner, width])?, read("b1", &[experts, inner])?);
        let w2 = read("w2", &[experts, width, inner])?;
        let one = (inner * width).max(1);
        let rise = w1.chunks_exact(one).zip(b1.chunks_exact(inner.max(1)));
        Ok(Self {
            router: Router::open(tensors, prefix, width, experts, groups)?,
            rise: rise.map(|(weight, bias)| Int8Matrix::rounded(weight, bias, (inner, width))).collect(),
            fall: w2.chunks_exact(one).map(|weight| Int8Matrix::rounded(weight, &[], (width, inner))).collect(),
            bias: read("b2", &[width])?,
            width,
            inner,
        })
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    /// Number of experts.
    pub(super) fn count(&self) -> usize {
        self.rise.len()
    }

    /// What the experts say of their pairs, to `answers` `[pairs, width]`. Whether the shapes fit.
    pub(super) fn forward(
        &self,
        x: Rows<'_>,
        pairs: &Pairs,
        shares: &mut Vec<(usize, Range<usize>)>,
        crew: &mut Crew<'_>,
        answers: &mut Vec<f32>,
    ) -> bool {
        shares.clear();
        for expert in 0..self.count() {
            let all = pairs.of(expert);
            let parts = all.len().div_ceil(SHARE);
            let cut = |part: usize| all.start + part * all.len() / parts;
            shares.extend((0..parts).map(|part| (expert, cut(part)..cut(part + 1))));
        }
        // The longest first, so that threads end together.
        shares.sort_by_key(|(_, range)| std::cmp::Reverse(range.len()));
        answers.resize(pairs.len() * self.width, 0.0);
        let (answers, shares) = (Cells::new(answers), &*shares);
        every(crew, shares.len(), &|task, scratch| {
            let Some((expert, range)) = shares.get(task) else { return false };
            let (Some(rise), Some(fall)) = (self.rise.get(*expert), self.fall.get(*expert)) else { return false };
            scratch.input.reserve(range.len(), self.width);
            scratch.input.rows_mut().gather(x, pairs.tokens(range.clone()));
            scratch.inner.resize(range.len() * self.inner, 0.0);
            let risen = rise.multiply(scratch.input.rows(), &mut scratch.inner);
            cpu::gelu(&mut scratch.inner);
            scratch.between.reserve(range.len(), self.inner);
            scratch.between.rows_mut().quantise(&scratch.inner, self.inner);
            // SAFETY: a task's pairs are its own.
            let answers = unsafe { answers.at(range.start * self.width, range.len() * self.width) };
            risen && fall.multiply(scratch.between.rows(), answers)
        })
    }

    /// What the experts of some tokens say, added up by their gates, to `out` `[tokens, width]`.
    pub(super) fn add_up(&self, tokens: Range<usize>, pairs: &Pairs, answers: &[f32], out: &mut Vec<f32>) {
        out.clear();
        for token in tokens {
            let first = out.len();
            out.extend_from_slice(&self.bias);
            let out = out.get_mut(first..).unwrap_or_default();
            for (pair, gate) in pairs.choices(token) {
                cpu::add_scaled(out, gate, answers.get(pair * self.width..(pair + 1) * self.width).unwrap_or_default());
            }
        }
    }
}
