//! Products of int8 matrices: weights with one scale a row, activations with one scale a token, sums in `i32`.
//!
//! The machine's instructions are asked for when the program runs: AVX-512 VNNI multiplies 64 pairs with one instruction,
//! AVX2 takes four, and plain Rust serves every other processor. All three add the same whole numbers, so that
//! their answers are equal to the last bit.
//!
//! Weights lie in blocks of 16 rows; inside a block, four inputs of every row stand together. A step reads 64 bytes of
//! weights and four bytes of a token, and its 16 sums are 16 neighbouring outputs: nothing is added across a register.
#![expect(unsafe_code, reason = "tasks write disjoint columns of one buffer")]

use std::ops::Range;
use std::sync::OnceLock;

use super::{Cells, Crew};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows of weights in a block.
const ROWS: usize = 16;
/// Inputs of a row that stand together.
const QUAD: usize = 4;
/// Bytes of a block for one quad of inputs.
const STEP: usize = ROWS * QUAD;

/// Which instructions multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// AVX-512 with vector neural network instructions.
    Avx512Vnni,
    /// AVX2.
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Kernel {
    /// The best that this processor has.
    #[must_use]
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| *Self::here().first().unwrap_or(&Self::Portable))
    }

    /// All that this processor has, best first.
    fn here() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self::Avx512Vnni);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }
}

/// Tokens' vectors as int8 with a scale each. The memory is kept for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    /// `[tokens, padded inputs]`.
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    stride: usize,
}

impl Activations {
    /// Room for `tokens` vectors of `inputs`; what was there is lost.
    pub(crate) fn reserve(&mut self, tokens: usize, inputs: usize) {
        self.stride = inputs.next_multiple_of(QUAD);
        self.values.resize(tokens * self.stride, 0);
        self.scales.resize(tokens, 0.0);
        self.sums.resize(tokens, 0);
    }

    /// Rounds `x` `[tokens, inputs]` to the nearest of 255 steps between a token's largest value and its negative.
    pub(crate) fn quantise(&mut self, x: &[f32], inputs: usize) {
        let tokens = x.len().checked_div(inputs).unwrap_or(0);
        self.reserve(tokens, inputs);
        let places = Places::of(self);
        // SAFETY: nobody else holds a place.
        unsafe { places.rows(0..tokens) }.quantise(x, inputs);
    }

    /// All vectors.
    #[must_use]
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, scales: &self.scales, sums: &self.sums, stride: self.stride }
    }
}

/// Some tokens' vectors as int8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    values: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i32],
    stride: usize,
}

impl Rows<'_> {
    fn tokens(&self) -> usize {
        self.scales.len()
    }
}

/// [`Activations`] that several tasks write, each its own rows.
pub(crate) struct Places<'a> {
    values: Cells<'a, i8>,
    scales: Cells<'a, f32>,
    sums: Cells<'a, i32>,
    stride: usize,
}

impl<'a> Places<'a> {
    /// Takes over the memory.
    pub(crate) fn of(activations: &'a mut Activations) -> Self {
        Self {
            values: Cells::new(&mut activations.values),
            scales: Cells::new(&mut activations.scales),
            sums: Cells::new(&mut activations.sums),
            stride: activations.stride,
        }
    }

    /// Some rows.
    ///
    /// # Safety
    /// No other reference to any of them may live at the same time.
    pub(crate) unsafe fn rows(&self, rows: Range<usize>) -> RowsMut<'_> {
        let (first, count) = (rows.start, rows.len());
        // SAFETY: the caller promises that these rows are its own.
        unsafe {
            RowsMut {
                values: self.values.at(first * self.stride, count * self.stride),
                scales: self.scales.at(first, count),
                sums: self.sums.at(first, count),
                stride: self.stride,
            }
        }
    }
}

/// Rows to be written.
pub(crate) struct RowsMut<'a> {
    values: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    stride: usize,
}

impl RowsMut<'_> {
    /// Rounds as many rows of `x` `[rows, inputs]`.
    pub(crate) fn quantise(&mut self, x: &[f32], inputs: usize) {
        let rows = x.chunks_exact(inputs.max(1)).zip(self.values.chunks_exact_mut(self.stride.max(1)));
        for (((row, values), scale), sum) in rows.zip(self.scales.iter_mut()).zip(self.sums.iter_mut()) {
            (*scale, *sum) = quantise_row(row, values);
        }
    }

    /// Copies the rows of `from` that `tokens` names.
    pub(crate) fn gather(&mut self, from: Rows<'_>, tokens: impl Iterator<Item = usize>) {
        let rows =
            self.values.chunks_exact_mut(self.stride.max(1)).zip(self.scales.iter_mut()).zip(self.sums.iter_mut());
        for (token, ((values, scale), sum)) in tokens.zip(rows) {
            let row = from.values.get(token * from.stride..(token + 1) * from.stride);
            if let (Some(row), Some(s), Some(total)) = (row, from.scales.get(token), from.sums.get(token)) {
                values.copy_from_slice(row);
                (*scale, *sum) = (*s, *total);
            }
        }
    }

    /// The same rows, to be read.
    pub(crate) fn done(&self) -> Rows<'_> {
        Rows { values: self.values, scales: self.scales, sums: self.sums, stride: self.stride }
    }
}

