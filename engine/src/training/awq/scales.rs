//! The scale of each input, searched on a grid (the paper's section 3.2, equations 4 and 5).

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::round::{Dense, Grid};
use crate::weights::stored::GROUP;

/// Steps of the grid.
const STEPS: u8 = 20;
/// Rows of a product that are held at once.
const BLOCK: usize = 256;

/// Rows of numbers, `[rows, width]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
}

impl Sample {
    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Row by row.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// The mean magnitude of each column.
    pub(super) fn magnitudes(&self) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.width];
        for line in self.lines() {
            sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += f64::from(x.abs()));
        }
        let count = self.rows().max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a mean of single precision numbers")]
        let means = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        means
    }
}

/// A map and what it reads.
pub(super) struct Part<'a> {
    pub(super) weight: &'a Dense,
    pub(super) input: &'a Sample,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// What each input's weights are multiplied by before rounding.
    pub(super) scales: Vec<f32>,
    /// Squared error of the products, summed, without scales and with them.
    pub(super) error: (f64, f64),
}

/// Searches the scales of maps that read the same inputs, whose mean magnitudes are given. The candidates are
/// `x^α / w^(1-α)` for 20 values of `α`, where `x` is an input's magnitude and `w` how large its weights are among their group's
/// (AutoAWQ's form), `x^α` (the paper's), and no scales at all.
pub(super) fn search(parts: &[Part<'_>], magnitudes: &[f32], threads: usize) -> Found {
    let none = vec![1.0; magnitudes.len()];
    let plain = error(parts, &none, threads);
    let mut best = Found { scales: none, error: (plain, plain) };
    let sizes = relative_sizes(parts, magnitudes.len());
    for step in 0..STEPS {
        let ratio = f32::from(step) / f32::from(STEPS);
        let both = magnitudes.iter().zip(&sizes).map(|(x, w)| x.powf(ratio) / (w.powf(1.0 - ratio) + 1e-4));
        let alone = magnitudes.iter().map(|x| x.powf(ratio));
        for scales in [balanced(both.collect()), balanced(alone.collect())] {
            let found = error(parts, &scales, threads);
            if found < best.error.1 {
                best = Found { scales, error: (plain, found) };
            }
        }
    }
    best
}

/// Scales around one: only their ratios matter, and 16 bits must hold what is divided by them.
fn balanced(mut scales: Vec<f32>) -> Vec<f32> {
    scales.iter_mut().for_each(|scale| *scale = scale.max(1e-4));
    let (low, high) = scales.iter().fold((f32::MAX, 0.0f32), |(low, high), s| (low.min(*s), high.max(*s)));
    let middle = (low * high).sqrt();
    scales.iter_mut().for_each(|scale| *scale /= middle);
    scales
}

/// The mean share of a column's weights in the largest of their groups.
fn relative_sizes(parts: &[Part<'_>], columns: usize) -> Vec<f32> {
    let (mut sums, mut rows) = (vec![0.0f32; columns], 0u16);
    for part in parts {
        let (mut own, mut count) = (vec![0.0f32; columns], 0.0f32);
        for line in part.weight.lines() {
            for (group, sums) in line.chunks(GROUP).zip(own.chunks_mut(GROUP)) {
                let most = group.iter().fold(1e-6f32, |most, w| most.max(w.abs()));
                sums.iter_mut().zip(group).for_each(|(sum, w)| *sum += w.abs() / most);
            }
            count += 1.0;
        }
        sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own / count.max(1.0));
        rows = rows.saturating_add(1);
    }
    sums.into_iter().map(|sum| sum / f32::from(rows.max(1))).collect()
}

/// The squared error of all products when weights are rounded with these scales.
fn error(parts: &[Part<'_>], scales: &[f32], threads: usize) -> f64 {
    let each = parts.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let shares: Vec<_> = parts
            .chunks(each)
            .map(|parts| scope.spawn(move || parts.iter().map(|part| part_error(part, scales)).sum::<f64>()))
            .collect();
        shares.into_iter().map(|share| share.join().unwrap_or(f64::INFINITY)).sum()
    })
}

fn part_error(part: &Part<'_>, scales: &[f32]) -> f64 {
    let (columns, tokens) = (part.weight.columns, part.input.rows());
    let Ok(x) = ArrayView2::from_shape((tokens, columns), &part.input.values) else { return f64::INFINITY };
    let (mut wrong, mut products) = (Vec::new(), Vec::new());
    let mut sum = 0.0;
    for rows in part.weight.values.chunks(BLOCK * columns) {
        wrong.clear();
        rows.chunks_exact(columns).for_each(|line| mistakes(line, scales, &mut wrong));
        let count = wrong.len() / columns;
        products.resize(tokens * count, 0.0);
        let (Ok(wrong), Ok(mut out)) = (
            ArrayView2::from_shape((count, columns), &wrong),
            ArrayViewMut2::from_shape((tokens, count), &mut products),
        ) else {
            return f64::INFINITY;
        };
        general_mat_mul(1.0, &x, &wrong.t(), 0.0, &mut out);
        sum += products.chunks(4096).map(|part| f64::from(part.iter().map(|y| y * y).sum::<f32>())).sum::<f64>();
    }
    sum
}

/// What rounding one row with these scales changes in it.
fn mistakes(line: &[f32], scales: &[f32], out: &mut Vec<f32>) {
    let mut scaled = [0.0f32; GROUP];
    for (group, scales) in line.chunks_exact(GROUP).zip(scales.chunks_exact(GROUP)) {
        for ((to, weight), scale) in scaled.iter_mut().zip(group).zip(scales) {
            *to = weight * scale;
        }
        let grid = Grid::over(&scaled, f32::INFINITY);
        out.extend(scaled.iter().zip(group).zip(scales).map(|((s, w), scale)| grid.round(*s) / scale - w));
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Inputs of which a few are thirty times as large as the others: what AWQ was made for.
    #[test]
    fn scales_protect_what_large_inputs_meet() {
        let mut draws = ChaCha8Rng::seed_from_u64(4);
        let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| draws.random_range(-1.0..1.0)).collect() };
        let weight = Dense { rows: 64, columns: 256, values: draw(64 * 256) };
        let mut input = Sample { width: 256, values: draw(100 * 256) };
        for line in input.values.chunks_mut(256) {
            line.iter_mut().step_by(50).for_each(|x| *x *= 30.0);
        }
        let part = || Part { weight: &weight, input: &input };
        let magnitudes = input.magnitudes();
        assert!(magnitudes[50] > 20.0 * magnitudes[51]);
        let found = search(&[part()], &magnitudes, 1);
        assert!(found.error.1 < 0.7 * found.error.0, "{:?}", found.error);
        assert!(found.scales[50] > 2.0 * found.scales[51]);
        // The same on two threads, and with the map cut in two.
        let halves: Vec<Dense> =
            weight.values.chunks(32 * 256).map(|v| Dense { rows: 32, columns: 256, values: v.to_vec() }).collect();
        let parts: Vec<Part<'_>> = halves.iter().map(|weight| Part { weight, input: &input }).collect();
        let again = search(&parts, &magnitudes, 2);
        assert!((again.error.1 / found.error.1 - 1.0).abs() < 0.05);
    }
}
