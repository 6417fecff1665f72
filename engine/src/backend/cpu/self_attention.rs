//! Attention of all tokens of a short text to each other, one head at a time.
#![expect(clippy::indexing_slicing, reason = "places follow from length and size, which `attend` checks first")]
#![expect(unsafe_code, reason = "heads write disjoint columns of one buffer")]

use super::{Cells, Level, level, vectorised};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Numbers that are worked on together.
const LANES: usize = 16;
/// Queries that are worked on together, so that a key is read once for all of them.
const QUERIES: usize = 8;

type Lanes = [f32; LANES];

/// Memory that a head works in.
#[derive(Default)]
pub(crate) struct Memory {
    /// `[chunks of LANES keys, size]`: a dimension of as many keys.
    keys: Vec<Lanes>,
    /// `[parts of LANES dimensions, length]`: as many dimensions of a value.
    values: Vec<Lanes>,
    /// `[size]`: a dimension of the queries that are worked on.
    queries: Vec<[f32; QUERIES]>,
    /// `[QUERIES, chunks · LANES]`.
    scores: Vec<f32>,
}

/// One head of one text.
pub(crate) struct Head<'a> {
    /// Rows of tokens.
    pub(crate) rows: &'a [f32],
    /// Numbers in a row.
    pub(crate) stride: usize,
    /// Where the query, the key and the value begin in a row.
    pub(crate) places: [usize; 3],
    /// Numbers of each.
    pub(crate) size: usize,
}

/// What a head says goes to the columns from `column` on of `out` `[length, width]`.
///
/// # Safety
/// No other reference to these columns of `out` may live at the same time.
pub(crate) unsafe fn attend(head: &Head<'_>, memory: &mut Memory, out: &Cells<'_>, (width, column): (usize, usize)) {
    let fits = head.places.iter().all(|place| place + head.size <= head.stride);
    assert!(fits && column + head.size <= width, "the head lies in its rows");
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: `level` asked the processor for these instructions.
        return unsafe { x86::listen(head, memory, out, (width, column)) };
    }
    plain(head, memory, out, (width, column));
}

/// What a head's arithmetic consists of.
trait Arithmetic {
    /// The products of the queries with `C` chunks of keys, to the start of rows that are `stride` apart.
    fn score<const C: usize>(keys: [&[Lanes]; C], queries: &[[f32; QUERIES]], out: (&mut [f32], usize));

    /// Scores to weights, not divided by their sum; gives one over the sum.
    fn weigh(scores: &mut [f32]) -> f32;

    /// The values of `P` parts by the queries' weights.
    fn mix<const P: usize>(values: [&[Lanes]; P], weights: [&[f32]; QUERIES]) -> [[Lanes; QUERIES]; P];
}

vectorised! {
    fn plain(head: &Head<'_>, memory: &mut Memory, out: &Cells<'_>, to: (usize, usize)) -> () {
        listen::<Plain>(head, memory, out, to);
    }
}

