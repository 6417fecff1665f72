//! Which rows are learned from, tuned on, calibrated on and tested on.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::super::figures::count;

/// Parts of the rows before the test, in the order of time: the trees grow on three quarters, an eighth tunes them, an
/// eighth calibrates. With a test share of 20 % that is 60, 10, 10 and 20.
const EIGHTHS_TO_TRAIN: usize = 6;
const EIGHTHS_TO_TUNE: usize = 1;

/// Folds of the cross-validation where rows have no time.
const FOLDS: usize = 5;

/// Rows with one purpose.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Its purpose.
    pub(super) name: &'static str,
    /// Positions of its rows in the table, in the order of time.
    pub(super) rows: Vec<usize>,
    /// The first and last moment in it, where rows have one.
    pub(super) span: Option<(f64, f64)>,
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

impl Period {
    /// Share of fraud.
    pub fn rate(&self) -> f64 {
        count(self.positives) / count(self.rows).max(1.0)
    }
}

/// Rows to learn on, and rows to try on what was learned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub(super) learn: Vec<usize>,
    pub(super) held_out: Vec<usize>,
}

/// How the rows are used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The parts as the report lists them; the last one is the test, which may be empty.
    pub(super) parts: Vec<Part>,
    /// Where the trees' shape and number are chosen: one fold in time, or a cross-validation.
    pub(super) folds: Vec<Fold>,
    /// The final trees grow on these.
    pub(super) learn: Vec<usize>,
    /// Where the probabilities are calibrated; none where the cross-validation's held-out rows do it.
    pub(super) calibrate: Option<Vec<usize>>,
}

impl Plan {
    /// The rows that nothing has seen.
    pub(super) fn test(&self) -> &[usize] {
        self.parts.last().map(|part| part.rows.as_slice()).unwrap_or_default()
    }

    /// In the order of time. Rows of the same moment stay together.
    pub(super) fn in_time(moments: &[f64], test_percent: usize) -> Plan {
        let mut order: Vec<usize> = (0..moments.len()).collect();
        let moment = |row: usize| moments.get(row).copied().unwrap_or(f64::NAN);
        order.sort_by(|&a, &b| moment(a).total_cmp(&moment(b)));
        // The border moves to the nearest change of moment.
        let border = |at: usize| {
            let change =
                |position: usize| match (position.checked_sub(1).and_then(|p| order.get(p)), order.get(position)) {
                    (Some(&before), Some(&after)) => moment(before) < moment(after),
                    _ => true,
                };
            let back = (0..=at).rev().find(|&position| change(position)).unwrap_or(0);
            let forward = (at..=order.len()).find(|&position| change(position)).unwrap_or(order.len());
            if at - back <= forward - at { back } else { forward }
        };
        let known = order.len() * (100 - test_percent.min(90)) / 100;
        let train = border(known * EIGHTHS_TO_TRAIN / 8);
        let tune = border(known * (EIGHTHS_TO_TRAIN + EIGHTHS_TO_TUNE) / 8);
        let calibrate = border(known);
        let part = |name, from: usize, to: usize| {
            let rows = order.get(from..to).unwrap_or_default().to_vec();
            let span = rows.first().zip(rows.last()).map(|(&first, &last)| (moment(first), moment(last)));
            Part { name, rows, span }
        };
        let parts = vec![
            part("train", 0, train),
            part("tune", train, tune),
            part("calibrate", tune, calibrate),
            part("test", calibrate, order.len()),
        ];
        let rows = |from: usize, to: usize| order.get(from..to).unwrap_or_default().to_vec();
        Plan {
            parts,
            folds: vec![Fold { learn: rows(0, train), held_out: rows(train, tune) }],
            learn: rows(0, tune),
            calibrate: Some(rows(tune, calibrate)),
        }
    }

    /// By chance, where nothing tells the rows' order in time: a test, and a cross-validation of the rest. Every part
    /// and fold has its share of frauds.
    pub(super) fn shuffled(labels: &[bool], test_percent: usize, seed: u64) -> Plan {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<(bool, u64, usize)> =
            labels.iter().enumerate().map(|(row, &label)| (label, random.next_u64(), row)).collect();
        order.sort_unstable();
        let (mut test, mut rest) = (Vec::new(), Vec::new());
        for run in order.chunk_by(|a, b| a.0 == b.0) {
            let border = run.len() * test_percent.min(90) / 100;
            test.extend(run.iter().take(border).map(|(.., row)| *row));
            rest.extend(run.iter().skip(border).map(|(.., row)| *row));
        }
        let folds = (0..FOLDS)
            .map(|fold| {
                let held = |position: usize| position % FOLDS == fold;
                let rows = |wanted: bool| {
                    let rows = rest.iter().enumerate().filter(move |(position, _)| held(*position) == wanted);
                    rows.map(|(_, &row)| row).collect()
                };
                Fold { learn: rows(false), held_out: rows(true) }
            })
            .collect();
        Plan {
            parts: vec![
                Part { name: "learn (cross-validated)", rows: rest.clone(), span: None },
                Part { name: "test", rows: test, span: None },
            ],
            folds,
            learn: rest,
            calibrate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_never_mixed() {
        let moments: Vec<f64> = (0..1000).map(|row| f64::from((row * 7919) % 16)).collect();
        let plan = Plan::in_time(&moments, 20);
        for pair in plan.parts.windows(2) {
            assert!(pair[0].span.unwrap().1 < pair[1].span.unwrap().0, "{:?}", plan.parts);
        }
        assert_eq!(plan.parts.iter().map(|part| part.rows.len()).sum::<usize>(), 1000);
        assert_eq!(plan.learn.len(), plan.folds[0].learn.len() + plan.folds[0].held_out.len());
        assert!(Plan::in_time(&moments, 0).test().is_empty());
    }

    #[test]
    fn shuffling_follows_the_seed_keeps_every_row_and_spreads_the_frauds() {
        let labels: Vec<bool> = (0..1000).map(|row| row % 10 == 0).collect();
        let plan = Plan::shuffled(&labels, 20, 3);
        assert_eq!(plan, Plan::shuffled(&labels, 20, 3));
        assert_ne!(plan, Plan::shuffled(&labels, 20, 4));
        let frauds = |rows: &[usize]| rows.iter().filter(|&&row| labels[row]).count();
        assert_eq!((plan.test().len(), frauds(plan.test())), (200, 20));
        let mut rows: Vec<usize> = plan.folds.iter().flat_map(|fold| fold.held_out.clone()).collect();
        for fold in &plan.folds {
            assert_eq!((fold.held_out.len(), frauds(&fold.held_out)), (160, 16));
            assert!(fold.held_out.iter().all(|row| !fold.learn.contains(row)));
        }
        rows.extend(plan.test());
        rows.sort_unstable();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
    }
}
