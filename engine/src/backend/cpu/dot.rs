//! Products of `f32` rows: `out[t][r] = row_r · x_t`.
//!
//! Each sum is made in the same order however many rows and tokens are computed together, so that a token's numbers do
//! not depend on its neighbours.
#![expect(unsafe_code, reason = "vector loads take pointers; every one lies within slices whose lengths are checked")]
#![expect(clippy::indexing_slicing, reason = "hot loops over slices cut to equal length at the top")]

use super::isa::Isa;

/// The products of `rows` (each `k` long, `stride` apart) with the vectors of `xs` (each `k` long), to `out`
/// `[xs, rows]`.
pub(crate) fn products(
    isa: Isa,
    rows: &[f32],
    (count, stride, k): (usize, usize, usize),
    xs: &[&[f32]],
    out: &mut [f32],
) {
    assert!(count == 0 || (count - 1) * stride + k <= rows.len(), "rows are there");
    assert!(xs.iter().all(|x| x.len() >= k) && out.len() >= xs.len() * count, "vectors are as long as they say");
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has these instructions, and the lengths were checked.
        Isa::Avx512 => unsafe { avx512::products(rows, (count, stride, k), xs, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::products(rows, (count, stride, k), xs, out) },
        _ => {
            for (x, out) in xs.iter().zip(out.chunks_exact_mut(count.max(1))) {
                for (row, out) in (0..count).zip(out) {
                    *out = super::dot(&rows[row * stride..row * stride + k], &x[..k]);
                }
            }
        }
    }
}

/// `out += Σ weight_j · row_j`, rows `stride` apart and as long as `out`.
pub(crate) fn mix(isa: Isa, rows: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
    assert!(weights.is_empty() || (weights.len() - 1) * stride + out.len() <= rows.len(), "rows are there");
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has these instructions.
        Isa::Avx512 => unsafe { avx512::mix(rows, stride, weights, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::mix(rows, stride, weights, out) },
        _ => mix_plain(rows, stride, weights, out),
    }
}

#[inline(always)]
fn mix_plain(rows: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
    let width = out.len();
    let row = |j: usize| &rows[j * stride..j * stride + width];
    let (fours, rest) = weights.as_chunks::<4>();
    for (j, [a, b, c, d]) in fours.iter().enumerate() {
        let (first, second, third, fourth) = (row(4 * j), row(4 * j + 1), row(4 * j + 2), row(4 * j + 3));
        for ((((o, p), q), r), s) in out.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
            *o += (a * p + b * q) + (c * r + d * s);
        }
    }
    for (j, weight) in rest.iter().enumerate() {
        out.iter_mut().zip(row(4 * fours.len() + j)).for_each(|(o, r)| *o += weight * r);
    }
}

