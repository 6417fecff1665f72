//! Weights that nobody trained, for measuring how fast a shape of model is.

use std::cell::RefCell;
use std::ops::Range;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::stored::{Format, GROUP, Stored};
use super::{Bytes, Error, Weights};

/// The number format of random weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RandomFormat {
    /// As [`Format::Bf16`].
    Bf16,
    /// As [`Format::I8`].
    Int8,
    /// As [`Format::I4`]; matrices whose columns are no whole groups are of 8 bits.
    Int4,
}

/// Random weights of any shape that is asked for, large enough that numbers neither vanish nor explode.
pub(crate) struct Random {
    format: RandomFormat,
    draws: RefCell<ChaCha8Rng>,
}

impl Random {
    /// Weights in `format`; a seed gives the same ones again.
    #[must_use]
    pub(crate) fn new(format: RandomFormat, seed: u64) -> Self {
        Self { format, draws: RefCell::new(ChaCha8Rng::seed_from_u64(seed)) }
    }

    fn bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.draws.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}

impl Weights for Random {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn matrix(&self, _: &str, rows: usize, columns: usize) -> Result<Stored, Error> {
        let size = (columns as f32).sqrt().recip();
        let made = |bytes: Vec<u8>| Bytes::Made(bytes.into());
        let format = match self.format {
            RandomFormat::Int4 if columns.is_multiple_of(GROUP) => Format::I4 {
                codes: made(self.bytes(rows * columns / 2)),
                scales: vec![size / 4.6; rows * columns / GROUP],
                zeros: vec![8; rows * columns / GROUP],
            },
            RandomFormat::Bf16 => {
                let mut bytes = self.bytes(rows * columns * 2);
                for pair in bytes.as_chunks_mut::<2>().0 {
                    // A byte between -1 and 1, times the size, rounded towards zero to the upper half of an f32.
                    let value = (f32::from(pair[0]) / 127.5 - 1.0) * 1.7 * size;
                    let [_, _, low, high] = value.to_bits().to_le_bytes();
                    *pair = [low, high];
                }
                Format::Bf16(made(bytes))
            }
            RandomFormat::Int8 | RandomFormat::Int4 => {
                Format::I8 { codes: made(self.bytes(rows * columns)), scales: vec![size / 74.0; rows] }
            }
        };
        Ok(Stored { rows, columns, format })
    }

    fn stacked(&self, name: &str, _: (usize, usize), _: Range<usize>, _: (usize, usize)) -> Result<Stored, Error> {
        Err(Error::Missing(name.to_owned()))
    }

    fn vector(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(vec![1.0; shape.iter().product()])
    }
}

/// Counts the bytes that a token's way through a model reads, while its weights are taken.
pub(crate) struct Counted<'w> {
    weights: &'w dyn Weights,
    /// Bytes of every token, and of routed experts all together.
    counts: RefCell<(usize, usize)>,
    tied: bool,
}

impl<'w> Counted<'w> {
    /// Counts what is taken from `weights`; `tied` where the embedding serves as the head.
    #[must_use]
    pub(crate) fn new(weights: &'w dyn Weights, tied: bool) -> Self {
        Self { weights, counts: RefCell::new((0, 0)), tied }
    }

    /// Bytes that one token reads when it goes to `chosen` of `experts`, and bytes of all weights that were taken.
    #[must_use]
    pub(crate) fn bytes(&self, chosen: usize, experts: usize) -> (usize, usize) {
        let (always, routed) = *self.counts.borrow();
        (always + routed * chosen / experts.max(1), always + routed)
    }

    fn count(&self, name: &str, stored: &Stored) {
        let (always, routed) = &mut *self.counts.borrow_mut();
        if name.contains(".experts.") {
            *routed += stored.bytes();
        } else if self.tied || name != "model.embed_tokens" {
            *always += stored.bytes();
        }
    }
}

impl Weights for Counted<'_> {
    fn has(&self, tensor: &str) -> bool {
        self.weights.has(tensor)
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, Error> {
        let stored = self.weights.matrix(name, rows, columns)?;
        self.count(name, &stored);
        Ok(stored)
    }

    fn stacked(
        &self,
        name: &str,
        number: (usize, usize),
        rows: Range<usize>,
        shape: (usize, usize),
    ) -> Result<Stored, Error> {
        let stored = self.weights.stacked(name, number, rows, shape)?;
        self.count(name, &stored);
        Ok(stored)
    }

    fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        self.weights.vector(name, shape)
    }
}
