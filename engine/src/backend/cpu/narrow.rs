//! Products with few outputs, such as a router's: packing a matrix would take longer than multiplying it.

use super::vectorised;

/// Outputs that are worked on together.
const LANES: usize = 16;
/// Rows that are worked on together, so that a weight is read once for all of them.
const ROWS: usize = 8;

/// `[outputs, inputs]` laid out for [`multiply`]: `[blocks of outputs, inputs, LANES]`, filled up with zeros.
pub(crate) fn turned(weight: &[f32], inputs: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = weight.chunks_exact(inputs.max(1)).collect();
    let mut out = Vec::with_capacity(rows.len().next_multiple_of(LANES) * inputs);
    for block in rows.chunks(LANES) {
        for input in 0..inputs {
            let column = (0..LANES).map(|lane| block.get(lane).and_then(|row| row.get(input)).copied().unwrap_or(0.0));
            out.extend(column);
        }
    }
    out
}

vectorised! {
    /// `out[n, outputs] = x[n, inputs] · weightᵀ` with a weight from [`turned`].
    pub(crate) fn multiply(x: &[f32], weight: &[f32], shape: (usize, usize), out: &mut [f32]) -> () {
        let (inputs, outputs) = shape;
        let groups = x.chunks(ROWS * inputs.max(1)).zip(out.chunks_mut(ROWS * outputs.max(1)));
        for (x, out) in groups {
            // The last group repeats its first row where it has fewer.
            let row = |r: usize| x.get(r * inputs..(r + 1) * inputs).or_else(|| x.get(..inputs)).unwrap_or_default();
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (e, f, g, h) = (row(4), row(5), row(6), row(7));
            for (number, block) in weight.chunks_exact((LANES * inputs).max(1)).enumerate() {
                let mut sums = [[0.0f32; LANES]; ROWS];
                let first = block.as_chunks::<LANES>().0.iter().zip(a).zip(b).zip(c).zip(d);
                for ((((((((w, a), b), c), d), e), f), g), h) in first.zip(e).zip(f).zip(g).zip(h) {
                    for (sums, x) in sums.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                        sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += x * w);
                    }
                }
                for (out, sums) in out.chunks_exact_mut(outputs.max(1)).zip(&sums) {
                    out.iter_mut().skip(number * LANES).zip(sums).for_each(|(o, sum)| *o = *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_meets_every_output() {
        for (n, inputs, outputs) in [(1, 5, 3), (8, 16, 16), (11, 7, 21)] {
            let x: Vec<f32> = (0..n * inputs).map(|i| (i % 7) as f32 - 3.0).collect();
            let weight: Vec<f32> = (0..outputs * inputs).map(|i| (i % 11) as f32 - 5.0).collect();
            let mut out = vec![f32::NAN; n * outputs];
            multiply(&x, &turned(&weight, inputs), (inputs, outputs), &mut out);
            for r in 0..n {
                for o in 0..outputs {
                    let want: f32 = (0..inputs).map(|i| x[r * inputs + i] * weight[o * inputs + i]).sum();
                    assert_eq!(out[r * outputs + o], want, "{n} {r} {o}");
                }
            }
        }
    }
}