/// The loop over tiles, the same for every instruction set.
macro_rules! tiled {
    ($rows:ident, $count:ident, $stride:ident, $xs:ident, $k:ident, $out:ident) => {{
        let row = |r: usize| $rows.as_ptr().add(r * $stride);
        let mut r = 0;
        while r + 4 <= $count {
            let at = [row(r), row(r + 1), row(r + 2), row(r + 3)];
            let mut t = 0;
            while t + 2 <= $xs.len() {
                let sums = tile::<4, 2>(at, [$xs[t].as_ptr(), $xs[t + 1].as_ptr()], $k);
                for i in 0..4 {
                    $out[t * $count + r + i] = sums[i][0];
                    $out[(t + 1) * $count + r + i] = sums[i][1];
                }
                t += 2;
            }
            if t < $xs.len() {
                let sums = tile::<4, 1>(at, [$xs[t].as_ptr()], $k);
                (0..4).for_each(|i| $out[t * $count + r + i] = sums[i][0]);
            }
            r += 4;
        }
        while r < $count {
            for (t, x) in $xs.iter().enumerate() {
                let [[sum]] = tile::<1, 1>([row(r)], [x.as_ptr()], $k);
                $out[t * $count + r] = sum;
            }
            r += 1;
        }
    }};
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
    pub(super) unsafe fn products(
        rows: &[f32],
        (count, stride, k): (usize, usize, usize),
        xs: &[&[f32]],
        out: &mut [f32],
    ) {
        // SAFETY: `products` above checked that all rows and vectors are `k` long.
        unsafe { tiled!(rows, count, stride, xs, k, out) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
    unsafe fn tile<const R: usize, const T: usize>(
        rows: [*const f32; R],
        xs: [*const f32; T],
        k: usize,
    ) -> [[f32; T]; R] {
        let mut sums = [[_mm512_setzero_ps(); T]; R];
        let mut i = 0;
        // SAFETY: the caller promises `k` numbers at each pointer; the last load is masked to what is left.
        unsafe {
            while i + 16 <= k {
                let x = xs.map(|x| _mm512_loadu_ps(x.add(i)));
                for r in 0..R {
                    let w = _mm512_loadu_ps(rows[r].add(i));
                    for t in 0..T {
                        sums[r][t] = _mm512_fmadd_ps(w, x[t], sums[r][t]);
                    }
                }
                i += 16;
            }
            if i < k {
                let mask = (1u16 << (k - i)) - 1;
                let x = xs.map(|x| _mm512_maskz_loadu_ps(mask, x.add(i)));
                for r in 0..R {
                    let w = _mm512_maskz_loadu_ps(mask, rows[r].add(i));
                    for t in 0..T {
                        sums[r][t] = _mm512_fmadd_ps(w, x[t], sums[r][t]);
                    }
                }
            }
        }
        let mut out = [[0.0; T]; R];
        for r in 0..R {
            for t in 0..T {
                out[r][t] = _mm512_reduce_add_ps(sums[r][t]);
            }
        }
        out
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
    pub(super) unsafe fn mix(rows: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
        super::mix_plain(rows, stride, weights, out);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn products(
        rows: &[f32],
        (count, stride, k): (usize, usize, usize),
        xs: &[&[f32]],
        out: &mut [f32],
    ) {
        // SAFETY: `products` above checked that all rows and vectors are `k` long.
        unsafe { tiled!(rows, count, stride, xs, k, out) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const R: usize, const T: usize>(
        rows: [*const f32; R],
        xs: [*const f32; T],
        k: usize,
    ) -> [[f32; T]; R] {
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        let mut i = 0;
        let mut out = [[0.0; T]; R];
        // SAFETY: the caller promises `k` numbers at each pointer.
        unsafe {
            while i + 8 <= k {
                let x = xs.map(|x| _mm256_loadu_ps(x.add(i)));
                for r in 0..R {
                    let w = _mm256_loadu_ps(rows[r].add(i));
                    for t in 0..T {
                        sums[r][t] = _mm256_fmadd_ps(w, x[t], sums[r][t]);
                    }
                }
                i += 8;
            }
            for r in 0..R {
                for t in 0..T {
                    let half = _mm_add_ps(_mm256_castps256_ps128(sums[r][t]), _mm256_extractf128_ps::<1>(sums[r][t]));
                    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                    out[r][t] = _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
                    for j in i..k {
                        out[r][t] += *rows[r].add(j) * *xs[t].add(j);
                    }
                }
            }
        }
        out
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn mix(rows: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
        super::mix_plain(rows, stride, weights, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u16) -> Vec<f32> {
        (0..count).map(|i| f32::from(u16::try_from(i * 7919 % 997).unwrap() ^ seed) / 500.0 - 1.0).collect()
    }

    #[test]
    fn products_are_sums_and_do_not_depend_on_their_neighbours() {
        for (count, k) in [(1, 5), (4, 16), (7, 100), (9, 130)] {
            let stride = k + 3;
            let (rows, x) = (numbers(count * stride, 3), numbers(3 * k, 9));
            let xs: Vec<&[f32]> = x.chunks(k).collect();
            for isa in Isa::all() {
                let mut out = vec![0.0; 3 * count];
                products(isa, &rows, (count, stride, k), &xs, &mut out);
                for t in 0..3 {
                    for r in 0..count {
                        let want: f64 = (0..k).map(|i| f64::from(rows[r * stride + i]) * f64::from(xs[t][i])).sum();
                        assert!((f64::from(out[t * count + r]) - want).abs() < 1e-4, "{isa:?}");
                        let mut alone = [0.0];
                        products(isa, &rows[r * stride..], (1, stride, k), &xs[t..=t], &mut alone);
                        assert_eq!(alone[0].to_bits(), out[t * count + r].to_bits(), "{isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_mix_is_the_weighted_sum() {
        let rows = numbers(40, 1);
        for isa in Isa::all() {
            let mut out = [1.0; 5];
            mix(isa, &rows, 10, &[2.0, -1.0, 0.5], &mut out);
            for (i, out) in out.iter().enumerate() {
                assert!((out - (1.0 + 2.0 * rows[i] - rows[10 + i] + 0.5 * rows[20 + i])).abs() < 1e-5);
            }
        }
    }
}
