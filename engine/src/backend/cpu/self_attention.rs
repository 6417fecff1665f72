//! Attention of all tokens of a short text to each other, one head at a time.
#![expect(clippy::indexing_slicing, reason = "places follow from length and width, which `attend` checks first")]
#![expect(unsafe_code, reason = "heads write disjoint columns of one buffer")]

use super::{Cells, soften, vectorised};

/// Numbers that are worked on together.
const LANES: usize = 16;
/// Queries that are worked on together, so that a key is read once for all of them.
const QUERIES: usize = 4;

/// Memory that a head works in.
#[derive(Default)]
pub(crate) struct Memory {
    /// `[size, padded length]`: the keys, a dimension a row.
    keys: Vec<f32>,
    /// `[QUERIES, size]`.
    queries: Vec<f32>,
    /// `[QUERIES, padded length]`.
    scores: Vec<f32>,
}

/// One head over one text. `qkv` `[length, 3 · width]` holds queries, keys and values; the head's columns are
/// `column..column + size` of each. What it says goes to its columns of `out` `[length, width]`.
///
/// # Safety
/// No other reference to these columns of `out` may live at the same time.
pub(crate) unsafe fn attend(qkv: &[f32], shape: (usize, usize, usize, usize), memory: &mut Memory, out: &Cells<'_>) {
    let (length, width, column, size) = shape;
    assert!(qkv.len() == 3 * width * length && column + size <= width, "the head lies in the text");
    head(qkv, shape, memory, out);
}

vectorised! {
    fn head(qkv: &[f32], shape: (usize, usize, usize, usize), memory: &mut Memory, out: &Cells<'_>) -> () {
        let (length, width, column, size) = shape;
        let padded = length.next_multiple_of(LANES);
        memory.keys.resize(size * padded, 0.0);
        memory.queries.resize(QUERIES * size, 0.0);
        memory.scores.resize(QUERIES * padded, 0.0);
        let (keys, queries, scores) = (&mut memory.keys, &mut memory.queries, &mut memory.scores);
        for d in 0..size {
            let row = &mut keys[d * padded..(d + 1) * padded];
            let from = width + column + d;
            for (key, token) in row.iter_mut().zip(qkv.chunks_exact(3 * width)) {
                *key = token[from];
            }
            row[length..].fill(0.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "a head has tens of dimensions")]
        let scale = 1.0 / (size as f32).sqrt();
        for first in (0..length).step_by(QUERIES) {
            let many = QUERIES.min(length - first);
            for (t, query) in queries.chunks_exact_mut(size).enumerate() {
                let token = (first + t.min(many - 1)) * 3 * width + column;
                query.iter_mut().zip(&qkv[token..token + size]).for_each(|(q, x)| *q = x * scale);
            }
            let query = |t: usize| &queries[t * size..(t + 1) * size];
            let (q0, q1, q2, q3) = (query(0), query(1), query(2), query(3));
            for chunk in 0..padded / LANES {
                let mut sums = [[0.0f32; LANES]; QUERIES];
                let columns = keys.chunks_exact(padded).map(|row| &row.as_chunks::<LANES>().0[chunk]);
                for ((((keys, q0), q1), q2), q3) in columns.zip(q0).zip(q1).zip(q2).zip(q3) {
                    for (sums, q) in sums.iter_mut().zip([q0, q1, q2, q3]) {
                        sums.iter_mut().zip(keys).for_each(|(sum, key)| *sum += q * key);
                    }
                }
                for (t, sums) in sums.iter().enumerate() {
                    scores[t * padded + chunk * LANES..][..LANES].copy_from_slice(sums);
                }
            }
            for scores in scores.chunks_exact_mut(padded) {
                // Beyond the text's end nothing is heard.
                scores[length..].fill(f32::MIN);
                soften(scores);
            }
            for part in (0..size).step_by(LANES) {
                let lanes = LANES.min(size - part);
                let mut sums = [[0.0f32; LANES]; QUERIES];
                let from = 2 * width + column + part;
                for (j, token) in qkv.chunks_exact(3 * width).enumerate() {
                    let values = &token[from..from + lanes];
                    for (t, sums) in sums.iter_mut().enumerate() {
                        let score = scores[t * padded + j];
                        // A length that the compiler knows, wherever the head is wide enough.
                        if let Some(values) = values.first_chunk::<LANES>() {
                            sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += score * v);
                        } else {
                            sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += score * v);
                        }
                    }
                }
                for (t, sums) in sums.iter().enumerate().take(many) {
                    // SAFETY: these columns are this head's; the caller promises that nobody else holds them.
                    let to = unsafe { out.at((first + t) * width + column + part, lanes) };
                    to.copy_from_slice(&sums[..lanes]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_mixes_values_by_softmax_of_products() {
        for (length, width, size) in [(1, 8, 8), (5, 40, 20), (16, 64, 32), (37, 96, 32), (70, 64, 16)] {
            let qkv: Vec<f32> = (0..length * 3 * width).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 300.0).collect();
            let mut out = vec![f32::NAN; length * width];
            let mut memory = Memory::default();
            for column in (0..width).step_by(size) {
                // SAFETY: one head after another.
                unsafe { attend(&qkv, (length, width, column, size), &mut memory, &Cells::new(&mut out)) };
            }
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
