//! Products of 4-bit codes in groups of 128 (see [`Format::I4`](crate::weights::stored::Format)) with rounded activations.
#![expect(unsafe_code, reason = "vector loads take pointers; every one lies within slices whose lengths are checked")]
#![expect(clippy::indexing_slicing, reason = "hot loops over slices whose lengths are checked at the top")]

use super::isa::Isa;
use super::spans::{Row, SPAN};
use crate::weights::stored::GROUP;

/// Rows of codes with the scales and zeros of their groups.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// `[rows, k/2]`.
    pub(crate) codes: &'a [u8],
    /// `[rows, k/GROUP]`.
    pub(crate) scales: &'a [f32],
    /// `[rows, k/GROUP]`.
    pub(crate) zeros: &'a [u8],
}

/// The products of `count` rows, each `k` inputs long, with rounded vectors, to `out` `[xs, count]`.
pub(crate) fn products(isa: Isa, rows: Rows<'_>, (count, k): (usize, usize), xs: &[Row<'_>], out: &mut [f32]) {
    let groups = k / GROUP;
    assert!(k.is_multiple_of(GROUP) && count * k / 2 <= rows.codes.len(), "rows are there");
    assert!(
        count * groups <= rows.scales.len().min(rows.zeros.len()) && out.len() >= xs.len() * count,
        "rows are there"
    );
    assert!(
        xs.iter().all(|x| x.codes.len() >= k && x.scales.len().min(x.sums.len()) >= k / SPAN),
        "vectors are as long"
    );
    for (t, x) in xs.iter().enumerate() {
        for r in 0..count {
            let codes = &rows.codes[r * k / 2..(r + 1) * k / 2];
            let (scales, zeros) =
                (&rows.scales[r * groups..(r + 1) * groups], &rows.zeros[r * groups..(r + 1) * groups]);
            out[t * count + r] = match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has these instructions, and the lengths were checked.
                Isa::Avx512 => unsafe { avx512(codes, scales, zeros, *x) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::Avx2 => unsafe { avx2(codes, scales, zeros, *x) },
                _ => plain(codes, scales, zeros, *x),
            };
        }
    }
}

fn plain(codes: &[u8], scales: &[f32], zeros: &[u8], x: Row<'_>) -> f32 {
    let mut sum = 0.0;
    for (g, codes) in codes.chunks_exact(GROUP / 2).enumerate() {
        let x_codes = &x.codes[g * GROUP..(g + 1) * GROUP];
        let (mut low, mut high) = (0i32, 0i32);
        for (i, byte) in codes.iter().enumerate() {
            low += i32::from(byte & 15) * i32::from(x_codes[i]);
            high += i32::from(byte >> 4) * i32::from(x_codes[i + SPAN]);
        }
        let offset = f32::from(zeros[g]) * (x.sums[2 * g] + x.sums[2 * g + 1]);
        sum += scales[g] * (low as f32 * x.scales[2 * g] + high as f32 * x.scales[2 * g + 1] - offset);
    }
    sum
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn avx512(codes: &[u8], scales: &[f32], zeros: &[u8], x: Row<'_>) -> f32 {
    use std::arch::x86_64::*;
    let (mut sum, mut offset) = (_mm512_setzero_ps(), 0.0f32);
    let mask = _mm512_set1_epi8(15);
    for (g, codes) in codes.chunks_exact(GROUP / 2).enumerate() {
        // SAFETY: `products` checked that a group has 64 bytes of codes, 128 of activations and two scales.
        unsafe {
            let both = _mm512_loadu_si512(codes.as_ptr().cast());
            let low = _mm512_and_si512(both, mask);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), mask);
            let at = x.codes.as_ptr().add(g * GROUP);
            let low = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_loadu_si512(at.cast()));
            let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), high, _mm512_loadu_si512(at.add(SPAN).cast()));
            let scale = *scales.get_unchecked(g);
            let (first, second) = (*x.scales.get_unchecked(2 * g), *x.scales.get_unchecked(2 * g + 1));
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(low), _mm512_set1_ps(scale * first), sum);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(scale * second), sum);
            let sums = *x.sums.get_unchecked(2 * g) + *x.sums.get_unchecked(2 * g + 1);
            offset += scale * f32::from(*zeros.get_unchecked(g)) * sums;
        }
    }
    _mm512_reduce_add_ps(sum) - offset
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(codes: &[u8], scales: &[f32], zeros: &[u8], x: Row<'_>) -> f32 {
    use std::arch::x86_64::*;
    let (mut sum, mut offset) = (_mm256_setzero_ps(), 0.0f32);
    let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for (g, codes) in codes.chunks_exact(GROUP / 2).enumerate() {
        let scale = scales[g];
        for half in 0..2 {
            // SAFETY: `products` checked that a group has 64 bytes of codes and 128 of activations.
            let (low, high) = unsafe {
                let both = _mm256_loadu_si256(codes.as_ptr().add(32 * half).cast());
                let at = x.codes.as_ptr().add(g * GROUP + 32 * half);
                let low = _mm256_and_si256(both, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), mask);
                (
                    _mm256_maddubs_epi16(low, _mm256_loadu_si256(at.cast())),
                    _mm256_maddubs_epi16(high, _mm256_loadu_si256(at.add(SPAN).cast())),
                )
            };
            let (low, high) = (_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low), _mm256_set1_ps(scale * x.scales[2 * g]), sum);
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(scale * x.scales[2 * g + 1]), sum);
        }
        offset += scale * f32::from(zeros[g]) * (x.sums[2 * g] + x.sums[2 * g + 1]);
    }
    let half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair))) - offset
}

#[cfg(test)]
mod tests {
    use super::super::spans::Rounded;
    use super::*;

    #[test]
    fn products_are_those_of_the_numbers_that_codes_stand_for() {
        let (count, k) = (5, 256);
        let codes: Vec<u8> = (0..count * k / 2).map(|i| u8::try_from(i * 7919 % 256).unwrap()).collect();
        let scales: Vec<f32> = (0..count * 2).map(|i| 0.01 + i as f32 / 100.0).collect();
        let zeros: Vec<u8> = (0..count * 2).map(|i| u8::try_from(i).unwrap()).collect();
        let x: Vec<f32> = (0..2 * k).map(|i| f32::from(u8::try_from(i * 31 % 251).unwrap()) / 99.0 - 1.2).collect();
        let rows = Rows { codes: &codes, scales: &scales, zeros: &zeros };
        for isa in Isa::all() {
            let mut rounded = Rounded::default();
            rounded.reserve(2, k);
            x.chunks(k).enumerate().for_each(|(row, x)| rounded.round(isa, row, x));
            let xs = [rounded.row(0), rounded.row(1)];
            let mut out = vec![0.0; 2 * count];
            products(isa, rows, (count, k), &xs, &mut out);
            for t in 0..2 {
                for r in 0..count {
                    let want: f64 = (0..k)
                        .map(|i| {
                            let (g, within) = (i / GROUP, i % GROUP);
                            let byte = codes[r * k / 2 + g * 64 + within % 64];
                            let code = if within < 64 { byte & 15 } else { byte >> 4 };
                            let weight = f64::from(scales[r * 2 + g]) * (f64::from(code) - f64::from(zeros[r * 2 + g]));
                            weight * f64::from(xs[t].scales[i / SPAN]) * f64::from(xs[t].codes[i])
                        })
                        .sum();
                    let got = f64::from(out[t * count + r]);
                    assert!((got - want).abs() < 1e-4 * want.abs() + 1e-3, "{isa:?}: {got} {want}");
                }
            }
        }
    }
}
