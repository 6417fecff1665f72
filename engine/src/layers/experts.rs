//! A feed-forward block made of experts, in `f32`.
#![expect(clippy::indexing_slicing, reason = "ranges follow from token, expert and width counts that `open` checks")]

use ndarray::ShapeError;

use super::{Pairs, Router};
use crate::backend::cpu;
use crate::weights::{Error, Tensors};

/// Two layers with GELU for each expert; what the chosen experts of a token say is added up with their gates.
pub(crate) struct Experts {
    router: Router,
    /// `[experts, inner, width]`.
    w1: Vec<f32>,
    /// `[experts, inner]`.
    b1: Vec<f32>,
    /// `[experts, width, inner]`.
    w2: Vec<f32>,
    /// `[width]`, added once whatever was chosen.
    b2: Vec<f32>,
    width: usize,
    inner: usize,
}

/// Memory that [`Experts::forward`] works in, kept for the next layer.
#[derive(Default)]
pub(crate) struct ExpertsBuffers {
    logits: Vec<f32>,
    pairs: Pairs,
    gathered: Vec<f32>,
    inner: Vec<f32>,
    answers: Vec<f32>,
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
    ) -> Result<Self, Error> {
        let read = |part: &str, shape: &[usize]| tensors.get(&format!("{prefix}.{part}"), shape);
        Ok(Self {
            router: Router::open(tensors, prefix, width, experts, groups)?,
            w1: read("w1", &[experts, inner, width])?,
            b1: read("b1", &[experts, inner])?,
            w2: read("w2", &[experts, width, inner])?,
            b2: read("b2", &[width])?,
            width,
            inner,
        })
    }

    /// `x` `[n, width]` -> `out` `[n, width]`; `load` counts the tokens of each expert.
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
        let (w, i, experts) = (self.width, self.inner, self.router.experts());
        if x.len() != n * w || out.len() != n * w {
            return Err(ShapeError::from_kind(ndarray::ErrorKind::IncompatibleShape));
        }
        let ExpertsBuffers { logits, pairs, gathered, inner, answers } = buffers;
        logits.resize(n * experts, 0.0);
        self.router.score(x, logits);
        pairs.choose(&self.router, logits, n, load)?;
        answers.resize(pairs.len() * w, 0.0);
        for expert in 0..experts {
            let range = pairs.of(expert);
            gathered.clear();
            pairs.tokens(range.clone()).iter().for_each(|token| gathered.extend(&x[token * w..(token + 1) * w]));
            inner.resize(range.len() * i, 0.0);
            let (w1, w2) =
                (&self.w1[expert * i * w..(expert + 1) * i * w], &self.w2[expert * i * w..(expert + 1) * i * w]);
            let b1 = &self.b1[expert * i..(expert + 1) * i];
            cpu::linear(gathered, w1, Some(b1), (range.len(), w, i), inner)?;
            cpu::gelu(inner);
            cpu::linear(inner, w2, None, (range.len(), i, w), &mut answers[range.start * w..range.end * w])?;
        }
        for (token, out) in out.chunks_exact_mut(w.max(1)).enumerate() {
            out.copy_from_slice(&self.b2);
            for (pair, gate) in pairs.choices(token) {
                cpu::add_scaled(out, gate, &answers[pair * w..(pair + 1) * w]);
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
        let experts = Experts {
            router: Router::of(&router, 0.0, width, slices),
            w1: copied(inner * width, &w1),
            b1: copied(inner, &b1),
            w2: copied(width * inner, &columns),
            b2,
            width,
            inner,
        };
        let (mut sparse, mut load) = (vec![0.0; n * width], vec![0; slices * copies]);
        let mut buffers = ExpertsBuffers::default();
        experts.forward(&x, n, &mut buffers, &mut load, &mut sparse).unwrap();
        for (a, b) in sparse.iter().zip(&dense) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
        assert!(load.chunks(copies).all(|slice| slice.iter().sum::<u64>() == 40), "one copy of each slice: {load:?}");
        assert!(load.iter().filter(|&&tokens| tokens > 0).count() > slices, "tokens differ in their copies: {load:?}");
    }
}
