//! Multi-head self-attention over packed texts (Vaswani et al. 2017), each token seeing its whole text.
#![expect(unsafe_code, reason = "heads write disjoint columns of one buffer")]
#![expect(
    clippy::indexing_slicing,
    reason = "every range lies inside the buffers whose lengths `forward` checks first"
)]

use std::cell::RefCell;

use ndarray::{ErrorKind, ShapeError};

use super::{Linear, Precision};
use crate::backend::cpu::int8::Activations;
use crate::backend::cpu::{Cells, Crew, self_attention};
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
        (buffers, crew): (&mut AttentionBuffers, &mut Crew<'_>),
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (n, w) = (lengths.iter().sum::<usize>(), self.width);
        if x.len() < n * w || out.len() < n * w {
            return Err(ShapeError::from_kind(ErrorKind::OutOfBounds));
        }
        let size = w / self.heads;
        buffers.reserve(n, w);
        let AttentionBuffers { qkv, mixed, rounded } = buffers;
        let (qkv, mixed) = (&mut qkv[..3 * n * w], &mut mixed[..n * w]);
        self.qkv.forward(&x[..n * w], n, (&mut *rounded, &mut *crew), qkv)?;
        let mut first = 0;
        for &length in lengths {
            let text = &qkv[3 * w * first..3 * w * (first + length)];
            let cells = Cells::new(&mut mixed[w * first..w * (first + length)]);
            crew.run(self.heads, &|head| {
                MEMORY.with_borrow_mut(|memory| {
                    // SAFETY: a head's columns are its own.
                    unsafe { self_attention::attend(text, (length, w, head * size, size), memory, &cells) }
                });
            });
            first += length;
        }
        self.out.forward(mixed, n, (rounded, crew), &mut out[..n * w])
    }
}

thread_local! {
    /// What a thread works in while it computes a head.
    static MEMORY: RefCell<self_attention::Memory> = RefCell::default();
}

/// Memory that [`Attention::forward`] works in: one for each worker, shared by all layers.
#[derive(Default)]
pub(crate) struct AttentionBuffers {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    rounded: Activations,
}

impl AttentionBuffers {
    fn reserve(&mut self, n: usize, width: usize) {
        let grow = |buffer: &mut Vec<f32>, size: usize| {
            if buffer.len() < size {
                buffer.resize(size, 0.0);
            }
        };
        grow(&mut self.qkv, 3 * n * width);
        grow(&mut self.mixed, n * width);
    }
}
