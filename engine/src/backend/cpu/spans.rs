//! Products of signed bytes, with activations rounded to bytes too.
//!
//! Activations get a scale for each [`SPAN`] inputs (as in llama.cpp's Q8_0, which has one for each 32), so that one large
//! input does not blur the others. The products of a span are summed exactly in whole numbers.
#![expect(unsafe_code, reason = "vector loads take pointers; every one lies within slices whose lengths are checked")]
#![expect(clippy::indexing_slicing, reason = "hot loops over slices whose lengths are checked at the top")]

use super::isa::Isa;

/// Inputs that share a scale.
pub(crate) const SPAN: usize = 64;

/// Bytes ahead of the weights at hand that are asked for: rows are short, and the processor alone foresees too little.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 6144;

/// Rows of activations rounded to bytes.
#[derive(Default)]
pub(crate) struct Rounded {
    /// `[n, spans · SPAN]`, zero beyond the columns.
    codes: Vec<i8>,
    /// `[n, spans]`.
    scales: Vec<f32>,
    /// `[n, spans]`: the sum of a span's codes times its scale.
    sums: Vec<f32>,
    spans: usize,
}

impl Rounded {
    /// Room for `n` rows of `columns`; what was there is lost.
    pub(crate) fn reserve(&mut self, n: usize, columns: usize) {
        self.spans = columns.div_ceil(SPAN);
        self.codes.resize(n * self.spans * SPAN, 0);
        self.scales.resize(n * self.spans, 0.0);
        self.sums.resize(n * self.spans, 0.0);
    }

    /// Rounds `x` (`columns` of [`Rounded::reserve`] long) to row `row`.
    pub(crate) fn round(&mut self, isa: Isa, row: usize, x: &[f32]) {
        let span = row * self.spans..(row + 1) * self.spans;
        let codes = &mut self.codes[span.start * SPAN..span.end * SPAN];
        let (scales, sums) = (&mut self.scales[span.clone()], &mut self.sums[span]);
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has these instructions.
            Isa::Avx512 => unsafe { avx512::round(x, codes, scales, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::round(x, codes, scales, sums) },
            _ => round(x, codes, scales, sums),
        }
    }

    /// Row `row`.
    #[must_use]
    pub(crate) fn row(&self, row: usize) -> Row<'_> {
        let span = row * self.spans..(row + 1) * self.spans;
        Row {
            codes: &self.codes[span.start * SPAN..span.end * SPAN],
            scales: &self.scales[span.clone()],
            sums: &self.sums[span],
        }
    }
}

/// One row of [`Rounded`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// `[spans · SPAN]`.
    pub(crate) codes: &'a [i8],
    /// `[spans]`.
    pub(crate) scales: &'a [f32],
    /// `[spans]`.
    pub(crate) sums: &'a [f32],
}

#[inline(always)]
fn round(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
    /// Adding it leaves the nearest whole number in the lowest bits.
    const ROUNDING: f32 = 12_582_912.0;
    for (((x, codes), scale), sum) in x.chunks(SPAN).zip(codes.as_chunks_mut::<SPAN>().0).zip(scales).zip(sums) {
        let mut span = [0.0; SPAN];
        span[..x.len()].copy_from_slice(x);
        let mut highest = [0.0f32; 16];
        for part in span.as_chunks::<16>().0 {
            highest.iter_mut().zip(part).for_each(|(h, x)| *h = h.max(x.abs()));
        }
        let highest = highest.iter().copied().fold(0.0, f32::max);
        let factor = if highest > 0.0 { 127.0 / highest } else { 0.0 };
        *scale = highest / 127.0;
        let mut total = 0i32;
        for (code, x) in codes.iter_mut().zip(&span) {
            let [low, ..] = (x * factor + ROUNDING).to_bits().to_le_bytes();
            *code = i8::from_le_bytes([low]);
            total += i32::from(*code);
        }
        *sum = total as f32 * *scale;
    }
}

