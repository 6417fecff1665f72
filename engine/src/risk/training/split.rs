//! Which rows are learned from, tuned on, calibrated on and tested on.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::figures::count;

/// Shares of the rows, in the order of time; what is left is the test.
const TRAIN: usize = 60;
const TUNE: usize = 10;
const CALIBRATE: usize = 10;

/// Rows with one purpose.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its purpose.
    pub name: &'static str,
    /// Positions of its rows in the table, in the order of time.
    pub rows: Vec<usize>,
    /// The first and last moment in it, where rows have one.
    pub span: Option<(f64, f64)>,
}

/// A part as a report tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// Its purpose.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// How many of them are fraud.
    pub positives: usize,
    /// The first and last moment, where rows have one.
    pub span: Option<(f64, f64)>,
}

impl Part {
    pub(super) fn period(&self, labels: &[bool]) -> Period {
        let positives = self.rows.iter().filter(|&&row| labels.get(row) == Some(&true)).count();
        Period { name: self.name.to_owned(), rows: self.rows.len(), positives, span: self.span }
    }
}

/// The four parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Trees are grown on these.
    pub train: Part,
    /// The trees' shape and number are chosen on these.
    pub tune: Part,
    /// Probabilities are calibrated on these.
    pub calibrate: Part,
    /// Figures come from these.
    pub test: Part,
}

impl Parts {
    /// The four parts in the order of use.
    pub fn all(&self) -> [&Part; 4] {
        [&self.train, &self.tune, &self.calibrate, &self.test]
    }

    /// Splits rows in the order of time. Rows of the same moment stay together.
    pub(super) fn in_time(moments: &[f64]) -> Parts {
        let mut order: Vec<usize> = (0..moments.len()).collect();
        let moment = |row: usize| moments.get(row).copied().unwrap_or(f64::NAN);
        order.sort_by(|&a, &b| moment(a).total_cmp(&moment(b)));
        // The border moves to the nearest change of moment.
        let border = |percent: usize| {
            let at = order.len() * percent / 100;
            let change =
                |position: usize| match (position.checked_sub(1).and_then(|p| order.get(p)), order.get(position)) {
                    (Some(&before), Some(&after)) => moment(before) < moment(after),
                    _ => true,
                };
            let back = (0..=at).rev().find(|&position| change(position)).unwrap_or(0);
            let forward = (at..=order.len()).find(|&position| change(position)).unwrap_or(order.len());
            if at - back <= forward - at { back } else { forward }
        };
        let borders = [border(TRAIN), border(TRAIN + TUNE), border(TRAIN + TUNE + CALIBRATE)];
        let mut parts = Parts::cut(&order, borders);
        for part in [&mut parts.train, &mut parts.tune, &mut parts.calibrate, &mut parts.test] {
            part.span = part.rows.first().zip(part.rows.last()).map(|(&first, &last)| (moment(first), moment(last)));
        }
        parts
    }

    /// Splits rows by chance, where nothing tells their order in time.
    pub(super) fn shuffled(rows: usize, seed: u64) -> Parts {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<(u64, usize)> = (0..rows).map(|row| (rng.next_u64(), row)).collect();
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|(_, row)| row).collect();
        let border = |percent: usize| rows * percent / 100;
        Parts::cut(&order, [border(TRAIN), border(TRAIN + TUNE), border(TRAIN + TUNE + CALIBRATE)])
    }

    fn cut(order: &[usize], [train, tune, calibrate]: [usize; 3]) -> Parts {
        let part = |name, from: usize, to: usize| Part {
            name,
            rows: order.get(from..to).unwrap_or_default().to_vec(),
            span: None,
        };
        Parts {
            train: part("train", 0, train),
            tune: part("tune", train, tune),
            calibrate: part("calibrate", tune, calibrate),
            test: part("test", calibrate, order.len()),
        }
    }
}

impl Period {
    /// Share of fraud.
    pub fn rate(&self) -> f64 {
        count(self.positives) / count(self.rows).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_never_mixed() {
        let moments: Vec<f64> = (0..1000).map(|row| f64::from((row * 7919) % 16)).collect();
        let parts = Parts::in_time(&moments);
        let all = parts.all();
        for pair in all.windows(2) {
            assert!(pair[0].span.unwrap().1 < pair[1].span.unwrap().0, "{:?}", all.map(|part| part.span));
        }
        assert_eq!(all.iter().map(|part| part.rows.len()).sum::<usize>(), 1000);
    }

    #[test]
    fn shuffling_follows_the_seed_and_keeps_every_row() {
        let parts = Parts::shuffled(1000, 3);
        assert_eq!(parts, Parts::shuffled(1000, 3));
        assert_ne!(parts, Parts::shuffled(1000, 4));
        let mut rows: Vec<usize> = parts.all().iter().flat_map(|part| part.rows.clone()).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
    }
}
