//! A feed-forward block made of experts.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges follow from token, expert and width counts checked by `reserve` and `open`"
)]

use ndarray::ShapeError;

use super::Router;
use super::matrix::{Matrix, Precision};
use crate::backend::cpu;
use crate::backend::cpu::int8::Activations;
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
#[derive(Default)]
pub(crate) struct ExpertsBuffers {
    logits: Vec<f32>,
    chosen: Vec<Vec<(usize, f32)>>,
    gathered: Vec<f32>,
    inner: Vec<f32>,
    answers: Vec<f32>,
    rounded: Activations,
}

impl ExpertsBuffers {
    fn reserve(&mut self, n: usize, experts: usize, width: usize, inner: usize) {
        let grow = |buffer: &mut Vec<f32>, size: usize| {
            if buffer.len() < size {
                buffer.resize(size, 0.0);
            }
        };
        grow(&mut self.logits, n * experts);
        grow(&mut self.gathered, n * width);
        grow(&mut self.inner, n * inner);
        grow(&mut self.answers, n * width);
        self.chosen.resize_with(experts, Vec::new);
        self.chosen.iter_mut().for_each(Vec::clear);
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
        buffers: &mut ExpertsBuffers,
        load: &mut [u64],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (w, i) = (self.width, self.inner);
        if x.len() != n * w || out.len() != n * w {
            return Err(ShapeError::from_kind(ndarray::ErrorKind::IncompatibleShape));
        }
        buffers.reserve(n, self.router.experts(), w, i);
        let chosen = &mut buffers.chosen;
        self.router.route(x, n, &mut buffers.logits, |token, expert, gate| chosen[expert].push((token, gate)))?;
        out.chunks_exact_mut(w.max(1)).for_each(|row| row.copy_from_slice(&self.b2));
        let experts = buffers.chosen.iter().enumerate().zip(self.w1.iter().zip(&self.w2));
        for ((expert, tokens), (w1, w2)) in experts.filter(|((_, tokens), _)| !tokens.is_empty()) {
            let count = tokens.len();
            if let Some(load) = load.get_mut(expert) {
                *load += u64::try_from(count).unwrap_or(u64::MAX);
            }
            let gathered = &mut buffers.gathered[..count * w];
            for (row, &(token, _)) in gathered.chunks_exact_mut(w).zip(tokens) {
                row.copy_from_slice(&x[token * w..(token + 1) * w]);
            }
            let inner = &mut buffers.inner[..count * i];
            w1.multiply(gathered, count, Some(&self.b1[expert * i..(expert + 1) * i]), &mut buffers.rounded, inner)?;
            cpu::gelu(inner);
            let answers = &mut buffers.answers[..count * w];
            w2.multiply(inner, count, None, &mut buffers.rounded, answers)?;
            for (answer, &(token, gate)) in answers.chunks_exact(w).zip(tokens) {
                let row = &mut out[token * w..(token + 1) * w];
                row.iter_mut().zip(answer).for_each(|(o, a)| *o += gate * a);
            }
        }
        Ok(())
    }
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
        experts.forward(&x, n, &mut ExpertsBuffers::default(), &mut load, &mut sparse).unwrap();
        for (a, b) in sparse.iter().zip(&dense) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
        assert!(load.chunks(copies).all(|slice| slice.iter().sum::<u64>() == 40), "one copy of each slice: {load:?}");
        assert!(load.iter().filter(|&&tokens| tokens > 0).count() > slices, "tokens differ in their copies: {load:?}");
    }
}
