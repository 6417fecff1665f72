//! A feed-forward block made of experts.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges follow from token, expert and width counts checked by `group` and `open`"
)]
#![expect(unsafe_code, reason = "tasks write disjoint rows of shared buffers")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ndarray::ShapeError;

use super::Router;
use super::matrix::{Matrix, Precision};
use crate::backend::cpu::int8::{Activations, Places};
use crate::backend::cpu::{self, Cells, Crew, vectorised};
use crate::weights::{Error, Tensors};

/// Two layers with GELU for each expert; what the chosen experts of a token say is added up with their gates.
pub(crate) struct Experts {
    router: Router,
    /// `[inner, width]` of each expert.
    w1: Vec<Matrix>,
    /// `[experts, inner]`.
    b1: Vec<f32>,
    /// `[width, inner]` of each expert.
    w2: Vec<Matrix>,
    /// `[width]`, added once whatever was chosen.
    b2: Vec<f32>,
    width: usize,
    inner: usize,
}

/// Memory that [`Experts::forward`] works in: one for each worker, shared by all layers.
///
/// A pair is a token and one of its experts; pairs lie by expert.
#[derive(Default)]
pub(crate) struct ExpertsBuffers {
    logits: Vec<f32>,
    /// Experts and gates in the order of tokens.
    chosen: Vec<(usize, f32)>,
    /// Where each expert's pairs begin, and the end.
    starts: Vec<usize>,
    /// The token of each pair.
    tokens: Vec<usize>,
    /// The pair of each choice.
    pairs: Vec<usize>,
    gathered: Vec<f32>,
    inner: Vec<f32>,
    answers: Vec<f32>,
    rounded: Activations,
    rounded_gathered: Activations,
    rounded_inner: Activations,
}

impl ExpertsBuffers {
    /// Sorts what was chosen by expert.
    fn group(&mut self, experts: usize, per_token: usize) {
        self.starts.clear();
        self.starts.resize(experts + 1, 0);
        self.chosen.iter().for_each(|(expert, _)| self.starts[expert + 1] += 1);
        (0..experts).for_each(|expert| self.starts[expert + 1] += self.starts[expert]);
        self.tokens.resize(self.chosen.len(), 0);
        self.pairs.resize(self.chosen.len(), 0);
        // Each start moves to its end while pairs are put in, and is moved back after.
        for (choice, ((expert, _), pair)) in self.chosen.iter().zip(&mut self.pairs).enumerate() {
            let place = &mut self.starts[*expert];
            (self.tokens[*place], *pair) = (choice / per_token.max(1), *place);
            *place += 1;
        }
        (1..=experts).rev().for_each(|expert| self.starts[expert] = self.starts[expert - 1]);
        self.starts[0] = 0;
    }
}

vectorised! {
    /// `out = start + Σ gate · answer`.
    fn add_up(out: &mut [f32], start: &[f32], answers: &[f32], chosen: &[(usize, f32)], pairs: &[usize]) -> () {
        let width = start.len();
        out.copy_from_slice(start);
        for ((_, gate), pair) in chosen.iter().zip(pairs) {
            let answer = &answers[pair * width..(pair + 1) * width];
            out.iter_mut().zip(answer).for_each(|(o, a)| *o += gate * a);
        }
    }
}

