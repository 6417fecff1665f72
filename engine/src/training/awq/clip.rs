//! What each group's weights are cut to before rounding, searched row by row (AutoAWQ's clip search).

use super::round::{Dense, Grid};
use super::scales::Sample;
use crate::weights::stored::GROUP;

/// Steps from the largest weight down to zero; the search goes half the way.
const STEPS: u8 = 20;

/// The limits `[rows, columns/GROUP]` that change the products of a map with `input` least; a limit that cuts nothing is
/// infinite.
pub(super) fn limits(weight: &Dense, input: &Sample) -> Vec<f32> {
    let groups = weight.columns / GROUP;
    let moments: Vec<Vec<f32>> = (0..groups).map(|group| moments(input, group * GROUP)).collect();
    let mut limits = Vec::with_capacity(weight.rows * groups);
    let mut wrong = [0.0f32; GROUP];
    for line in weight.lines() {
        for (group, moments) in line.chunks_exact(GROUP).zip(&moments) {
            let most = group.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            let (mut best, mut least) = (f32::INFINITY, f32::INFINITY);
            for step in 0..STEPS / 2 {
                let limit = if step == 0 { f32::INFINITY } else { most * (1.0 - f32::from(step) / f32::from(STEPS)) };
                let grid = Grid::over(group, limit);
                wrong.iter_mut().zip(group).for_each(|(wrong, w)| *wrong = grid.round(*w) - w);
                let error = squared(&wrong, moments);
                if error < least {
                    (best, least) = (limit, error);
                }
            }
            limits.push(best);
        }
    }
    limits
}

/// `Σ x·xᵀ` of the inputs `first..first + GROUP`, so that the squared error of a row needs no pass over tokens.
fn moments(input: &Sample, first: usize) -> Vec<f32> {
    let mut sums = vec![0.0f32; GROUP * GROUP];
    for line in input.lines() {
        let x = line.get(first..first + GROUP).unwrap_or_default();
        for (a, sums) in x.iter().zip(sums.chunks_exact_mut(GROUP)) {
            sums.iter_mut().zip(x).for_each(|(sum, b)| *sum += a * b);
        }
    }
    sums
}

fn squared(wrong: &[f32; GROUP], moments: &[f32]) -> f32 {
    let lines = wrong.iter().zip(moments.chunks_exact(GROUP));
    lines.map(|(a, line)| a * crate::backend::cpu::dot(line, wrong)).sum()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::round::round;
    use super::*;

    #[test]
    fn an_outlier_that_meets_nothing_is_cut_and_one_that_matters_is_kept() {
        let mut draws = ChaCha8Rng::seed_from_u64(8);
        let mut values: Vec<f32> = (0..2 * GROUP).map(|_| draws.random_range(-1.0..1.0)).collect();
        (values[5], values[GROUP + 6]) = (2.0, 2.0);
        let weight = Dense { rows: 2, columns: GROUP, values };
        let mut input =
            Sample { width: GROUP, values: (0..64 * GROUP).map(|_| draws.random_range(-1.0..1.0)).collect() };
        for line in input.values.chunks_mut(GROUP) {
            (line[5], line[6]) = (0.0, 10.0 * line[6]);
        }
        let found = limits(&weight, &input);
        assert!(found[0] < 1.2 && found[1].is_infinite(), "{found:?}");
        let error = |limits: &[f32]| -> f32 {
            let codes = round(&weight, limits);
            let meant =
                |i: usize| (f32::from(codes.codes[i]) - f32::from(codes.zeros[i / GROUP])) * codes.scales[i / GROUP];
            let product = |x: &[f32], row: usize| -> f32 {
                (0..GROUP).map(|i| x[i] * (meant(row * GROUP + i) - weight.values[row * GROUP + i])).sum()
            };
            input.lines().map(|x| product(x, 0).powi(2) + product(x, 1).powi(2)).sum()
        };
        assert!(error(&found) < 0.8 * error(&[f32::INFINITY; 2]));
    }
}