super::vectorised! {
    /// One row to int8: its scale and the sum of its values.
    fn quantise_row(row: &[f32], values: &mut [i8]) -> (f32, i32) {
        let mut highest = [0.0f32; 16];
        let (chunks, rest) = row.as_chunks::<16>();
        for chunk in chunks {
            for (h, x) in highest.iter_mut().zip(chunk) {
                *h = if x.abs() > *h { x.abs() } else { *h };
            }
        }
        let highest = highest.iter().chain(rest).fold(0.0f32, |h, x| h.max(x.abs()));
        let factor = if highest > 0.0 { 127.0 / highest } else { 0.0 };
        let mut sum = 0i32;
        for (v, x) in values.iter_mut().zip(row) {
            // Adding and taking away 1.5 · 2^23 rounds to the nearest whole number; its low bits are that number.
            let bits = (x * factor + 12_582_912.0).to_bits().wrapping_sub(12_582_912.0f32.to_bits()).cast_signed();
            #[expect(clippy::cast_possible_truncation, reason = "between -127 and 127")]
            let whole = bits as i8;
            *v = whole;
            sum += i32::from(whole);
        }
        values.iter_mut().skip(row.len()).for_each(|padding| *padding = 0);
        (highest / 127.0, sum)
    }
}

/// An int8 matrix `[outputs, inputs]` laid out for [`Int8Matrix::multiply`].
#[derive(Debug)]
pub(crate) struct Int8Matrix {
    packed: Vec<i8>,
    scales: Vec<f32>,
    outputs: usize,
    quads: usize,
    kernel: Kernel,
}

impl Int8Matrix {
    /// `weights` `[outputs, inputs]` row-major, between -127 and 127, and a scale for each row. Missing values are zero.
    #[must_use]
    pub(crate) fn new(weights: &[i8], scales: &[f32], (outputs, inputs): (usize, usize)) -> Self {
        Self::for_kernel(weights, scales, (outputs, inputs), Kernel::best())
    }

    /// Rounds a matrix of `f32` row by row.
    #[must_use]
    pub(crate) fn rounded(weights: &[f32], (outputs, inputs): (usize, usize)) -> Self {
        let mut values = vec![0i8; outputs * inputs];
        let rows = weights.chunks_exact(inputs.max(1)).zip(values.chunks_exact_mut(inputs.max(1)));
        let scales: Vec<f32> = rows.map(|(row, values)| quantise_row(row, values).0).collect();
        Self::new(&values, &scales, (outputs, inputs))
    }

    fn for_kernel(weights: &[i8], scales: &[f32], (outputs, inputs): (usize, usize), kernel: Kernel) -> Self {
        let (blocks, quads) = (outputs.div_ceil(ROWS), inputs.div_ceil(QUAD));
        let mut packed = vec![0i8; blocks * quads * STEP];
        for (number, block) in packed.chunks_exact_mut((quads * STEP).max(1)).enumerate() {
            for (quad, step) in block.chunks_exact_mut(STEP).enumerate() {
                for (row, cells) in step.chunks_exact_mut(QUAD).enumerate() {
                    let output = number * ROWS + row;
                    let start = output * inputs + quad * QUAD;
                    let end = (start + QUAD).min((output + 1) * inputs);
                    if let Some(from) = (output < outputs).then(|| weights.get(start..end)).flatten() {
                        cells.iter_mut().zip(from).for_each(|(cell, w)| *cell = *w);
                    }
                }
            }
        }
        if kernel == Kernel::Avx512Vnni {
            // Its instruction multiplies unsigned by signed: 128 is added here and taken off the sums again.
            packed.iter_mut().for_each(|w| *w ^= i8::MIN);
        }
        let mut scales = scales.to_vec();
        scales.resize(blocks * ROWS, 0.0);
        Self { packed, scales, outputs, quads, kernel }
    }

