//! Products of int8 matrices: weights with one scale a row, activations with one scale a token, sums in `i32`.
//!
//! The machine's instructions are asked for when the program runs: AVX-512 VNNI multiplies 64 pairs with one instruction,
//! AVX2 takes four, and plain Rust serves every other processor. All three add the same whole numbers, so that
//! their answers are equal to the last bit but for the rounding of the scales.
//!
//! Weights lie in strips of 48 rows, in the order in which they are read: for each four inputs, those of all 48 rows. A
//! step reads 192 bytes of weights and four bytes of up to eight tokens; its sums, 48 neighbouring outputs of each token,
//! stay in registers, and nothing is added across a register.
#![expect(unsafe_code, reason = "a strip's outputs are written through a pointer that is checked before")]

use std::ops::Range;
use std::sync::OnceLock;

use super::Cells;

#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows of weights in a strip.
pub(crate) const STRIP: usize = 48;
/// Most tokens that are multiplied together: 24 sums, three weights and a token's quad stay in the 32 registers of AVX-512.
pub(crate) const TOKENS: usize = 8;
/// Inputs of a row that stand together.
const QUAD: usize = 4;
/// Bytes of a strip for one quad of inputs.
const STEP: usize = STRIP * QUAD;

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

    /// All vectors.
    #[must_use]
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, scales: &self.scales, sums: &self.sums, stride: self.stride }
    }

    /// All vectors, to be written.
    #[must_use]
    pub(crate) fn rows_mut(&mut self) -> RowsMut<'_> {
        RowsMut { values: &mut self.values, scales: &mut self.scales, sums: &mut self.sums, stride: self.stride }
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

    /// Some of them; none where there are not so many.
    #[must_use]
    pub(crate) fn some(&self, range: Range<usize>) -> Self {
        let Self { values, scales, sums, stride } = *self;
        Self {
            values: values.get(range.start * stride..range.end * stride).unwrap_or_default(),
            scales: scales.get(range.clone()).unwrap_or_default(),
            sums: sums.get(range).unwrap_or_default(),
            stride,
        }
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
    /// Rounds as many rows of `x` `[rows, inputs]` to the nearest of 255 steps between a token's largest value and its
    /// negative.
    pub(crate) fn quantise(&mut self, x: &[f32], inputs: usize) {
        let rows = x.chunks_exact(inputs.max(1)).zip(self.values.chunks_exact_mut(self.stride.max(1)));
        for (((row, values), scale), sum) in rows.zip(self.scales.iter_mut()).zip(self.sums.iter_mut()) {
            (*scale, *sum) = quantise_row(row, values);
        }
    }

    /// Copies the rows of `from` that `tokens` names.
    pub(crate) fn gather(&mut self, from: Rows<'_>, tokens: &[usize]) {
        let rows =
            self.values.chunks_exact_mut(self.stride.max(1)).zip(self.scales.iter_mut()).zip(self.sums.iter_mut());
        for (token, ((values, scale), sum)) in tokens.iter().zip(rows) {
            let row = from.some(*token..token + 1);
            if let ([s], [total]) = (row.scales, row.sums)
                && row.values.len() == values.len()
            {
                values.copy_from_slice(row.values);
                (*scale, *sum) = (*s, *total);
            }
        }
    }
}

/// One row to int8: its scale and the sum of its values.
fn quantise_row(row: &[f32], values: &mut [i8]) -> (f32, i32) {
    #[cfg(target_arch = "x86_64")]
    if Kernel::best() == Kernel::Avx512Vnni && row.len().is_multiple_of(16) && row.len() == values.len() {
        return x86::quantise_row(row, values);
    }
    quantise_plain(row, values)
}

