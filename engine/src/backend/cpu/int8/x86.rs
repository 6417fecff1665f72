//! A strip's products with x86's vector instructions.
#![expect(unsafe_code, reason = "vector instructions and unchecked reads inside bounds that are checked on entry")]

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_abs_epi8, _mm256_add_epi32, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_sign_epi8, _mm256_storeu_si256, _mm512_abs_ps, _mm512_add_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps,
    _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_max_ps,
    _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_reduce_max_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_storeu_ps, _mm512_sub_epi32,
};

use super::{QUAD, Rows, STEP, STRIP, Strip, Sums, TOKENS};

/// Outputs of one register.
const LANES: usize = 16;
/// Registers of a strip.
const WIDE: usize = STRIP / LANES;

/// The strip's weights hold unsigned bytes (128 added), the tokens' values signed ones. `out` has room for a strip of every
/// token. The caller has found AVX-512 VNNI.
pub(super) fn avx512_vnni(strip: &Strip<'_>, x: Rows<'_>, (out, stride): (&mut [f32], usize)) {
    let (many, quads) = (x.tokens(), strip.quads);
    let reads = strip.weights.len() == quads * STEP && x.values.len() == many * quads * QUAD && x.sums.len() == many;
    if !reads || many == 0 || stride < STRIP || out.len() < (many - 1) * stride + STRIP {
        return;
    }
    let out = (out.as_mut_ptr(), stride);
    // SAFETY: `Kernel::here` found the instructions; the comparisons above say that the slices reach as far as the shape.
    unsafe {
        match many {
            1 => vnni::<1>(strip, x, out),
            2 => vnni::<2>(strip, x, out),
            3 => vnni::<3>(strip, x, out),
            4 => vnni::<4>(strip, x, out),
            5 => vnni::<5>(strip, x, out),
            6 => vnni::<6>(strip, x, out),
            7 => vnni::<7>(strip, x, out),
            TOKENS => vnni::<TOKENS>(strip, x, out),
            _ => {}
        }
    }
}

/// Weights are fetched so many bytes before they are needed: with few tokens an expert's weights come from far away, and the
/// processor's own foresight ends at every page.
const AHEAD: usize = 12 << 10;

/// `T` tokens with a strip.
///
/// # Safety
/// AVX-512 VNNI is there; the strip is whole, `x` has `T` tokens of as many quads, and `out` room for a strip of each.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni<const T: usize>(strip: &Strip<'_>, x: Rows<'_>, (out, stride): (*mut f32, usize)) {
    let (w, v, quads) = (strip.weights.as_ptr(), x.values.as_ptr(), strip.quads);
    let mut acc = [[_mm512_setzero_si512(); WIDE]; T];
    for quad in 0..quads {
        // SAFETY: `quad` is below `quads`, so every read lies inside what the caller vouches for. The additions wrap only
        // so that no check stands in the loop of a build with checks.
        unsafe {
            let step = w.wrapping_add(quad.wrapping_mul(STEP));
            _mm_prefetch::<_MM_HINT_T0>(step.wrapping_add(AHEAD));
            _mm_prefetch::<_MM_HINT_T0>(step.wrapping_add(AHEAD + 64));
            _mm_prefetch::<_MM_HINT_T0>(step.wrapping_add(AHEAD + 128));
            let rows: [_; WIDE] = [
                _mm512_loadu_si512(step.cast()),
                _mm512_loadu_si512(step.wrapping_add(64).cast()),
                _mm512_loadu_si512(step.wrapping_add(128).cast()),
            ];
            for (t, acc) in acc.iter_mut().enumerate() {
                let at = v.wrapping_add(t.wrapping_mul(quads).wrapping_add(quad).wrapping_mul(QUAD));
                let four = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                for (acc, row) in acc.iter_mut().zip(rows) {
                    *acc = _mm512_dpbusd_epi32(*acc, row, four);
                }
            }
        }
    }
    // SAFETY: a token's scale and sum are there, and `out` has room for its strip.
    unsafe {
        for (t, acc) in acc.into_iter().enumerate() {
            let offset = _mm512_set1_epi32(128 * *x.sums.get_unchecked(t));
            let scale = _mm512_set1_ps(*x.scales.get_unchecked(t));
            for (b, acc) in acc.into_iter().enumerate() {
                let scales = _mm512_mul_ps(scale, _mm512_loadu_ps(strip.scales.as_ptr().add(b * LANES)));
                let bias = _mm512_loadu_ps(strip.bias.as_ptr().add(b * LANES));
                let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, offset));
                _mm512_storeu_ps(out.add(t * stride + b * LANES), _mm512_fmadd_ps(sums, scales, bias));
            }
        }
    }
}