impl Experts {
    /// Reads the router and the tensors `w1`, `b1`, `w2`, `b2` under `prefix`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(
        tensors: &Tensors,
        prefix: &str,
        (width, inner): (usize, usize),
        (experts, groups): (usize, usize),
        precision: Precision,
    ) -> Result<Self, Error> {
        let read = |part: &str, shape: &[usize]| tensors.get(&format!("{prefix}.{part}"), shape);
        let split = |all: Vec<f32>, shape: (usize, usize)| {
            all.chunks_exact((shape.0 * shape.1).max(1)).map(|one| Matrix::of(one.to_vec(), shape, precision)).collect()
        };
        Ok(Self {
            router: Router::open(tensors, prefix, width, experts, groups)?,
            w1: split(read("w1", &[experts, inner, width])?, (inner, width)),
            b1: read("b1", &[experts, inner])?,
            w2: split(read("w2", &[experts, width, inner])?, (width, inner)),
            b2: read("b2", &[width])?,
            width,
            inner,
        })
    }

    /// `x` `[n, width]` -> `out` `[n, width]`; `load` counts the tokens of each expert.
    ///
    /// Tokens are gathered by expert, so that an expert's weights are read once for a batch and only by those it serves.
    ///
    /// # Errors
    /// When `x` or `out` is not `n` rows long.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        n: usize,
        (buffers, crew): (&mut ExpertsBuffers, &mut Crew<'_>),
        load: &mut [u64],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (w, i, experts) = (self.width, self.inner, self.router.experts());
        let misfit = || ShapeError::from_kind(ndarray::ErrorKind::IncompatibleShape);
        if x.len() != n * w || out.len() != n * w {
            return Err(misfit());
        }
        let ExpertsBuffers { logits, chosen, .. } = buffers;
        logits.resize(n * experts, 0.0);
        chosen.clear();
        self.router.route(x, n, logits, |_, expert, gate| chosen.push((expert, gate)))?;
        let per_token = chosen.len().checked_div(n).unwrap_or(0);
        buffers.group(experts, per_token);
        for (load, pairs) in load.iter_mut().zip(buffers.starts.windows(2)) {
            *load += u64::try_from(pairs[1] - pairs[0]).unwrap_or(u64::MAX);
        }
        let pairs = buffers.tokens.len();
        let exact = self.w1.first().is_some_and(|matrix| matrix.int8().is_none());
        buffers.gathered.resize(if exact { pairs * w } else { 0 }, 0.0);
        buffers.inner.resize(pairs * i, 0.0);
        buffers.answers.resize(pairs * w, 0.0);
        if !exact {
            // A token is rounded once for all its experts.
            buffers.rounded.quantise(x, w);
            buffers.rounded_gathered.reserve(pairs, w);
            buffers.rounded_inner.reserve(pairs, i);
        }
        let shared = Shared {
            x,
            tokens: &buffers.tokens,
            rounded: &buffers.rounded,
            gathered: Cells::new(&mut buffers.gathered),
            inner: Cells::new(&mut buffers.inner),
            answers: Cells::new(&mut buffers.answers),
            rounded_gathered: Places::of(&mut buffers.rounded_gathered),
            rounded_inner: Places::of(&mut buffers.rounded_inner),
        };
        let (starts, failed) = (&buffers.starts, AtomicBool::new(false));
        crew.run(experts, &|expert| {
            let pairs = starts[expert]..starts[expert + 1];
            // SAFETY: an expert's pairs are its own.
            if !pairs.is_empty() && unsafe { self.say(expert, pairs, &shared) }.is_err() {
                failed.store(true, Relaxed);
            }
        });
        if failed.load(Relaxed) {
            return Err(misfit());
        }
        let step = n.div_ceil(crew.threads()).max(1);
        let (cells, buffers) = (Cells::new(out), &*buffers);
        crew.run(n.div_ceil(step), &|task| {
            for token in task * step..n.min((task + 1) * step) {
                // SAFETY: a task's tokens are its own.
                let row = unsafe { cells.at(token * w, w) };
                let choices = token * per_token..(token + 1) * per_token;
                let (chosen, pairs) = (&buffers.chosen[choices.clone()], &buffers.pairs[choices]);
                add_up(row, &self.b2, &buffers.answers, chosen, pairs);
            }
        });
        Ok(())
    }

    /// What one expert says of its pairs.
    ///
    /// # Safety
    /// No other reference to these pairs' places may live at the same time.
    unsafe fn say(&self, expert: usize, pairs: Range<usize>, shared: &Shared<'_>) -> Result<(), ShapeError> {
        let (w, i, count) = (self.width, self.inner, pairs.len());
        let (w1, w2, b1) = (&self.w1[expert], &self.w2[expert], &self.b1[expert * i..(expert + 1) * i]);
        // SAFETY: the caller vouches for the pairs' places.
        let (inner, answers) =
            unsafe { (shared.inner.at(pairs.start * i, count * i), shared.answers.at(pairs.start * w, count * w)) };
        let tokens = shared.tokens[pairs.clone()].iter().copied();
        let mut alone = Crew::alone();
        if let (Some(w1), Some(w2)) = (w1.int8(), w2.int8()) {
            // SAFETY: as above.
            let (mut rows, mut rounded) =
                unsafe { (shared.rounded_gathered.rows(pairs.clone()), shared.rounded_inner.rows(pairs)) };
            rows.gather(shared.rounded.rows(), tokens);
            let risen = w1.multiply(rows.done(), Some(b1), &mut alone, inner);
            cpu::gelu(inner);
            rounded.quantise(inner, i);
            let fallen = w2.multiply(rounded.done(), None, &mut alone, answers);
            let fits = risen && fallen;
            return if fits { Ok(()) } else { Err(ShapeError::from_kind(ndarray::ErrorKind::IncompatibleShape)) };
        }
        // SAFETY: as above.
        let gathered = unsafe { shared.gathered.at(pairs.start * w, count * w) };
        for (row, token) in gathered.chunks_exact_mut(w.max(1)).zip(tokens) {
            row.copy_from_slice(&shared.x[token * w..(token + 1) * w]);
        }
        let mut unused = Activations::default();
        w1.multiply(gathered, count, Some(b1), (&mut unused, &mut alone), inner)?;
        cpu::gelu(inner);
        w2.multiply(inner, count, None, (&mut unused, &mut alone), answers)
    }
}

