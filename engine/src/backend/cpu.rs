//! The operations on the CPU, in `f32`. Matrices are row-major slices; the caller states their shapes.

mod attend;
mod cells;
mod device;
mod dot;
mod feed_forward;
mod int4;
mod isa;
mod memory;
pub(crate) mod narrow;
mod pool;
mod product;
mod route;
pub(crate) mod self_attention;
mod spans;

pub(crate) use cells::Cells;
pub(crate) use device::{Cpu, MOST_HEADS};
pub(crate) use pool::{Crew, Pool, read_bandwidth};

use std::sync::OnceLock;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeError};

pub(crate) mod int8;

/// Defines a function whose body is compiled three times, for AVX-512, AVX2 and the processor the program was built for, and
/// a dispatcher that takes the first that this machine has. The body is plain Rust: the compiler turns its loops into
/// vector instructions.
macro_rules! vectorised {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) -> $result:ty $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "as many as the operation has")]
        #[expect(unsafe_code, reason = "calls of functions that need instructions, after asking for them")]
        $vis fn $name($($arg: $kind),*) -> $result {
            #[inline(always)]
            fn body($($arg: $kind),*) -> $result $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
                fn avx512($($arg: $kind),*) -> $result {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $kind),*) -> $result {
                    body($($arg),*)
                }
                match $crate::backend::cpu::level() {
                    // SAFETY: `level` asked the processor for these instructions.
                    $crate::backend::cpu::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: the same.
                    $crate::backend::cpu::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::backend::cpu::Level::Plain => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use vectorised;

/// Which vector instructions plain loops are compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// 512 bits.
    Avx512,
    /// 256 bits with fused multiplication and addition.
    Avx2,
    /// What the program was built for.
    Plain,
}

/// What this processor has.
#[must_use]
#[inline]
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Plain
    })
}

/// `out[n, outputs] = x[n, inputs] · weightᵀ`, where `weight` is `[outputs, inputs]`, plus `bias` where there is one.
///
/// # Errors
/// When a slice is not as long as the shapes say.
pub(crate) fn linear(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (n, inputs, outputs): (usize, usize, usize),
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let start = if let Some(bias) = bias {
        out.chunks_exact_mut(outputs.max(1)).for_each(|row| row.copy_from_slice(bias));
        1.0
    } else {
        0.0
    };
    let (x, weight) = (ArrayView2::from_shape((n, inputs), x)?, ArrayView2::from_shape((outputs, inputs), weight)?);
    general_mat_mul(1.0, &x, &weight.t(), start, &mut ArrayViewMut2::from_shape((n, outputs), out)?);
    Ok(())
}

vectorised! {
    /// `out[n, outputs] = x[n, inputs] · weightᵀ + bias` where there are few outputs: packing matrices would take longer than
    /// multiplying them. `inputs` is what the rows' lengths say.
    pub(crate) fn few(x: &[f32], weight: &[f32], bias: Option<&[f32]>, inputs: usize, out: &mut [f32]) -> () {
        let outputs = weight.len().checked_div(inputs).unwrap_or(0);
        for (x, out) in x.chunks_exact(inputs.max(1)).zip(out.chunks_exact_mut(outputs.max(1))) {
            for (o, row) in out.iter_mut().zip(weight.chunks_exact(inputs.max(1))) {
                *o = product(x, row);
            }
            if let Some(bias) = bias {
                out.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
            }
        }
    }
}

vectorised! {
    /// `gelu(x) = x/2 · (1 + erf(x/√2))` in place (Hendrycks and Gimpel 2016, the exact form that BERT was trained with).
    pub(crate) fn gelu(values: &mut [f32]) -> () {
        for x in values {
            *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

/// The logistic function.
#[must_use]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26), without branches so that it vectorises.
#[must_use]
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152_1 + t * 1.061_405_4))));
    (1.0 - poly * exp(-a * a)).copysign(x)
}

/// The exponential to 2 ulp for `x` in -87..88, 0 or the largest value outside (Cephes' `expf`), without branches.
#[must_use]
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // n is a whole number between -126 and 127: adding it to the exponent's bits multiplies by 2^n.
    let bits = (n + 12_582_912.0).to_bits().wrapping_sub(12_582_912.0f32.to_bits());
    f32::from_bits(y.to_bits().wrapping_add(bits << 23))
}

