//! A head's arithmetic with AVX-512: sums stay in registers, and products are added in one instruction.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{Arithmetic, Head, LANES, Lanes, Memory, QUERIES};
use crate::backend::cpu::{Cells, exp};

/// As [`super::listen`].
///
/// # Safety
/// The processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) unsafe fn listen(head: &Head<'_>, memory: &mut Memory, out: &Cells<'_>, to: (usize, usize)) {
    super::listen::<Avx512>(head, memory, out, to);
}

/// Used by [`listen`] alone, which says what processor it is for.
struct Avx512;

#[inline(always)]
fn load(from: &Lanes) -> __m512 {
    // SAFETY: a register is as long as `from`; the instruction is there (see `Avx512`).
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline(always)]
fn store(to: &mut Lanes, value: __m512) {
    // SAFETY: as in `load`.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
}

#[inline(always)]
fn add_product(sum: &mut __m512, a: f32, b: __m512) {
    // SAFETY: the instructions are there (see `Avx512`).
    *sum = unsafe { _mm512_fmadd_ps(_mm512_set1_ps(a), b, *sum) };
}

#[inline(always)]
fn zero() -> __m512 {
    // SAFETY: the instruction is there (see `Avx512`).
    unsafe { _mm512_setzero_ps() }
}

impl Arithmetic for Avx512 {
    #[inline(always)]
    fn score<const C: usize>(keys: [&[Lanes]; C], queries: &[[f32; QUERIES]], (out, stride): (&mut [f32], usize)) {
        let mut sums = [[zero(); C]; QUERIES];
        let keys = keys.map(|keys| &keys[..queries.len()]);
        for (d, query) in queries.iter().enumerate() {
            let keys = keys.map(|keys| load(&keys[d]));
            for (sums, q) in sums.iter_mut().zip(query) {
                for (sum, key) in sums.iter_mut().zip(keys) {
                    add_product(sum, *q, key);
                }
            }
        }
        for (row, sums) in out.chunks_mut(stride).zip(sums) {
            for (to, sum) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                store(to, sum);
            }
        }
    }

    #[inline(always)]
    fn weigh(scores: &mut [f32]) -> f32 {
        let chunks = scores.as_chunks_mut::<LANES>().0;
        let highest = chunks.iter().fold([f32::MIN; LANES], |mut highest, chunk| {
            // SAFETY: the instruction is there (see `Avx512`).
            let higher = unsafe { _mm512_max_ps(load(&highest), load(chunk)) };
            store(&mut highest, higher);
            highest
        });
        // SAFETY: as above.
        let highest = unsafe { _mm512_reduce_max_ps(load(&highest)) };
        let mut sum = zero();
        for chunk in chunks {
            chunk.iter_mut().for_each(|score| *score = exp(*score - highest));
            // SAFETY: as above.
            sum = unsafe { _mm512_add_ps(sum, load(chunk)) };
        }
        // SAFETY: as above.
        1.0 / unsafe { _mm512_reduce_add_ps(sum) }
    }

    #[inline(always)]
    fn mix<const P: usize>(values: [&[Lanes]; P], weights: [&[f32]; QUERIES]) -> [[Lanes; QUERIES]; P] {
        let length = weights[0].len();
        let (values, weights) = (values.map(|v| &v[..length]), weights.map(|w| &w[..length]));
        let mut sums = [[zero(); QUERIES]; P];
        for j in 0..length {
            let values = values.map(|values| load(&values[j]));
            for (t, weights) in weights.iter().enumerate() {
                for (sums, values) in sums.iter_mut().zip(values) {
                    add_product(&mut sums[t], weights[j], values);
                }
            }
        }
        sums.map(|sums| {
            sums.map(|sum| {
                let mut out = [0.0; LANES];
                store(&mut out, sum);
                out
            })
        })
    }
}
