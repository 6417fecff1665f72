//! Self-attention of the fast form: a head's weights are a matrix of their own.
#![expect(unsafe_code, reason = "heads write disjoint columns of one buffer")]

use super::every;
use crate::backend::cpu::int8::{Activations, Int8Matrix, Rows};
use crate::backend::cpu::{Cells, Crew, self_attention};
use crate::weights::{Error, Tensors};

/// The projections of a layer's attention.
pub(super) struct FastAttention {
    /// `[3 · size, width]` of each head: queries, keys and values.
    heads: Vec<Int8Matrix>,
    /// `[width, width]`.
    out: Int8Matrix,
    width: usize,
    size: usize,
}

impl FastAttention {
    /// Reads `prefix.qkv` and `prefix.out`; `width` is divided among `heads`.
    pub(super) fn open(tensors: &Tensors, prefix: &str, (width, heads): (usize, usize)) -> Result<Self, Error> {
        if heads == 0 || !width.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} heads");
            return Err(Error::Mismatch { name: prefix.to_owned(), expected, found: width.to_string() });
        }
        let size = width / heads;
        let read = |part: &str, shape: &[usize]| tensors.get(&format!("{prefix}.{part}"), shape);
        let (weight, bias) = (read("qkv.weight", &[3 * width, width])?, read("qkv.bias", &[3 * width])?);
        let of_head = |head: usize| {
            let rows = (0..3).flat_map(|third| third * width + head * size..third * width + (head + 1) * size);
            let (mut rows_of, mut bias_of) = (Vec::with_capacity(3 * size * width), Vec::with_capacity(3 * size));
            for row in rows {
                rows_of.extend_from_slice(weight.get(row * width..(row + 1) * width).unwrap_or_default());
                bias_of.extend(bias.get(row));
            }
            Int8Matrix::rounded(&rows_of, &bias_of, (3 * size, width))
        };
        let out = (read("out.weight", &[width, width])?, read("out.bias", &[width])?);
        Ok(Self {
            heads: (0..heads).map(of_head).collect(),
            out: Int8Matrix::rounded(&out.0, &out.1, (width, width)),
            width,
            size,
        })
    }

    /// `mixed` `[n, width]`: what the heads say of the tokens `x`, whose texts begin at `starts`; the last of these is the
    /// end. Whether the shapes fit.
    pub(super) fn forward(&self, x: Rows<'_>, starts: &[usize], crew: &mut Crew<'_>, mixed: &mut [f32]) -> bool {
        let (mixed, stride) = (Cells::new(mixed), 3 * self.size);
        let texts = starts.len().saturating_sub(1);
        every(crew, texts * self.heads.len(), &|task, scratch| {
            let (text, head) = (task / self.heads.len(), task % self.heads.len());
            let (Some([start, end]), Some(matrix)) = (starts.get(text..text + 2), self.heads.get(head)) else {
                return false;
            };
            scratch.qkv.resize((end - start) * stride, 0.0);
            let fits = matrix.multiply(x.some(*start..*end), &mut scratch.qkv);
            let places = [0, self.size, 2 * self.size];
            let rows = self_attention::Head { rows: &scratch.qkv, stride, places, size: self.size };
            let to = (self.width, head * self.size);
            // SAFETY: a text's rows and a head's columns are the task's own.
            unsafe {
                let text = mixed.at(*start * self.width, (end - start) * self.width);
                self_attention::attend(&rows, &mut scratch.attention, &Cells::new(text), to);
            }
            fits
        })
    }

    /// The projection of what the heads say of some tokens, to the scratch's branch.
    pub(super) fn project(&self, mixed: Option<&[f32]>, scratch: &mut super::Scratch) -> bool {
        let Some(mixed) = mixed else { return false };
        let input: &mut Activations = &mut scratch.input;
        input.reserve(mixed.len() / self.width, self.width);
        input.rows_mut().quantise(mixed, self.width);
        scratch.branch.resize(mixed.len(), 0.0);
        self.out.multiply(input.rows(), &mut scratch.branch)
    }
}
