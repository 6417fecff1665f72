//! Multi-head self-attention over packed texts (Vaswani et al. 2017), each token seeing its whole text.
#![expect(
    clippy::indexing_slicing,
    reason = "every range lies inside the buffers whose lengths `forward` checks first"
)]

use ndarray::{ErrorKind, ShapeError};

use super::Linear;
use crate::backend::cpu;
use crate::weights::{Error, Tensors};

/// Queries, keys and values in one product, attention text by text, and the projection back.
pub(crate) struct Attention {
    qkv: Linear,
    out: Linear,
    width: usize,
    heads: usize,
}

impl Attention {
    /// Reads `prefix.qkv` and `prefix.out`; `width` is divided among `heads`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(tensors: &Tensors, prefix: &str, width: usize, heads: usize) -> Result<Self, Error> {
        if heads == 0 || !width.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} heads");
            return Err(Error::Mismatch { name: prefix.to_owned(), expected, found: width.to_string() });
        }
        Ok(Self {
            qkv: Linear::open(tensors, &format!("{prefix}.qkv"), width, 3 * width)?,
            out: Linear::open(tensors, &format!("{prefix}.out"), width, width)?,
            width,
            heads,
        })
    }

    /// `x` `[n, width]` -> `out` `[n, width]`. `lengths` are the texts' token counts, `n` in all; `qkv` holds at least
    /// `3 · n · width` numbers, `mixed` at least `n · width`, `scores` at least the longest text's length.
    ///
    /// # Errors
    /// When a buffer is too short.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        lengths: &[usize],
        (qkv, mixed, scores): (&mut [f32], &mut [f32], &mut [f32]),
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (n, w) = (lengths.iter().sum::<usize>(), self.width);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if x.len() < n * w
            || qkv.len() < 3 * n * w
            || mixed.len() < n * w
            || scores.len() < longest
            || out.len() < n * w
        {
            return Err(ShapeError::from_kind(ErrorKind::OutOfBounds));
        }
        let qkv = &mut qkv[..3 * n * w];
        self.qkv.forward(&x[..n * w], n, qkv)?;
        let size = w / self.heads;
        #[expect(clippy::cast_precision_loss, reason = "a head has tens of dimensions")]
        let scale = 1.0 / (size as f32).sqrt();
        let mut first = 0;
        for &length in lengths {
            for head in 0..self.heads {
                let column = head * size;
                let (q, k, v) = (column, w + column, 2 * w + column);
                for i in first..first + length {
                    let row = i * 3 * w;
                    let scores = &mut scores[..length];
                    for (j, score) in scores.iter_mut().enumerate() {
                        let other = (first + j) * 3 * w;
                        *score = scale * cpu::dot(&qkv[row + q..row + q + size], &qkv[other + k..other + k + size]);
                    }
                    cpu::softmax(scores);
                    let mix = &mut mixed[i * w + column..i * w + column + size];
                    mix.fill(0.0);
                    for (j, score) in scores.iter().enumerate() {
                        let other = (first + j) * 3 * w + v;
                        mix.iter_mut().zip(&qkv[other..other + size]).for_each(|(m, v)| *m += score * v);
                    }
                }
            }
            first += length;
        }
        self.out.forward(&mixed[..n * w], n, &mut out[..n * w])
    }
}
