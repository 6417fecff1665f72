//! Multi-head self-attention over packed texts (Vaswani et al. 2017), each token seeing its whole text.
#![expect(
    clippy::indexing_slicing,
    reason = "every range lies inside the buffers whose lengths `forward` checks first"
)]

use ndarray::{ErrorKind, ShapeError};

use super::{Linear, Precision};
use crate::backend::cpu;
use crate::backend::cpu::int8::Activations;
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
    pub(crate) fn open(
        tensors: &Tensors,
        prefix: &str,
        (width, heads): (usize, usize),
        precision: Precision,
    ) -> Result<Self, Error> {
        if heads == 0 || !width.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} heads");
            return Err(Error::Mismatch { name: prefix.to_owned(), expected, found: width.to_string() });
        }
        Ok(Self {
            qkv: Linear::open(tensors, &format!("{prefix}.qkv"), width, 3 * width, precision)?,
            out: Linear::open(tensors, &format!("{prefix}.out"), width, width, precision)?,
            width,
            heads,
        })
    }

    /// `x` `[n, width]` -> `out` `[n, width]`. `lengths` are the texts' token counts, `n` in all.
    ///
    /// # Errors
    /// When `x` or `out` is too short.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        lengths: &[usize],
        buffers: &mut AttentionBuffers,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (n, w) = (lengths.iter().sum::<usize>(), self.width);
        if x.len() < n * w || out.len() < n * w {
            return Err(ShapeError::from_kind(ErrorKind::OutOfBounds));
        }
        let size = w / self.heads;
        buffers.reserve(n, w, size, lengths.iter().copied().max().unwrap_or(0));
        let AttentionBuffers { qkv, mixed, keys, scores, rounded } = buffers;
        let (qkv, mixed) = (&mut qkv[..3 * n * w], &mut mixed[..n * w]);
        self.qkv.forward(&x[..n * w], n, rounded, qkv)?;
        let mut first = 0;
        for &length in lengths {
            let text = &qkv[3 * w * first..3 * w * (first + length)];
            let mixed = &mut mixed[w * first..w * (first + length)];
            for head in 0..self.heads {
                cpu::attend(
                    text,
                    (length, w, head * size, size),
                    &mut keys[..length * size],
                    &mut scores[..length],
                    mixed,
                );
            }
            first += length;
        }
        self.out.forward(mixed, n, rounded, &mut out[..n * w])
    }
}

/// Memory that [`Attention::forward`] works in: one for each worker, shared by all layers.
#[derive(Default)]
pub(crate) struct AttentionBuffers {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    keys: Vec<f32>,
    scores: Vec<f32>,
    rounded: Activations,
}

impl AttentionBuffers {
    fn reserve(&mut self, n: usize, width: usize, size: usize, longest: usize) {
        let grow = |buffer: &mut Vec<f32>, size: usize| {
            if buffer.len() < size {
                buffer.resize(size, 0.0);
            }
        };
        grow(&mut self.qkv, 3 * n * width);
        grow(&mut self.mixed, n * width);
        grow(&mut self.keys, longest * size);
        grow(&mut self.scores, longest);
    }
}