/// Attention of one head, to be compiled into its caller with the instructions that this has.
#[inline(always)]
fn listen<A: Arithmetic>(head: &Head<'_>, memory: &mut Memory, out: &Cells<'_>, to: (usize, usize)) {
    let ((width, column), size) = (to, head.size);
    let length = head.rows.len().checked_div(head.stride).unwrap_or(0);
    let (chunks, parts) = (length.div_ceil(LANES), size.div_ceil(LANES));
    let padded = chunks * LANES;
    memory.keys.resize(chunks * size, [0.0; LANES]);
    memory.values.resize(parts * length, [0.0; LANES]);
    memory.queries.resize(size, [0.0; QUERIES]);
    memory.scores.resize(QUERIES * padded, 0.0);
    let Memory { keys, values, queries, scores } = memory;
    let part_of = |token: usize, place: usize| &head.rows[token * head.stride + head.places[place]..][..size];
    // Keys beyond the text's end are those of another text; their scores are not heard.
    for token in 0..length {
        let keys = &mut keys[token / LANES * size..][..size];
        keys.iter_mut().zip(part_of(token, 1)).for_each(|(key, k)| key[token % LANES] = *k);
        for (part, v) in part_of(token, 2).chunks(LANES).enumerate() {
            values[part * length + token][..v.len()].copy_from_slice(v);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a head has tens of dimensions")]
    let scale = 1.0 / (size as f32).sqrt();
    for first in (0..length).step_by(QUERIES) {
        let many = QUERIES.min(length - first);
        for t in 0..QUERIES {
            let query = part_of(first + t.min(many - 1), 0);
            queries.iter_mut().zip(query).for_each(|(q, x)| q[t] = x * scale);
        }
        let mut chunk = 0;
        while chunk < chunks {
            let keys = &keys[chunk * size..];
            if chunk + 1 < chunks {
                A::score([&keys[..size], &keys[size..2 * size]], queries, (&mut scores[chunk * LANES..], padded));
                chunk += 2;
            } else {
                A::score([&keys[..size]], queries, (&mut scores[chunk * LANES..], padded));
                chunk += 1;
            }
        }
        let mut shares = [0.0; QUERIES];
        for (scores, share) in scores.chunks_exact_mut(padded).zip(&mut shares) {
            scores[length..].fill(f32::MIN);
            *share = A::weigh(scores);
        }
        let rows = |t: usize| &scores[t * padded..t * padded + length];
        let rows = [rows(0), rows(1), rows(2), rows(3), rows(4), rows(5), rows(6), rows(7)];
        let write = |part: usize, mixed: &[Lanes; QUERIES]| {
            let lanes = LANES.min(size - part * LANES);
            for (t, (mixed, share)) in mixed.iter().zip(&shares).enumerate().take(many) {
                // SAFETY: these columns are this head's; the caller promises that nobody else holds them.
                let to = unsafe { out.at((first + t) * width + column + part * LANES, lanes) };
                to.iter_mut().zip(mixed).for_each(|(to, m)| *to = m * share);
            }
        };
        let mut part = 0;
        while part < parts {
            let values = &values[part * length..];
            if part + 1 < parts {
                let [a, b] = A::mix([&values[..length], &values[length..2 * length]], rows);
                write(part, &a);
                write(part + 1, &b);
                part += 2;
            } else {
                let [a] = A::mix([&values[..length]], rows);
                write(part, &a);
                part += 1;
            }
        }
    }
}

/// Loops that the compiler turns into vector instructions.
struct Plain;

impl Arithmetic for Plain {
    #[inline(always)]
    fn score<const C: usize>(keys: [&[Lanes]; C], queries: &[[f32; QUERIES]], (out, stride): (&mut [f32], usize)) {
        for (c, keys) in keys.into_iter().enumerate() {
            for half in 0..2 {
                let mut sums = [[0.0f32; LANES]; QUERIES / 2];
                for (query, keys) in queries.iter().zip(keys) {
                    for (sums, q) in sums.iter_mut().zip(&query[half * QUERIES / 2..]) {
                        sums.iter_mut().zip(keys).for_each(|(sum, key)| *sum += q * key);
                    }
                }
                for (t, sums) in sums.iter().enumerate() {
                    out[(half * QUERIES / 2 + t) * stride + c * LANES..][..LANES].copy_from_slice(sums);
                }
            }
        }
    }

    #[inline(always)]
    fn weigh(scores: &mut [f32]) -> f32 {
        let chunks = scores.as_chunks_mut::<LANES>().0;
        let mut highest = [f32::MIN; LANES];
        for chunk in chunks.iter() {
            highest.iter_mut().zip(chunk).for_each(|(h, s)| *h = if *s > *h { *s } else { *h });
        }
        let highest = highest.iter().fold(f32::MIN, |a, b| if *b > a { *b } else { a });
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for (score, sum) in chunk.iter_mut().zip(&mut sums) {
                *score = super::exp(*score - highest);
                *sum += *score;
            }
        }
        1.0 / sums.iter().sum::<f32>()
    }

    #[inline(always)]
    fn mix<const P: usize>(values: [&[Lanes]; P], weights: [&[f32]; QUERIES]) -> [[Lanes; QUERIES]; P] {
        let mut sums = [[[0.0f32; LANES]; QUERIES]; P];
        for (sums, values) in sums.iter_mut().zip(values) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                for (values, weight) in values.iter().zip(weights) {
                    sum.iter_mut().zip(values).for_each(|(sum, v)| *sum += weight * v);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_mixes_values_by_softmax_of_products() {
        for (length, width, size) in [(1, 8, 8), (5, 40, 20), (16, 64, 32), (37, 96, 32), (70, 64, 16)] {
            let qkv: Vec<f32> = (0..length * 3 * width).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 300.0).collect();
            let (mut out, mut looped) = (vec![f32::NAN; length * width], vec![f32::NAN; length * width]);
            let mut memory = Memory::default();
            for column in (0..width).step_by(size) {
                let places = [column, width + column, 2 * width + column];
                let head = Head { rows: &qkv, stride: 3 * width, places, size };
                // SAFETY: one head after another.
                unsafe { attend(&head, &mut memory, &Cells::new(&mut out), (width, column)) };
                plain(&head, &mut memory, &Cells::new(&mut looped), (width, column));
            }
            assert!(out.iter().zip(&looped).all(|(a, b)| (a - b).abs() < 1e-5), "both forms say the same");
            let at = |token: usize, third: usize, c: usize| f64::from(qkv[token * 3 * width + third * width + c]);
            for (i, row) in out.chunks(width).enumerate() {
                for (c, got) in row.iter().enumerate() {
                    let first = c / size * size;
                    let weights: Vec<f64> = (0..length)
                        .map(|j| (first..first + size).map(|d| at(i, 0, d) * at(j, 1, d)).sum::<f64>())
                        .map(|score| (score / (size as f64).sqrt()).exp())
                        .collect();
                    let want = (0..length).map(|j| weights[j] * at(j, 2, c)).sum::<f64>() / weights.iter().sum::<f64>();
                    assert!((f64::from(*got) - want).abs() < 1e-5, "{length} {i} {c}: {got}, not {want}");
                }
            }
        }
    }
}