    /// `out[tokens, outputs] = x · selfᵀ`, plus `bias` `[outputs]` where there is one. Gives `false`, and leaves `out` as it
    /// was, when the shapes do not fit.
    #[must_use]
    pub(crate) fn multiply(&self, x: Rows<'_>, bias: Option<&[f32]>, crew: &mut Crew<'_>, out: &mut [f32]) -> bool {
        if x.stride != self.quads * QUAD
            || out.len() != x.tokens() * self.outputs
            || bias.is_some_and(|bias| bias.len() != self.outputs)
        {
            return false;
        }
        let blocks = self.scales.len() / ROWS;
        // Parts of whole tiles, some for each thread, so that one that is interrupted holds up little.
        let parts = if crew.threads() > 1 { 3 * crew.threads() } else { 1 };
        let part = blocks.div_ceil(parts).next_multiple_of(TILE_BLOCKS);
        let out = Cells::new(out);
        crew.run(blocks.div_ceil(part.max(1)), &|task| {
            // SAFETY: a task's blocks, and so its columns, are its own.
            unsafe { self.multiply_blocks(x, bias, task * part..blocks.min((task + 1) * part), &out) }
        });
        true
    }

    /// The outputs of some blocks, for all tokens.
    ///
    /// # Safety
    /// No other reference to these columns of `out` `[tokens, outputs]` may live at the same time.
    unsafe fn multiply_blocks(&self, x: Rows<'_>, bias: Option<&[f32]>, blocks: Range<usize>, out: &Cells<'_>) {
        let mut block = blocks.start;
        while block < blocks.end {
            let wide = if blocks.end - block >= TILE_BLOCKS { TILE_BLOCKS } else { 1 };
            let (first, size) = (block * ROWS, self.quads * STEP);
            let last = (first + wide * ROWS).min(self.outputs);
            let (Some(weights), Some(scales)) =
                (self.packed.get(block * size..(block + wide) * size), self.scales.get(first..first + wide * ROWS))
            else {
                return;
            };
            let bias = bias.and_then(|bias| bias.get(first..last));
            let mut token = 0;
            while token < x.tokens() {
                let many = (x.tokens() - token).min(TILE_TOKENS);
                let (Some(values), Some(x_scales), Some(x_sums)) = (
                    x.values.get(token * x.stride..(token + many) * x.stride),
                    x.scales.get(token..token + many),
                    x.sums.get(token..token + many),
                ) else {
                    return;
                };
                let tile = Tile { weights, values, scales, bias, x_scales, x_sums, shape: (many, wide, self.quads) };
                // SAFETY: the caller vouches for these columns.
                let row = |t: usize| unsafe { out.at((token + t) * self.outputs + first, last - first) };
                match self.kernel {
                    #[cfg(target_arch = "x86_64")]
                    Kernel::Avx512Vnni => x86::avx512_vnni(&tile, row),
                    _ => tile.by_sums(self.kernel, row),
                }
                token += many;
            }
            block += wide;
        }
    }
}

/// A product of some tokens with some blocks of rows, small enough for the registers.
struct Tile<'a> {
    /// `[wide, quads, STEP]`.
    weights: &'a [i8],
    /// `[many, quads · QUAD]`.
    values: &'a [i8],
    /// `[wide · ROWS]`.
    scales: &'a [f32],
    /// As many as there are outputs, at most `wide · ROWS`.
    bias: Option<&'a [f32]>,
    /// `[many]`.
    x_scales: &'a [f32],
    /// `[many]`.
    x_sums: &'a [i32],
    /// Tokens, blocks and quads.
    shape: (usize, usize, usize),
}

impl Tile<'_> {
    /// Whole sums first, then their scales; `row` gives a token's outputs.
    fn by_sums<'o>(&self, kernel: Kernel, row: impl Fn(usize) -> &'o mut [f32]) {
        let mut sums = [[0i32; ROWS]; TILE_BLOCKS * TILE_TOKENS];
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => x86::avx2(self.weights, self.values, self.shape, &mut sums),
            _ => portable(self.weights, self.values, self.shape, &mut sums),
        }
        let (many, wide, _) = self.shape;
        for ((t, sums), scale) in sums.chunks_exact(wide).enumerate().take(many).zip(self.x_scales) {
            write_out(sums.as_flattened(), (*scale, self.scales), self.bias, row(t));
        }
    }
}

/// Most tokens and blocks of a tile: 24 sums, four weights and a token's quad stay in the 32 registers of AVX-512.
const TILE_TOKENS: usize = 6;
const TILE_BLOCKS: usize = 4;

super::vectorised! {
    /// `out = sums · scale of the token · scale of the row + bias`.
    fn write_out(sums: &[i32], scale: (f32, &[f32]), bias: Option<&[f32]>, out: &mut [f32]) -> () {
        let (scale, scales) = scale;
        #[expect(clippy::cast_precision_loss, reason = "sums are below 2^24 for rows of up to 1,040 inputs, and rounded beyond")]
        for ((o, sum), row) in out.iter_mut().zip(sums).zip(scales) {
            *o = *sum as f32 * scale * row;
        }
        if let Some(bias) = bias {
            out.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
        }
    }
}