super::vectorised! {
    fn quantise_plain(row: &[f32], values: &mut [i8]) -> (f32, i32) {
        let mut highest = [0.0f32; 16];
        let (chunks, rest) = row.as_chunks::<16>();
        for chunk in chunks {
            for (h, x) in highest.iter_mut().zip(chunk) {
                *h = if x.abs() > *h { x.abs() } else { *h };
            }
        }
        let highest = highest.iter().chain(rest).fold(0.0f32, |h, x| h.max(x.abs()));
        let factor = if highest > 0.0 { 127.0 / highest } else { 0.0 };
        let mut sums = [0i32; 16];
        let (whole_chunks, whole_rest) = values.as_chunks_mut::<16>();
        for (values, chunk) in whole_chunks.iter_mut().zip(chunks) {
            for ((v, x), sum) in values.iter_mut().zip(chunk).zip(&mut sums) {
                let whole = nearest(x * factor);
                *sum += whole;
                *v = low_byte(whole);
            }
        }
        let mut sum: i32 = sums.iter().sum();
        let behind = whole_chunks.iter_mut().skip(chunks.len()).flatten().chain(whole_rest);
        for (place, v) in behind.enumerate() {
            let whole = rest.get(place).map_or(0, |x| nearest(x * factor));
            sum += whole;
            *v = low_byte(whole);
        }
        (highest / 127.0, sum)
    }
}

/// The nearest whole number to `x` between -127 and 127: adding 1.5 · 2^23 rounds, and the low bits are that number.
#[inline(always)]
fn nearest(x: f32) -> i32 {
    (x + 12_582_912.0).to_bits().wrapping_sub(12_582_912.0f32.to_bits()).cast_signed()
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "between -127 and 127")]
fn low_byte(whole: i32) -> i8 {
    whole as i8
}

/// An int8 matrix `[outputs, inputs]` with a bias, laid out for [`Int8Matrix::multiply`].
#[derive(Debug)]
pub(crate) struct Int8Matrix {
    /// `[strips, quads, STRIP, QUAD]`.
    packed: Vec<i8>,
    /// `[strips · STRIP]`.
    scales: Vec<f32>,
    /// `[strips · STRIP]`.
    bias: Vec<f32>,
    outputs: usize,
    quads: usize,
    kernel: Kernel,
}

impl Int8Matrix {
    /// Rounds a matrix of `f32` row by row. Rounding finds the steps of weights that were stored as int8 again: their
    /// largest value is 127 of them. A missing bias is zero.
    #[must_use]
    pub(crate) fn rounded(weights: &[f32], bias: &[f32], (outputs, inputs): (usize, usize)) -> Self {
        let mut values = vec![0i8; outputs * inputs];
        let rows = weights.chunks_exact(inputs.max(1)).zip(values.chunks_exact_mut(inputs.max(1)));
        let scales: Vec<f32> = rows.map(|(row, values)| quantise_row(row, values).0).collect();
        Self::for_kernel(&values, (&scales, bias), (outputs, inputs), Kernel::best())
    }