vectorised! {
    /// Softmax of one row in place.
    pub(crate) fn softmax(row: &mut [f32]) -> () {
        let (chunks, rest) = row.as_chunks_mut::<16>();
        let mut highest = [f32::NEG_INFINITY; 16];
        for chunk in chunks.iter() {
            for (h, x) in highest.iter_mut().zip(chunk) {
                *h = if *x > *h { *x } else { *h };
            }
        }
        let highest = highest.iter().chain(rest.iter()).copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0f32; 16];
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = exp(*x - highest);
                *sum += *x;
            }
        }
        let mut sum: f32 = sums.iter().sum();
        for x in rest {
            *x = exp(*x - highest);
            sum += *x;
        }
        let factor = 1.0 / sum;
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

vectorised! {
    /// `out += factor · x`.
    pub(crate) fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) -> () {
        out.iter_mut().zip(x).for_each(|(o, x)| *o += factor * x);
    }
}

vectorised! {
    /// The scalar product.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        product(a, b)
    }
}

/// The scalar product in sixteen partial sums so that it vectorises, to be compiled into its caller.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a16, a_rest), (b16, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0f32; 16];
    for (x, y) in a16.iter().zip(b16) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
}

vectorised! {
    /// Adds `branch` to `x` where there is one and normalises each row: `(x - mean) / √(variance + ε) · weight + bias`.
    pub(crate) fn normalise(x: &mut [f32], branch: Option<&[f32]>, weight: &[f32], bias: &[f32], epsilon: f32) -> () {
        if let Some(branch) = branch {
            x.iter_mut().zip(branch).for_each(|(x, b)| *x += b);
        }
        let width = weight.len().max(1);
        #[expect(clippy::cast_precision_loss, reason = "row widths are far below 2^24")]
        let count = width as f32;
        for row in x.chunks_exact_mut(width) {
            let mean = total(row, |v| v) / count;
            let variance = total(row, |v| (v - mean) * (v - mean)) / count;
            let factor = 1.0 / (variance + epsilon).sqrt();
            for ((v, w), b) in row.iter_mut().zip(weight).zip(bias) {
                *v = (*v - mean) * factor * w + b;
            }
        }
    }
}

/// The sum of `f` over a row in sixteen partial sums.
#[inline(always)]
fn total(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += f(*v));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|v| f(*v)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_matches_the_sum_it_stands_for() {
        let (x, w, b) = ([1.0, 2.0, -1.0, 0.5], [3.0, 4.0, -1.0, 2.0, 0.0, 1.0], [0.1, 0.2, 0.3]);
        let mut out = [9.0; 6];
        linear(&x, &w, Some(&b), (2, 2, 3), &mut out).unwrap();
        for (got, want) in out.iter().zip([11.1, 3.2, 2.3, -0.9, 2.2, 0.8]) {
            assert!((got - want).abs() < 1e-6, "{out:?}");
        }
        assert!(linear(&x, &w, None, (2, 3, 2), &mut out).is_err(), "shapes are checked");
        let mut same = [9.0; 6];
        few(&x, &w, Some(&b), 2, &mut same);
        linear(&x, &w, Some(&b), (2, 2, 3), &mut out).unwrap();
        assert!(same.iter().zip(&out).all(|(a, b)| (a - b).abs() < 1e-6), "{same:?}");
    }

    #[test]
    fn functions_are_as_exact_as_they_say() {
        for i in -4000..4000i16 {
            let x = f32::from(i) / 50.0;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / want - 1.0).abs() < 3e-7, "exp({x}) = {got}, not {want}");
        }
        // Values of erf from the tables of Abramowitz and Stegun.
        for (x, want) in [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (4.0, 1.0)] {
            assert!((erf(x) - want).abs() < 3e-7, "erf({x})");
        }
        let mut g = [1.0, -1.0];
        gelu(&mut g);
        assert!((g[0] - 0.841_344_7).abs() < 1e-6 && (g[1] + 0.158_655_3).abs() < 1e-6);
    }

    #[test]
    fn softmax_sums_to_one_even_for_large_scores() {
        let mut row = [1000.0, 1001.0, -1000.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6 && row[2] < 1e-30);
        assert!((row[1] / row[0] - std::f32::consts::E).abs() < 1e-5);
    }

    #[test]
    fn dot_counts_every_element() {
        let a: Vec<f32> = (0..19u8).map(f32::from).collect();
        assert_eq!(dot(&a, &a), 2109.0);
    }
}