/// The products of `count` rows of codes (each `k` long, one after another) with rounded vectors, to `out` `[xs, count]`.
/// The rows' own scales are the caller's.
pub(crate) fn products(isa: Isa, rows: &[u8], (count, k): (usize, usize), xs: &[Row<'_>], out: &mut [f32]) {
    let spans = k.div_ceil(SPAN);
    assert!(count * k <= rows.len() && out.len() >= xs.len() * count, "rows are there");
    assert!(xs.iter().all(|x| x.codes.len() >= spans * SPAN && x.scales.len() >= spans), "vectors are as long");
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has these instructions, and the lengths were checked.
        Isa::Avx512 => unsafe { avx512::products(rows, (count, k), xs, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::products(rows, (count, k), xs, out) },
        _ => {
            for (x, out) in xs.iter().zip(out.chunks_exact_mut(count.max(1))) {
                for (row, out) in rows.chunks_exact(k.max(1)).zip(out) {
                    *out = row
                        .chunks(SPAN)
                        .zip(x.codes.chunks(SPAN))
                        .zip(x.scales)
                        .map(|((row, x), scale)| scale * plain(row, x) as f32)
                        .sum();
                }
            }
        }
    }
}

#[inline(always)]
fn plain(row: &[u8], x: &[i8]) -> i32 {
    row.iter().zip(x).map(|(w, x)| i32::from(i8::from_le_bytes([*w])) * i32::from(*x)).sum()
}

/// The loop over tiles, the same for every instruction set.
macro_rules! tiled {
    ($rows:ident, $count:ident, $k:ident, $xs:ident, $out:ident) => {{
        let row = |r: usize| $rows.as_ptr().add(r * $k);
        let mut r = 0;
        while r + 4 <= $count {
            let at = [row(r), row(r + 1), row(r + 2), row(r + 3)];
            let mut t = 0;
            while t + 2 <= $xs.len() {
                let sums = tile::<4, 2>(at, [$xs[t], $xs[t + 1]], $k);
                for i in 0..4 {
                    $out[t * $count + r + i] = sums[i][0];
                    $out[(t + 1) * $count + r + i] = sums[i][1];
                }
                t += 2;
            }
            if t < $xs.len() {
                let sums = tile::<4, 1>(at, [$xs[t]], $k);
                (0..4).for_each(|i| $out[t * $count + r + i] = sums[i][0]);
            }
            r += 4;
        }
        while r < $count {
            for (t, x) in $xs.iter().enumerate() {
                let [[sum]] = tile::<1, 1>([row(r)], [*x], $k);
                $out[t * $count + r] = sum;
            }
            r += 1;
        }
    }};
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{AHEAD, Row, SPAN};

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
    pub(super) unsafe fn round(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
        super::round(x, codes, scales, sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub(super) unsafe fn products(rows: &[u8], (count, k): (usize, usize), xs: &[Row<'_>], out: &mut [f32]) {
        // SAFETY: `products` above checked the lengths of rows and vectors.
        unsafe { tiled!(rows, count, k, xs, out) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn tile<const R: usize, const T: usize>(rows: [*const u8; R], xs: [Row<'_>; T], k: usize) -> [[f32; T]; R] {
        let mut sums = [[_mm512_setzero_ps(); T]; R];
        // The instruction multiplies unsigned by signed bytes: weights are moved up by 128, which is taken off again.
        let lift = _mm512_set1_epi8(-128);
        let mut i = 0;
        // SAFETY: the caller promises `k` bytes at each row, and codes and scales of whole spans at each vector; the last
        // load of a row is masked to what is left.
        unsafe {
            while i < k {
                let mask = if i + SPAN <= k { u64::MAX } else { (1u64 << (k - i)) - 1 };
                let x = xs.map(|x| _mm512_loadu_si512(x.codes.as_ptr().add(i).cast()));
                let scale = xs.map(|x| _mm512_set1_ps(*x.scales.get_unchecked(i / SPAN)));
                let taken = x.map(|x| {
                    _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_dpbusd_epi32(_mm512_setzero_si512(), lift, x))
                });
                for r in 0..R {
                    let at = rows[r].add(i);
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                    let w = _mm512_maskz_loadu_epi8(mask, at.cast());
                    let w = _mm512_xor_si512(w, lift);
                    for t in 0..T {
                        let whole = _mm512_dpbusd_epi32(taken[t], w, x[t]);
                        sums[r][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale[t], sums[r][t]);
                    }
                }
                i += SPAN;
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
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{AHEAD, Row, SPAN};

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn round(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
        super::round(x, codes, scales, sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn products(rows: &[u8], (count, k): (usize, usize), xs: &[Row<'_>], out: &mut [f32]) {
        // SAFETY: `products` above checked the lengths of rows and vectors.
        unsafe { tiled!(rows, count, k, xs, out) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const R: usize, const T: usize>(rows: [*const u8; R], xs: [Row<'_>; T], k: usize) -> [[f32; T]; R] {
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        let ones = _mm256_set1_epi16(1);
        let whole = k / SPAN * SPAN;
        let mut out = [[0.0; T]; R];
        // SAFETY: the caller promises `k` bytes at each row, and codes and scales of whole spans at each vector.
        unsafe {
            let mut i = 0;
            while i < whole {
                let x = xs.map(|x| {
                    let at: *const i8 = x.codes.as_ptr().add(i);
                    [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())]
                });
                let scale = xs.map(|x| _mm256_set1_ps(*x.scales.get_unchecked(i / SPAN)));
                for r in 0..R {
                    let at: *const u8 = rows[r].add(i);
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                    let w = [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())];
                    let size = w.map(|w| _mm256_abs_epi8(w));
                    for t in 0..T {
                        // |w| · sign(w)·x: the pairs' sums stay below 128 · 127 · 2 and do not saturate.
                        let low = _mm256_maddubs_epi16(size[0], _mm256_sign_epi8(x[t][0], w[0]));
                        let high = _mm256_maddubs_epi16(size[1], _mm256_sign_epi8(x[t][1], w[1]));
                        let sum = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
                        sums[r][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale[t], sums[r][t]);
                    }
                }
                i += SPAN;
            }
            for r in 0..R {
                for t in 0..T {
                    let half = _mm_add_ps(_mm256_castps256_ps128(sums[r][t]), _mm256_extractf128_ps::<1>(sums[r][t]));
                    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                    out[r][t] = _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
                    if whole < k {
                        let rest = std::slice::from_raw_parts(rows[r].add(whole), k - whole);
                        let scale = xs[t].scales.get_unchecked(whole / SPAN);
                        out[r][t] += scale * super::plain(rest, xs[t].codes.get_unchecked(whole..)) as f32;
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_for_the_rounded_numbers_with_every_instruction_set() {
        for (count, k) in [(1, 3), (4, 64), (6, 100), (9, 384), (5, 200)] {
            let rows: Vec<u8> = (0..count * k).map(|i| u8::try_from(i * 7919 % 256).unwrap()).collect();
            let x: Vec<f32> = (0..3 * k).map(|i| f32::from(u8::try_from(i * 31 % 251).unwrap()) / 9.0 - 12.0).collect();
            for isa in Isa::all() {
                let mut rounded = Rounded::default();
                rounded.reserve(3, k);
                x.chunks(k).enumerate().for_each(|(row, x)| rounded.round(isa, row, x));
                let xs: Vec<Row<'_>> = (0..3).map(|row| rounded.row(row)).collect();
                let mut out = vec![0.0; 3 * count];
                products(isa, &rows, (count, k), &xs, &mut out);
                for (t, x) in x.chunks(k).enumerate() {
                    for r in 0..count {
                        let row = &rows[r * k..(r + 1) * k];
                        let exact: f32 = (0..k.div_ceil(SPAN))
                            .map(|s| {
                                let end = k.min((s + 1) * SPAN);
                                xs[t].scales[s] * plain(&row[s * SPAN..end], &xs[t].codes[s * SPAN..end]) as f32
                            })
                            .sum();
                        let got = out[t * count + r];
                        assert!((got - exact).abs() <= 1e-5 * exact.abs() + 2e-2, "{isa:?}: {got} {exact}");
                        let true_sum: f32 = row.iter().zip(x).map(|(w, x)| f32::from(w.cast_signed()) * x).sum();
                        let bound: f32 =
                            row.iter().map(|w| f32::from(w.cast_signed()).abs()).sum::<f32>() * 16.0 / 254.0;
                        assert!((got - true_sum).abs() <= bound + 0.1, "rounding is within half a step");
                        let mut alone = [0.0];
                        products(isa, row, (1, k), &xs[t..=t], &mut alone);
                        assert_eq!(alone[0].to_bits(), got.to_bits(), "{isa:?}: neighbours do not matter");
                    }
                }
            }
        }
    }
}
