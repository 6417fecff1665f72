//! What lies in the processor's memory: activations, weights, caches, and a batch on its way.
#![expect(clippy::indexing_slicing, reason = "rows and columns follow from the step and from the widths of buffers")]

use std::ops::Range;

use super::isa::Isa;
use super::product::{self, Inputs, Tokens};
use crate::backend::Routing;
use crate::models::causal::{Batch, ForwardError};
use crate::weights::Stored;

/// Activations.
pub(crate) struct Buffer {
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
}

#[cfg(test)]
impl Buffer {
    /// All numbers, for tests of other backends.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Buffer {
    /// The activations of one token.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// Weights of a linear map: one or several matrices of equal columns.
pub(crate) struct Matrix {
    pub(super) parts: Vec<Stored>,
    pub(super) bias: Option<Vec<f32>>,
}

impl Matrix {
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    pub(super) fn columns(&self) -> usize {
        self.parts.first().map_or(0, |part| part.columns)
    }

    pub(super) fn rounds(&self) -> bool {
        self.parts.iter().any(product::rounds)
    }

    /// Computes the rows `range` of all parts together; see [`product::rows`].
    pub(super) fn products(
        &self,
        isa: Isa,
        range: Range<usize>,
        inputs: Inputs<'_>,
        tokens: &Tokens<'_>,
        scratch: &mut Vec<f32>,
        mut write: impl FnMut(usize, usize, &[f32]),
    ) {
        let mut start = 0;
        for part in &self.parts {
            let (first, end) = (range.start.max(start), range.end.min(start + part.rows));
            if first < end {
                product::rows(isa, part, first - start..end - start, inputs, tokens, scratch, |index, row, values| {
                    write(index, start + row, values);
                });
            }
            start += part.rows;
        }
    }
}

/// One layer's keys and values.
pub(crate) struct Cache {
    pub(super) rows: Vec<f32>,
    pub(super) width: usize,
}

impl Cache {
    /// What is kept at one slot.
    pub(crate) fn row(&self, slot: usize) -> &[f32] {
        &self.rows[slot * self.width..(slot + 1) * self.width]
    }
}

/// A batch with the rotations of its positions.
#[derive(Default)]
pub(crate) struct Step {
    pub(super) batch: Batch,
    pub(super) cosines: Vec<f32>,
    pub(super) sines: Vec<f32>,
    pub(super) pairs: usize,
    pub(super) neighbours: bool,
    /// A sequence and some of its tokens that attention takes together.
    pub(super) chunks: Vec<(usize, Range<usize>)>,
}

impl Step {
    pub(super) fn n(&self) -> usize {
        self.batch.tokens.len()
    }

    pub(super) fn angles(&self, token: usize) -> (&[f32], &[f32]) {
        let at = token * self.pairs..(token + 1) * self.pairs;
        (&self.cosines[at.clone()], &self.sines[at])
    }
}

/// A router.
pub(crate) struct Router {
    pub(super) matrix: Matrix,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) rule: Routing,
    pub(super) counts: Vec<u64>,
}

/// Chosen experts `[n, k]`, each token's in the order of their numbers.
pub(crate) struct Choices {
    pub(super) chosen: Vec<(u32, f32)>,
    pub(super) k: usize,
}

impl Choices {
    /// The experts of one token with their weights; none before the first layer that has some.
    pub(crate) fn of(&self, token: usize) -> &[(u32, f32)] {
        self.chosen.get(token * self.k..(token + 1) * self.k).unwrap_or_default()
    }
}

/// So many zeros, or an error where the machine has no room for them.
///
/// # Errors
/// [`ForwardError::Memory`].
pub(super) fn memory(numbers: usize) -> Result<Vec<f32>, ForwardError> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(numbers)
        .map_err(|_| ForwardError::Memory(format!("{} MB were asked for", numbers / 250_000)))?;
    values.resize(numbers, 0.0);
    Ok(values)
}
