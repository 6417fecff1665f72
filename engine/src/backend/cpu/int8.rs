//! Products of int8 matrices: weights with one scale a row, activations with one scale a token, sums in `i32`.
//!
//! The machine's instructions are asked for when the program runs: AVX-512 VNNI multiplies 64 pairs with one instruction,
//! AVX2 takes four, and plain Rust serves every other processor. All three add the same whole numbers, so that
//! their answers are equal to the last bit.
//!
//! Weights lie in blocks of 16 rows; inside a block, four inputs of every row stand together. A step reads 64 bytes of
//! weights and four bytes of a token, and its 16 sums are 16 neighbouring outputs: nothing is added across a register.

use std::sync::OnceLock;

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
    tokens: usize,
    stride: usize,
}

impl Activations {
    /// Rounds `x` `[tokens, inputs]` to the nearest of 255 steps between a token's largest value and its negative.
    pub(crate) fn quantise(&mut self, x: &[f32], inputs: usize) {
        self.stride = inputs.next_multiple_of(QUAD);
        self.tokens = x.len().checked_div(inputs).unwrap_or(0);
        self.values.resize(self.tokens * self.stride, 0);
        self.scales.resize(self.tokens, 0.0);
        self.sums.resize(self.tokens, 0);
        let rows = x.chunks_exact(inputs.max(1)).zip(self.values.chunks_exact_mut(self.stride.max(1)));
        for (((row, values), scale), sum) in rows.zip(&mut self.scales).zip(&mut self.sums) {
            (*scale, *sum) = quantise_row(row, values);
        }
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
    pub(crate) fn multiply(&self, x: &Activations, bias: Option<&[f32]>, out: &mut [f32]) -> bool {
        if x.stride != self.quads * QUAD
            || out.len() != x.tokens * self.outputs
            || bias.is_some_and(|bias| bias.len() != self.outputs)
        {
            return false;
        }
        let mut sums = [[0i32; ROWS]; TILE_BLOCKS * TILE_TOKENS];
        let blocks = self.scales.len() / ROWS;
        let mut block = 0;
        while block < blocks {
            let wide = if blocks - block >= TILE_BLOCKS { TILE_BLOCKS } else { 1 };
            let mut token = 0;
            while token < x.tokens {
                let many = (x.tokens - token).min(TILE_TOKENS);
                self.tile(x, (token, many), (block, wide), &mut sums);
                for (t, sums) in sums.chunks_exact(wide).take(many).enumerate() {
                    let (Some(&scale), Some(&sum)) = (x.scales.get(token + t), x.sums.get(token + t)) else { continue };
                    let offset = if self.kernel == Kernel::Avx512Vnni { 128 * sum } else { 0 };
                    let first = block * ROWS;
                    let last = (first + wide * ROWS).min(self.outputs);
                    let row = (token + t) * self.outputs;
                    let (Some(out), Some(scales)) =
                        (out.get_mut(row + first..row + last), self.scales.get(first..last))
                    else {
                        continue;
                    };
                    write_out(sums.as_flattened(), offset, (scale, scales), bias.and_then(|b| b.get(first..last)), out);
                }
                token += many;
            }
            block += wide;
        }
        true
    }

    /// Sums of `many` tokens from `token` on with `wide` blocks of rows from `block` on: `sums[token * wide + block]`.
    fn tile(
        &self,
        x: &Activations,
        (token, many): (usize, usize),
        (block, wide): (usize, usize),
        sums: &mut [[i32; ROWS]; TILE_BLOCKS * TILE_TOKENS],
    ) {
        let size = self.quads * STEP;
        let (Some(weights), Some(values)) = (
            self.packed.get(block * size..(block + wide) * size),
            x.values.get(token * x.stride..(token + many) * x.stride),
        ) else {
            return;
        };
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => x86::avx512_vnni(weights, values, (many, wide, self.quads), sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => x86::avx2(weights, values, (many, wide, self.quads), sums),
            _ => portable(weights, values, (many, wide, self.quads), sums),
        }
    }
}

/// Most tokens and blocks of a tile: 24 sums, four weights and a token's quad stay in the 32 registers of AVX-512.
const TILE_TOKENS: usize = 6;
const TILE_BLOCKS: usize = 4;

super::vectorised! {
    /// `out = (sums - offset) · scale of the token · scale of the row + bias`.
    fn write_out(sums: &[i32], offset: i32, scale: (f32, &[f32]), bias: Option<&[f32]>, out: &mut [f32]) -> () {
        let (scale, scales) = scale;
        #[expect(clippy::cast_precision_loss, reason = "sums are below 2^24 for rows of up to 1,040 inputs, and rounded beyond")]
        for ((o, sum), row) in out.iter_mut().zip(sums).zip(scales) {
            *o = (sum - offset) as f32 * scale * row;
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
                assert!(matrix.multiply(&activations, Some(&bias), &mut out));
                for (i, (got, want)) in out.iter().zip(&expected).enumerate() {
                    // The scales are multiplied with fused rounding where the processor has it.
                    assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "{kernel:?} at {i}: {got}, not {want}");
                }
                assert!(!matrix.multiply(&activations, None, &mut out[1..]), "shapes are checked");
            }
        }
    }

    #[test]
    fn rounding_stays_within_half_a_step() {
        let x = [0.0, 1.0, -2.0, 0.013, 0.5, -0.25, 1.999, 0.0, 0.0, 0.0];
        let mut activations = Activations::default();
        activations.quantise(&x, 5);
        assert_eq!((activations.tokens, activations.stride), (2, 8));
        for (t, row) in x.chunks(5).enumerate() {
            let mut sum = 0;
            for (i, x) in row.iter().enumerate() {
                let value = activations.values[t * 8 + i];
                sum += i32::from(value);
                assert!((f32::from(value) * activations.scales[t] - x).abs() <= activations.scales[t] * 0.501);
            }
            assert_eq!(sum, activations.sums[t]);
        }
        activations.quantise(&[0.0; 8], 4);
        assert!(activations.scales.iter().all(|s| *s == 0.0), "nothing stays nothing");
        let matrix = Int8Matrix::rounded(&[1.0, 0.5, -1.0, 0.25], (2, 2));
        activations.quantise(&[1.0, 1.0], 2);
        let mut out = [0.0; 2];
        assert!(matrix.multiply(&activations, None, &mut out));
        assert!((out[0] - 1.5).abs() < 0.01 && (out[1] + 0.75).abs() < 0.01, "{out:?}");
    }
}
