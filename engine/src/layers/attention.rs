//! Multi-head self-attention over packed texts (Vaswani et al. 2017), each token seeing its whole text, in `f32`.
#![expect(unsafe_code, reason = "heads write columns of one buffer")]
#![expect(
    clippy::indexing_slicing,
    reason = "every range lies inside the buffers whose lengths `forward` checks first"
)]

use ndarray::{ErrorKind, ShapeError};

use super::Linear;
use crate::backend::cpu::{Cells, self_attention};
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
    pub(crate) fn open(tensors: &Tensors, prefix: &str, (width, heads): (usize, usize)) -> Result<Self, Error> {
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
        buffers.qkv.resize(3 * n * w, 0.0);
        buffers.mixed.resize(n * w, 0.0);
        self.qkv.forward(&x[..n * w], n, &mut buffers.qkv)?;
        let mut first = 0;
        for &length in lengths {
            let rows = &buffers.qkv[3 * w * first..3 * w * (first + length)];
            let cells = Cells::new(&mut buffers.mixed[w * first..w * (first + length)]);
            for column in (0..w).step_by(size) {
                let head =
                    self_attention::Head { rows, stride: 3 * w, places: [column, w + column, 2 * w + column], size };
                // SAFETY: one head after another.
                unsafe { self_attention::attend(&head, &mut buffers.memory, &cells, (w, column)) };
            }
            first += length;
        }
        self.out.forward(&buffers.mixed, n, &mut out[..n * w])
    }
}

/// Memory that [`Attention::forward`] works in, kept for the next layer.
#[derive(Default)]
pub(crate) struct AttentionBuffers {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    memory: self_attention::Memory,
}