fn portable(
    weights: &[i8],
    values: &[i8],
    (many, wide, quads): (usize, usize, usize),
    sums: &mut [[i32; ROWS]; TILE_BLOCKS * TILE_TOKENS],
) {
    let tokens = values.chunks_exact((quads * QUAD).max(1)).take(many);
    for (token, sums) in tokens.zip(sums.chunks_exact_mut(wide)) {
        for (block, sums) in weights.chunks_exact((quads * STEP).max(1)).zip(sums) {
            *sums = [0; ROWS];
            for (step, quad) in block.as_chunks::<STEP>().0.iter().zip(token.as_chunks::<QUAD>().0) {
                for (sum, cells) in sums.iter_mut().zip(step.as_chunks::<QUAD>().0) {
                    *sum += cells.iter().zip(quad).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum::<i32>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Every kernel of this machine against the sum it stands for, over shapes that fill no tile.
    #[test]
    fn kernels_agree_with_the_plain_sum_to_the_last_bit() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (tokens, inputs, outputs) in [(1, 384, 1152), (7, 10, 33), (13, 384, 384), (6, 4, 64), (5, 129, 80)] {
            let mut weights: Vec<i8> = (0..outputs * inputs).map(|_| rng.random_range(-127..=127)).collect();
            weights[..inputs].fill(127);
            let scales: Vec<f32> = (0..outputs).map(|_| rng.random_range(0.001..0.1)).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut x: Vec<f32> = (0..tokens * inputs).map(|_| rng.random_range(-3.0..3.0)).collect();
            x[..inputs].fill(2.5);
            let mut activations = Activations::default();
            activations.quantise(&x, inputs);
            let mut expected = vec![0.0; tokens * outputs];
            for t in 0..tokens {
                for o in 0..outputs {
                    let values = &activations.values[t * activations.stride..];
                    let sum: i32 = (0..inputs).map(|i| i32::from(values[i]) * i32::from(weights[o * inputs + i])).sum();
                    expected[t * outputs + o] = sum as f32 * activations.scales[t] * scales[o] + bias[o];
                }
            }
            for kernel in Kernel::here() {
                let matrix = Int8Matrix::for_kernel(&weights, &scales, (outputs, inputs), kernel);
                let mut out = vec![0.0; tokens * outputs];
                assert!(matrix.multiply(activations.rows(), Some(&bias), &mut Crew::alone(), &mut out));
                for (i, (got, want)) in out.iter().zip(&expected).enumerate() {
                    // The scales are multiplied with fused rounding where the processor has it.
                    assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "{kernel:?} at {i}: {got}, not {want}");
                }
                let mut shared = vec![0.0; tokens * outputs];
                let (mut pool, rows) = (super::super::Pool::new(2), activations.rows());
                assert!(matrix.multiply(rows, Some(&bias), &mut Crew::of(&mut pool), &mut shared));
                assert_eq!(shared, out, "threads change nothing");
                let short = &mut out[1..];
                assert!(!matrix.multiply(rows, None, &mut Crew::alone(), short), "shapes are checked");
            }
        }
    }

    #[test]
    fn rounding_stays_within_half_a_step() {
        let x = [0.0, 1.0, -2.0, 0.013, 0.5, -0.25, 1.999, 0.0, 0.0, 0.0];
        let mut activations = Activations::default();
        activations.quantise(&x, 5);
        assert_eq!((activations.scales.len(), activations.stride), (2, 8));
        for (t, row) in x.chunks(5).enumerate() {
            let mut sum = 0;
            for (i, x) in row.iter().enumerate() {
                let value = activations.values[t * 8 + i];
                sum += i32::from(value);
                assert!((f32::from(value) * activations.scales[t] - x).abs() <= activations.scales[t] * 0.501);
            }
            assert_eq!(sum, activations.sums[t]);
        }
        activations.quantise(&[2.0; 10], 5);
        assert!(activations.values.chunks(8).all(|row| row[5..] == [0; 3]), "what was there before is no padding");
        activations.quantise(&[0.0; 8], 4);
        assert!(activations.scales.iter().all(|s| *s == 0.0), "nothing stays nothing");
        let matrix = Int8Matrix::rounded(&[1.0, 0.5, -1.0, 0.25], (2, 2));
        activations.quantise(&[1.0, 1.0], 2);
        let mut out = [0.0; 2];
        assert!(matrix.multiply(activations.rows(), None, &mut Crew::alone(), &mut out));
        assert!((out[0] - 1.5).abs() < 0.01 && (out[1] + 0.75).abs() < 0.01, "{out:?}");
    }
}