    /// `weights` `[outputs, inputs]` row-major, between -127 and 127, a scale and a bias for each row.
    fn for_kernel(
        weights: &[i8],
        (scales, bias): (&[f32], &[f32]),
        (outputs, inputs): (usize, usize),
        kernel: Kernel,
    ) -> Self {
        let (strips, quads) = (outputs.div_ceil(STRIP), inputs.div_ceil(QUAD));
        let mut packed = vec![0i8; strips * quads * STEP];
        for (number, strip) in packed.chunks_exact_mut((quads * STEP).max(1)).enumerate() {
            for (quad, step) in strip.chunks_exact_mut(STEP).enumerate() {
                for (row, cells) in step.chunks_exact_mut(QUAD).enumerate() {
                    let output = number * STRIP + row;
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
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(strips * STRIP, 0.0);
            values
        };
        Self { packed, scales: padded(scales), bias: padded(bias), outputs, quads, kernel }
    }

    /// `out[tokens, outputs] = x · selfᵀ + bias`. Gives `false`, and leaves `out` as it was, when the shapes do not fit.
    #[must_use]
    pub(crate) fn multiply(&self, x: Rows<'_>, out: &mut [f32]) -> bool {
        if x.stride != self.quads * QUAD || out.len() != x.tokens() * self.outputs {
            return false;
        }
        // Groups of nearly equal size: eight and one would take longer than five and four.
        let groups = x.tokens().div_ceil(TOKENS).max(1);
        let parts = self.packed.chunks_exact((self.quads * STEP).max(1));
        let columns = self.scales.as_chunks::<STRIP>().0.iter().zip(self.bias.as_chunks::<STRIP>().0);
        // A strip stays in the nearest cache while all tokens meet it.
        for (number, (weights, (scales, bias))) in parts.zip(columns).enumerate() {
            let strip = Strip { weights, scales, bias, quads: self.quads };
            let (first, width) = (number * STRIP, STRIP.min(self.outputs - number * STRIP));
            for group in 0..groups {
                let range = group * x.tokens() / groups..(group + 1) * x.tokens() / groups;
                let some = x.some(range.clone());
                if width == STRIP {
                    let Some(out) = out.get_mut(range.start * self.outputs + first..range.end * self.outputs) else {
                        return false;
                    };
                    strip.multiply(self.kernel, some, (out, self.outputs));
                } else {
                    let mut whole = [0.0; TOKENS * STRIP];
                    strip.multiply(self.kernel, some, (&mut whole, STRIP));
                    let rows = out.chunks_exact_mut(self.outputs).skip(range.start).take(range.len());
                    for (row, whole) in rows.zip(whole.as_chunks::<STRIP>().0) {
                        row.iter_mut().skip(first).zip(whole).for_each(|(o, w)| *o = *w);
                    }
                }
            }
        }
        true
    }
}

/// 48 rows of weights.
struct Strip<'a> {
    /// `[quads, STRIP, QUAD]`.
    weights: &'a [i8],
    scales: &'a [f32; STRIP],
    bias: &'a [f32; STRIP],
    quads: usize,
}

/// Sums of up to [`TOKENS`] tokens with a strip.
type Sums = [[i32; STRIP]; TOKENS];

impl Strip<'_> {
    /// The strip's outputs for up to [`TOKENS`] tokens, at the start of rows of `out` that are `stride` apart.
    fn multiply(&self, kernel: Kernel, x: Rows<'_>, (out, stride): (&mut [f32], usize)) {
        #[cfg(target_arch = "x86_64")]
        if kernel == Kernel::Avx512Vnni {
            return x86::avx512_vnni(self, x, (out, stride));
        }
        let mut sums: Sums = [[0; STRIP]; TOKENS];
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => x86::avx2(self.weights, x.values, (x.tokens(), self.quads), &mut sums),
            _ => portable(self.weights, x.values, self.quads, &mut sums),
        }
        for ((row, sums), scale) in out.chunks_mut(stride.max(1)).zip(&sums).zip(x.scales) {
            write_out(sums, (*scale, self.scales), self.bias, row);
        }
    }
}

super::vectorised! {
    /// `out = sums · scale of the token · scale of the row + bias`.
    fn write_out(sums: &[i32; STRIP], scale: (f32, &[f32; STRIP]), bias: &[f32; STRIP], out: &mut [f32]) -> () {
        let (scale, scales) = scale;
        #[expect(clippy::cast_precision_loss, reason = "sums are below 2^24 for rows of up to 1,040 inputs, and rounded beyond")]
        for (((o, sum), row), b) in out.iter_mut().zip(sums).zip(scales).zip(bias) {
            *o = *sum as f32 * (scale * row) + b;
        }
    }
}