/// What the experts of a batch read and write.
struct Shared<'a> {
    x: &'a [f32],
    tokens: &'a [usize],
    rounded: &'a Activations,
    gathered: Cells<'a>,
    inner: Cells<'a>,
    answers: Cells<'a>,
    rounded_gathered: Places<'a>,
    rounded_inner: Places<'a>,
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A dense block and its upcycled form: every slice of neurons copied, gates at one, as before training.
    #[test]
    fn upcycled_block_equals_the_dense_block_at_the_start() {
        let (width, slices, copies, inner, n) = (16, 4, 4, 8, 40);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0f32)).collect::<Vec<_>>();
        let (w1, b1) = (draw(slices * inner * width), draw(slices * inner));
        let (w2, b2) = (draw(width * slices * inner), draw(width));
        let (x, router) = (draw(n * width), draw(slices * copies * width));

        let mut hidden = vec![0.0; n * slices * inner];
        cpu::linear(&x, &w1, Some(&b1), (n, width, slices * inner), &mut hidden).unwrap();
        cpu::gelu(&mut hidden);
        let mut dense = vec![0.0; n * width];
        cpu::linear(&hidden, &w2, Some(&b2), (n, slices * inner, width), &mut dense).unwrap();

        let copied = |slice_len: usize, part: &[f32]| {
            part.chunks(slice_len).flat_map(|slice| slice.repeat(copies)).collect::<Vec<_>>()
        };
        let columns: Vec<f32> = (0..slices)
            .flat_map(|s| {
                w2.chunks(slices * inner)
                    .flat_map(move |row| row[s * inner..(s + 1) * inner].to_vec())
                    .collect::<Vec<_>>()
            })
            .collect();
        let matrices = |all: Vec<f32>, shape: (usize, usize)| {
            all.chunks(shape.0 * shape.1).map(|one| Matrix::of(one.to_vec(), shape, Precision::Float32)).collect()
        };
        let experts = Experts {
            router: Router::of(router, 0.0, width, slices),
            w1: matrices(copied(inner * width, &w1), (inner, width)),
            b1: copied(inner, &b1),
            w2: matrices(copied(width * inner, &columns), (width, inner)),
            b2,
            width,
            inner,
        };
        let (mut sparse, mut load) = (vec![0.0; n * width], vec![0; slices * copies]);
        let mut buffers = ExpertsBuffers::default();
        experts.forward(&x, n, (&mut buffers, &mut Crew::alone()), &mut load, &mut sparse).unwrap();
        for (a, b) in sparse.iter().zip(&dense) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
        assert!(load.chunks(copies).all(|slice| slice.iter().sum::<u64>() == 40), "one copy of each slice: {load:?}");
        assert!(load.iter().filter(|&&tokens| tokens > 0).count() > slices, "tokens differ in their copies: {load:?}");
    }
}
