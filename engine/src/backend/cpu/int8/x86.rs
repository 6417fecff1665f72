//! The sums of a tile with x86's vector instructions.
#![expect(unsafe_code, reason = "vector instructions and unchecked reads inside bounds that are checked on entry")]

use std::arch::x86_64::{
    __m256i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_si256,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_sub_epi32,
};

use super::{QUAD, ROWS, STEP, TILE_BLOCKS, TILE_TOKENS, Tile};

type Sums = [[i32; ROWS]; TILE_BLOCKS * TILE_TOKENS];

fn fits(weights: &[i8], values: &[i8], (many, wide, quads): (usize, usize, usize)) -> bool {
    weights.len() == wide * quads * STEP && values.len() == many * quads * QUAD && many <= TILE_TOKENS
}

/// The tile's weights hold unsigned bytes (128 added), its values signed ones; `row` gives a token's outputs. The caller has found
/// AVX-512 VNNI.
pub(super) fn avx512_vnni<'o>(tile: &Tile<'_>, row: impl Fn(usize) -> &'o mut [f32]) {
    let (many, wide, _) = tile.shape;
    if !fits(tile.weights, tile.values, tile.shape) || tile.scales.len() != wide * ROWS {
        return;
    }
    if tile.x_scales.len() != many || tile.x_sums.len() != many {
        return;
    }
    // SAFETY: `Kernel::here` found the instructions; `fits` and the comparisons above checked that the slices reach as far as
    // the shape says.
    unsafe {
        match (many, wide) {
            (1, TILE_BLOCKS) => vnni_tile::<1, TILE_BLOCKS>(tile, 0, row),
            (2, TILE_BLOCKS) => vnni_tile::<2, TILE_BLOCKS>(tile, 0, row),
            (3, TILE_BLOCKS) => vnni_tile::<3, TILE_BLOCKS>(tile, 0, row),
            (4, TILE_BLOCKS) => vnni_tile::<4, TILE_BLOCKS>(tile, 0, row),
            (5, TILE_BLOCKS) => vnni_tile::<5, TILE_BLOCKS>(tile, 0, row),
            (6, TILE_BLOCKS) => vnni_tile::<6, TILE_BLOCKS>(tile, 0, row),
            _ => (0..many).for_each(|token| vnni_tile::<1, 1>(tile, token, &row)),
        }
    }
}

/// `T` tokens from `token` on with the first `B` blocks.
///
/// # Safety
/// AVX-512 VNNI is there; the tile's slices reach over `B` blocks and over `T` tokens from `token` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni_tile<'o, const T: usize, const B: usize>(
    tile: &Tile<'_>,
    token: usize,
    row: impl Fn(usize) -> &'o mut [f32],
) {
    let quads = tile.shape.2;
    let size = quads * STEP;
    let mut acc = [[_mm512_setzero_si512(); B]; T];
    // SAFETY: `quad` is below `quads`, so every read lies inside what the caller vouches for.
    unsafe {
        let (w, v) = (tile.weights.as_ptr(), tile.values.as_ptr().add(token * quads * QUAD));
        for quad in 0..quads {
            let mut rows = [_mm512_setzero_si512(); B];
            for (b, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_si512(w.add(b * size + quad * STEP).cast());
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                let four = _mm512_set1_epi32(v.add((t * quads + quad) * QUAD).cast::<i32>().read_unaligned());
                for (acc, row) in acc.iter_mut().zip(rows) {
                    *acc = _mm512_dpbusd_epi32(*acc, row, four);
                }
            }
        }
    }
    // SAFETY: a token's scale and sum are there, a block has 16 scales, and the masks end where the outputs do.
    unsafe {
        for (t, acc) in acc.iter().enumerate() {
            let out = row(token + t);
            let offset = _mm512_set1_epi32(128 * *tile.x_sums.get_unchecked(token + t));
            let scale = _mm512_set1_ps(*tile.x_scales.get_unchecked(token + t));
            for (b, acc) in acc.iter().enumerate() {
                let left = out.len().saturating_sub(b * ROWS);
                let mask = if left >= ROWS { u16::MAX } else { (1u16 << left) - 1 };
                let scales = _mm512_mul_ps(scale, _mm512_loadu_ps(tile.scales.as_ptr().add(b * ROWS)));
                let bias = match tile.bias {
                    Some(bias) if bias.len() == out.len() => {
                        _mm512_maskz_loadu_ps(mask, bias.as_ptr().wrapping_add(b * ROWS))
                    }
                    _ => _mm512_setzero_ps(),
                };
                let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(*acc, offset));
                let to = out.as_mut_ptr().wrapping_add(b * ROWS);
                _mm512_mask_storeu_ps(to, mask, _mm512_fmadd_ps(sums, scales, bias));
            }
        }
    }
}

/// `weights` and `values` hold signed bytes between -127 and 127. The caller has found AVX2.
pub(super) fn avx2(weights: &[i8], values: &[i8], shape: (usize, usize, usize), sums: &mut Sums) {
    if !fits(weights, values, shape) {
        return;
    }
    let (many, wide, quads) = shape;
    for block in 0..wide {
        let mut token = 0;
        while token < many {
            let mut some = [[0; ROWS]; 3];
            // SAFETY: as above; `step` tokens from `token` on are inside `many`.
            let step = unsafe {
                let (w, v) = (weights.as_ptr().add(block * quads * STEP), values.as_ptr().add(token * quads * QUAD));
                match many - token {
                    1 => avx2_tile::<1>(w, v, quads, &mut some),
                    2 => avx2_tile::<2>(w, v, quads, &mut some),
                    _ => avx2_tile::<3>(w, v, quads, &mut some),
                }
            };
            for (t, from) in some.iter().take(step).enumerate() {
                if let Some(to) = sums.get_mut((token + t) * wide + block) {
                    *to = *from;
                }
            }
            token += step;
        }
    }
}

/// # Safety
/// AVX2 is there; `w` reaches over one block and `v` over `T` tokens of `quads` quads.
#[target_feature(enable = "avx2")]
unsafe fn avx2_tile<const T: usize>(w: *const i8, v: *const i8, quads: usize, sums: &mut [[i32; ROWS]; 3]) -> usize {
    let mut acc = [[_mm256_setzero_si256(); 2]; T];
    let ones = _mm256_set1_epi16(1);
    for quad in 0..quads {
        // SAFETY: `quad` is below `quads`, so every read lies inside what the caller vouches for.
        unsafe {
            for half in 0..2 {
                let row = _mm256_loadu_si256(w.add(quad * STEP + half * 32).cast::<__m256i>());
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
    for (sum, acc) in sums.iter_mut().zip(acc) {
        for (half, acc) in acc.into_iter().enumerate() {
            // SAFETY: a row of sums is two halves of 32 bytes.
            unsafe { _mm256_storeu_si256(sum.as_mut_ptr().add(half * 8).cast::<__m256i>(), acc) };
        }
    }
    T
}