fn portable(weights: &[i8], values: &[i8], quads: usize, sums: &mut Sums) {
    for (token, sums) in values.chunks_exact((quads * QUAD).max(1)).zip(sums) {
        for (step, quad) in weights.as_chunks::<STEP>().0.iter().zip(token.as_chunks::<QUAD>().0) {
            for (sum, cells) in sums.iter_mut().zip(step.as_chunks::<QUAD>().0) {
                *sum += cells.iter().zip(quad).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rounded(x: &[f32], inputs: usize) -> Activations {
        let mut activations = Activations::default();
        activations.reserve(x.len() / inputs, inputs);
        activations.rows_mut().quantise(x, inputs);
        activations
    }

    /// Every kernel of this machine against the sum it stands for, over shapes that fill no strip.
    #[test]
    fn kernels_agree_with_the_plain_sum_to_the_last_bit() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (tokens, inputs, outputs) in [(1, 384, 1152), (9, 10, 33), (21, 384, 96), (6, 4, 64), (5, 129, 80)] {
            let mut weights: Vec<i8> = (0..outputs * inputs).map(|_| rng.random_range(-127..=127)).collect();
            weights[..inputs].fill(127);
            let scales: Vec<f32> = (0..outputs).map(|_| rng.random_range(0.001..0.1)).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut x: Vec<f32> = (0..tokens * inputs).map(|_| rng.random_range(-3.0..3.0)).collect();
            x[..inputs].fill(2.5);
            let activations = rounded(&x, inputs);
            let mut expected = vec![0.0; tokens * outputs];
            for t in 0..tokens {
                for o in 0..outputs {
                    let values = &activations.values[t * activations.stride..];
                    let sum: i32 = (0..inputs).map(|i| i32::from(values[i]) * i32::from(weights[o * inputs + i])).sum();
                    expected[t * outputs + o] = sum as f32 * activations.scales[t] * scales[o] + bias[o];
                }
            }
            for kernel in Kernel::here() {
                let matrix = Int8Matrix::for_kernel(&weights, (&scales, &bias), (outputs, inputs), kernel);
                let mut out = vec![0.0; tokens * outputs];
                assert!(matrix.multiply(activations.rows(), &mut out));
                for (i, (got, want)) in out.iter().zip(&expected).enumerate() {
                    // The scales are multiplied with fused rounding where the processor has it.
                    assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "{kernel:?} at {i}: {got}, not {want}");
                }
                for token in 0..tokens {
                    let mut alone = vec![0.0; outputs];
                    assert!(matrix.multiply(activations.rows().some(token..token + 1), &mut alone));
                    assert_eq!(alone, out[token * outputs..(token + 1) * outputs], "company changes nothing");
                }
                assert!(!matrix.multiply(activations.rows(), &mut out[1..]), "shapes are checked");
            }
        }
    }

    #[test]
    fn rounding_stays_within_half_a_step() {
        let x = [0.0, 1.0, -2.0, 0.013, 0.5, -0.25, 1.999, 0.0, 0.0, 0.0];
        let mut activations = rounded(&x, 5);
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
        activations.values.fill(9);
        activations.rows_mut().quantise(&[2.0; 10], 5);
        assert!(activations.values.chunks(8).all(|row| row[5..] == [0; 3]), "what was there before is no padding");
        let row: Vec<f32> = (0..96u8).map(|i| (f32::from(i) - 40.3) * 0.37).collect();
        let (mut fast, mut plain) = ([0; 96], [0; 96]);
        assert_eq!(quantise_row(&row, &mut fast), quantise_plain(&row, &mut plain));
        assert_eq!(fast, plain, "both forms round alike");
        let nothing = rounded(&[0.0; 8], 4);
        assert!(nothing.scales.iter().all(|s| *s == 0.0), "nothing stays nothing");
        let wide: Vec<f32> = (0..37u8).map(|i| f32::from(i) - 18.0).collect();
        let wide = rounded(&wide, 37);
        assert_eq!(wide.sums[0], wide.values.iter().map(|v| i32::from(*v)).sum::<i32>());
        let matrix = Int8Matrix::rounded(&[1.0, 0.5, -1.0, 0.25], &[], (2, 2));
        let mut out = [0.0; 2];
        assert!(matrix.multiply(rounded(&[1.0, 1.0], 2).rows(), &mut out));
        assert!((out[0] - 1.5).abs() < 0.01 && (out[1] + 0.75).abs() < 0.01, "{out:?}");
    }

    #[test]
    fn rows_are_gathered_with_their_scales() {
        let from = rounded(&[1.0, 2.0, -3.0, 4.0, 5.0, -6.0], 2);
        let mut some = Activations::default();
        some.reserve(2, 2);
        some.rows_mut().gather(from.rows(), &[2, 0]);
        assert_eq!(some.scales, [from.scales[2], from.scales[0]]);
        assert_eq!(some.sums, [from.sums[2], from.sums[0]]);
        assert_eq!(some.values[..4], from.values[8..12]);
    }
}