/// One row to int8: its scale and the sum of its values. `row` is a multiple of 16 long and `values` as long. The caller has
/// found AVX-512.
pub(super) fn quantise_row(row: &[f32], values: &mut [i8]) -> (f32, i32) {
    // SAFETY: the caller has found the instructions.
    unsafe { quantise(row.as_chunks::<LANES>().0, values.as_chunks_mut::<LANES>().0) }
}

/// # Safety
/// AVX-512 is there.
#[target_feature(enable = "avx512f")]
unsafe fn quantise(row: &[[f32; LANES]], values: &mut [[i8; LANES]]) -> (f32, i32) {
    // SAFETY: registers are as long as the chunks that are read and written.
    unsafe {
        let mut highest = _mm512_setzero_ps();
        for chunk in row {
            highest = _mm512_max_ps(highest, _mm512_abs_ps(_mm512_loadu_ps(chunk.as_ptr())));
        }
        let highest = _mm512_reduce_max_ps(highest);
        let factor = _mm512_set1_ps(if highest > 0.0 { 127.0 / highest } else { 0.0 });
        let mut sum = _mm512_setzero_si512();
        for (chunk, values) in row.iter().zip(values) {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(chunk.as_ptr()), factor));
            sum = _mm512_add_epi32(sum, whole);
            _mm_storeu_si128(values.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(whole));
        }
        (highest / 127.0, _mm512_reduce_add_epi32(sum))
    }
}

/// Outputs that AVX2 takes together.
const HALF: usize = 8;

/// `weights` and `values` hold signed bytes between -127 and 127. The caller has found AVX2.
pub(super) fn avx2(weights: &[i8], values: &[i8], (many, quads): (usize, usize), sums: &mut Sums) {
    if weights.len() != quads * STEP || values.len() != many * quads * QUAD || many > TOKENS {
        return;
    }
    for first in (0..STRIP).step_by(2 * HALF) {
        let mut token = 0;
        while token < many {
            // SAFETY: AVX2 was found; 16 of the strip's outputs and up to three tokens from `token` on are there.
            let (step, some) = unsafe {
                let (w, v) = (weights.as_ptr().add(first * QUAD), values.as_ptr().add(token * quads * QUAD));
                match many - token {
                    1 => (1, avx2_tile::<1>(w, v, quads)),
                    2 => (2, avx2_tile::<2>(w, v, quads)),
                    _ => (3, avx2_tile::<3>(w, v, quads)),
                }
            };
            for (to, from) in sums.iter_mut().skip(token).zip(some.iter().take(step)) {
                to.iter_mut().skip(first).zip(from).for_each(|(to, from)| *to = *from);
            }
            token += step;
        }
    }
}

/// # Safety
/// AVX2 is there; `w` reaches over 16 outputs of a strip and `v` over `T` tokens of `quads` quads.
#[target_feature(enable = "avx2")]
unsafe fn avx2_tile<const T: usize>(w: *const i8, v: *const i8, quads: usize) -> [[i32; 2 * HALF]; 3] {
    let mut acc = [[_mm256_setzero_si256(); 2]; T];
    let ones = _mm256_set1_epi16(1);
    for quad in 0..quads {
        // SAFETY: `quad` is below `quads`, so every read lies inside what the caller vouches for.
        unsafe {
            for half in 0..2 {
                let row = _mm256_loadu_si256(w.add(quad * STEP + half * HALF * QUAD).cast::<__m256i>());
                let size = _mm256_abs_epi8(row);
                for (t, acc) in acc.iter_mut().enumerate() {
                    let four = _mm256_set1_epi32(v.add((t * quads + quad) * QUAD).cast::<i32>().read_unaligned());
                    // |w| · (x with w's sign): two products of at most 127 · 127 fit into 16 bits.
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(four, row));
                    if let Some(acc) = acc.get_mut(half) {
                        *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
        }
    }
    let mut sums = [[0; 2 * HALF]; 3];
    for (sum, acc) in sums.iter_mut().zip(acc) {
        for (half, acc) in acc.into_iter().enumerate() {
            // SAFETY: a row of sums is two halves of 32 bytes.
            unsafe { _mm256_storeu_si256(sum.as_mut_ptr().add(half * HALF).cast::<__m256i>(), acc) };
        }
    }
    sums
}
