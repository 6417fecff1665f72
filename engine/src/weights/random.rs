//! Weights that nobody trained, for measuring how fast a shape of model is.

use std::cell::RefCell;
use std::ops::Range;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::stored::{Format, GROUP, Stored};
use super::{Bytes, Error, Weights};

/// The number format of random weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Whether the device draws them itself.
    there: bool,
}

impl Random {
    /// Weights in `format`; a seed gives the same ones again.
    #[must_use]
    pub(crate) fn new(format: RandomFormat, seed: u64) -> Self {
        Self { format, draws: RefCell::new(ChaCha8Rng::seed_from_u64(seed)), there: false }
    }

    /// The same, drawn where they are used.
    #[must_use]
    pub(crate) fn drawn(format: RandomFormat, seed: u64) -> Self {
        Self { there: true, ..Self::new(format, seed) }
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
        if self.there {
            let kind = match self.format {
                RandomFormat::Int4 if !columns.is_multiple_of(GROUP) => RandomFormat::Int8,
                kind => kind,
            };
            let seed = self.draws.borrow_mut().next_u64();
            return Ok(Stored { rows, columns, format: Format::Drawn { kind, size, seed } });
        }
        let made = |bytes: Vec<u8>| Bytes::Made(bytes.into());
        let format = match self.format {
            RandomFormat::Int4 if columns.is_multiple_of(GROUP) => Format::I4 {
                codes: made(self.bytes(rows * columns / 2)),
                scales: vec![int4_scale(size); rows * columns / GROUP],
                zeros: vec![INT4_ZERO; rows * columns / GROUP],
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
                Format::I8 { codes: made(self.bytes(rows * columns)), scales: vec![int8_scale(size); rows] }
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

/// The zero of drawn codes of 4 bits.
pub(crate) const INT4_ZERO: u8 = 8;

/// The scale of codes of 8 bits for numbers of about `size`.
#[must_use]
pub(crate) fn int8_scale(size: f32) -> f32 {
    size / 74.0
}

/// The scale of codes of 4 bits for numbers of about `size`.
#[must_use]
pub(crate) fn int4_scale(size: f32) -> f32 {
    size / 4.6
}

/// What numbers of 16 bits are drawn between, over their size.
const REACH: f32 = 1.7;

/// Draws of 32 bits that a row takes.
#[must_use]
pub(crate) fn words(kind: RandomFormat, columns: usize) -> usize {
    match kind {
        RandomFormat::Bf16 => columns.div_ceil(2),
        RandomFormat::Int8 => columns.div_ceil(4),
        RandomFormat::Int4 => columns.div_ceil(8),
    }
}

/// Bytes of a drawn matrix, with its scales and zeros.
#[must_use]
pub(crate) fn bytes_of(kind: RandomFormat, rows: usize, columns: usize) -> usize {
    match kind {
        RandomFormat::Bf16 => 2 * rows * columns,
        RandomFormat::Int8 => rows * columns + 4 * rows,
        RandomFormat::Int4 => rows * columns / 2 + 5 * rows * columns / GROUP,
    }
}

/// Draw `index` of `seed` (`SplitMix64`, Steele et al. 2014, by its place): the kernel `draw` draws the same.
fn draw(seed: u64, index: u64) -> u32 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index.wrapping_add(1)));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [.., a, b, c, d] = (z ^ (z >> 31)).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// What numbers of 16 bits are drawn between.
#[must_use]
pub(crate) fn reach(size: f32) -> f32 {
    REACH * size
}

/// Row `row` of a drawn matrix.
pub(crate) fn row(kind: RandomFormat, size: f32, seed: u64, row: usize, out: &mut [f32]) {
    let first = row * words(kind, out.len());
    let word = |index: usize| draw(seed, u64::try_from(first + index).unwrap_or(u64::MAX));
    match kind {
        RandomFormat::Bf16 => {
            for (index, pair) in out.chunks_mut(2).enumerate() {
                let [a, b, c, d] = word(index).to_le_bytes();
                for (value, bits) in pair.iter_mut().zip([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]) {
                    let exact = (f32::from(bits) / 32_767.5 - 1.0) * reach(size);
                    // To the nearest of 16 bits, of two the even one.
                    let bits = exact.to_bits();
                    *value = f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000);
                }
            }
        }
        RandomFormat::Int8 => {
            for (index, four) in out.chunks_mut(4).enumerate() {
                let codes = word(index).to_le_bytes();
                four.iter_mut()
                    .zip(codes)
                    .for_each(|(o, code)| *o = f32::from(i8::from_le_bytes([code])) * int8_scale(size));
            }
        }
        RandomFormat::Int4 => {
            for (group, out) in out.chunks_mut(GROUP).enumerate() {
                let (low, high) = out.split_at_mut(GROUP / 2);
                let bytes = (0..GROUP / 8).flat_map(|index| word(group * (GROUP / 8) + index).to_le_bytes());
                for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                    *low = (f32::from(byte & 15) - f32::from(INT4_ZERO)) * int4_scale(size);
                    *high = (f32::from(byte >> 4) - f32::from(INT4_ZERO)) * int4_scale(size);
                }
            }
        }
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

    /// Bytes of a step that reads this share of all routed experts.
    #[must_use]
    pub(crate) fn bytes_of_experts(&self, share: f64) -> f64 {
        let (always, routed) = *self.counts.borrow();
        always as f64 + routed as f64 * share
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_rows_are_of_the_size_that_is_asked_for() {
        for kind in [RandomFormat::Bf16, RandomFormat::Int8, RandomFormat::Int4] {
            let (mut line, mut squares) = ([0.0; 256], 0.0);
            for row in 0..64 {
                super::row(kind, 0.5, 7, row, &mut line);
                squares += line.iter().map(|x| x * x).sum::<f32>();
            }
            let size = (squares / (64.0 * 256.0)).sqrt();
            assert!((0.45..0.55).contains(&size), "{kind:?}: {size}");
        }
        // SplitMix64's own first numbers for the seed 1234567.
        assert_eq!(draw(1_234_567, 0), u32::try_from(6_457_827_717_110_365_317_u64 >> 32).unwrap());
        assert_eq!(draw(1_234_567, 1), u32::try_from(3_203_168_211_198_807_973_u64 >> 32).unwrap());
    }
}
