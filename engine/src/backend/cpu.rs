//! The operations on the CPU, in `f32`. Matrices are row-major slices; the caller states their shapes.

mod attend;
mod cells;
mod device;
mod dot;
mod feed_forward;
mod int4;
mod isa;
mod pool;
mod product;
mod route;
mod spans;

pub(crate) use device::{Cpu, MOST_HEADS};
pub(crate) use pool::read_bandwidth;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeError};

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

/// `gelu(x) = x/2 · (1 + erf(x/√2))` in place (Hendrycks and Gimpel 2016, the exact form that BERT was trained with).
pub(crate) fn gelu(values: &mut [f32]) {
    for x in values {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// The logistic function.
#[must_use]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26), without branches so that it vectorises.
#[must_use]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152_1 + t * 1.061_405_4))));
    (1.0 - poly * exp(-a * a)).copysign(x)
}

/// The exponential to 2 ulp for `x` in -87..88, 0 or the largest value outside (Cephes' `expf`), without branches.
#[must_use]
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

/// Softmax of one row in place.
pub(crate) fn softmax(row: &mut [f32]) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = exp(*x - highest);
        sum += *x;
    }
    let factor = 1.0 / sum;
    row.iter_mut().for_each(|x| *x *= factor);
}

/// The scalar product, in eight partial sums so that it vectorises.
#[must_use]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a8, a_rest), (b8, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
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
