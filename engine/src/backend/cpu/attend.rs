//! Attention of one token over its sequence's cached rows, and the rotation of positions.
#![expect(clippy::indexing_slicing, reason = "block tables and widths were checked with the batch and the cache")]

use super::dot;
use super::isa::Isa;
use crate::backend::Rope;
use crate::models::causal::BLOCK;

/// The cache of one layer as a sequence sees it.
#[derive(Clone, Copy)]
pub(crate) struct Paged<'a> {
    /// `[blocks · BLOCK, width]`.
    pub(crate) rows: &'a [f32],
    /// Numbers of a row.
    pub(crate) width: usize,
    /// The sequence's blocks.
    pub(crate) blocks: &'a [u32],
}

/// Attends with `queries` (all of one length) to the first `length` rows of a sequence: `keys` and `values` are the
/// columns where keys and values begin, the values as long as each query's part of `out`.
pub(crate) fn attend(
    isa: Isa,
    cache: Paged<'_>,
    length: usize,
    (keys, values): (usize, usize),
    (queries, scale): (&[&[f32]], f32),
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let heads = queries.len();
    let size = queries.first().map_or(0, |query| query.len());
    let value = out.len() / heads.max(1);
    scores.clear();
    scores.resize(heads * length, 0.0);
    let mut part = [0.0; 8 * BLOCK];
    for (number, &block) in cache.blocks.iter().enumerate().take(length.div_ceil(BLOCK)) {
        let first = number * BLOCK;
        let count = BLOCK.min(length - first);
        let rows = &cache.rows[block as usize * BLOCK * cache.width + keys..];
        for (group, queries) in queries.chunks(8).enumerate() {
            dot::products(isa, rows, (count, cache.width, size), queries, &mut part);
            for (head, part) in part.chunks_exact(count).take(queries.len()).enumerate() {
                scores[(8 * group + head) * length + first..][..count].copy_from_slice(part);
            }
        }
    }
    for (scores, out) in scores.chunks_exact_mut(length.max(1)).zip(out.chunks_exact_mut(value.max(1))) {
        let factor = weigh(isa, scores, scale);
        out.fill(0.0);
        for (scores, &block) in scores.chunks(BLOCK).zip(cache.blocks) {
            let rows = &cache.rows[block as usize * BLOCK * cache.width + values..];
            dot::mix(isa, rows, cache.width, scores, out);
        }
        out.iter_mut().for_each(|o| *o *= factor);
    }
}

/// Turns scores into weights `exp(scale · (score - highest))`, and answers what they must be multiplied by to sum to one.
fn weigh(isa: Isa, scores: &mut [f32], scale: f32) -> f32 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has these instructions.
        #[expect(unsafe_code, reason = "the compiler may use vectors in this copy")]
        Isa::Avx512 => unsafe { weigh_avx512(scores, scale) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "the compiler may use vectors in this copy")]
        Isa::Avx2 => unsafe { weigh_avx2(scores, scale) },
        _ => weigh_plain(scores, scale),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
fn weigh_avx512(scores: &mut [f32], scale: f32) -> f32 {
    weigh_plain(scores, scale)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn weigh_avx2(scores: &mut [f32], scale: f32) -> f32 {
    weigh_plain(scores, scale)
}

#[inline(always)]
fn weigh_plain(scores: &mut [f32], scale: f32) -> f32 {
    let mut highest = [f32::NEG_INFINITY; 16];
    for part in scores.chunks(16) {
        highest.iter_mut().zip(part).for_each(|(h, s)| *h = h.max(*s));
    }
    let highest = highest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0f32; 16];
    for part in scores.chunks_mut(16) {
        for (score, sum) in part.iter_mut().zip(&mut sums) {
            *score = super::exp((*score - highest) * scale);
            *sum += *score;
        }
    }
    1.0 / sums.iter().sum::<f32>()
}

/// Sines and cosines of one position, `[pairs]` each.
pub(crate) fn angles(rope: &Rope, position: u32, cosines: &mut [f32], sines: &mut [f32]) {
    for ((frequency, cosine), sine) in rope.frequencies.iter().zip(cosines).zip(sines) {
        let angle = position as f32 * frequency;
        (*cosine, *sine) = (angle.cos() * rope.magnitude, angle.sin() * rope.magnitude);
    }
}

/// Turns the pairs of `x` by the angles of its position.
pub(crate) fn rotate(x: &mut [f32], cosines: &[f32], sines: &[f32], neighbours: bool) {
    let turn = |a: &mut f32, b: &mut f32, (cosine, sine): (&f32, &f32)| {
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    };
    let angles = cosines.iter().zip(sines);
    if neighbours {
        for ([a, b], angle) in x.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
            turn(a, b, angle);
        }
    } else {
        let (first, second) = x.split_at_mut(x.len() / 2);
        for ((a, b), angle) in first.iter_mut().zip(second).zip(angles) {
            turn(a, b, angle);
        }
    }
}

/// Root-mean-square norm of `x` to `out`.
pub(crate) fn norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let factor = norm_factor(x, epsilon);
    out.iter_mut().zip(x).zip(weight).for_each(|((o, x), w)| *o = x * factor * w);
}

/// Root-mean-square norm of `x` in place.
pub(crate) fn norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
    let factor = norm_factor(x, epsilon);
    x.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * factor * w);
}

fn norm_factor(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (super::dot(x, x) / x.len().max(1) as f32 + epsilon).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_over_scattered_blocks_is_attention_over_the_sequence() {
        let (width, length, size) = (9, 37, 4);
        let rows: Vec<f32> = (0..5 * BLOCK * width).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
        let blocks = [3, 0, 4];
        let row = |i: usize| &rows[(blocks[i / BLOCK] as usize * BLOCK + i % BLOCK) * width..][..width];
        let query: Vec<f32> = (0..2 * size).map(|i| i as f32 / 3.0 - 1.0).collect();
        let queries: Vec<&[f32]> = query.chunks(size).collect();
        for isa in Isa::all() {
            let mut out = [0.0; 10];
            let cache = Paged { rows: &rows, width, blocks: &blocks };
            attend(isa, cache, length, (0, 4), (&queries, 0.5), &mut Vec::new(), &mut out);
            for (query, out) in queries.iter().zip(out.chunks(5)) {
                let weights: Vec<f64> =
                    (0..length).map(|i| f64::from(0.5 * super::super::dot(query, &row(i)[..size])).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (c, out) in out.iter().enumerate() {
                    let want: f64 = (0..length).map(|i| weights[i] * f64::from(row(i)[4 + c])).sum::<f64>() / total;
                    assert!((f64::from(*out) - want).abs() < 1e-5, "{isa:?}");
                }
            }
        }
    }

    #[test]
    fn a_turn_keeps_lengths_and_adds_up() {
        for neighbours in [false, true] {
            let rope = Rope { frequencies: vec![1.0, 0.1], magnitude: 1.0, neighbours };
            let turned = |position| {
                let (mut c, mut s) = ([0.0; 2], [0.0; 2]);
                angles(&rope, position, &mut c, &mut s);
                let mut x = [1.0, 2.0, 3.0, 4.0];
                rotate(&mut x, &c, &s, neighbours);
                x
            };
            let product = |a: [f32; 4], b: [f32; 4]| super::super::dot(&a, &b);
            assert!((product(turned(5), turned(5)) - 30.0).abs() < 1e-4);
            assert!((product(turned(7), turned(5)) - product(turned(2), turned(0))).abs() < 1e-4);
        }
    }
}
