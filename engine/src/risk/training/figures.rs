//! How good a model is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::application::Value;
use super::table::Table;

/// Figures over rows with a probability and a label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Number of rows.
    pub rows: usize,
    /// How many of them are fraud.
    pub positives: usize,
    /// Area under the receiver's operating curve.
    pub auc: f64,
    /// Its 95 % interval (Hanley and McNeil 1982).
    pub auc_interval: Interval,
    /// Share of frauds found when 1 % of honest rows are flagged.
    pub recall_at_1_percent: f64,
    /// Share of frauds found when 5 % of honest rows are flagged.
    pub recall_at_5_percent: f64,
    /// The probability from which on a row is flagged when 1 % of honest rows are.
    pub threshold_at_1_percent: f64,
    /// The probability from which on a row is flagged when 5 % of honest rows are.
    pub threshold_at_5_percent: f64,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Mean log loss, in nats.
    pub log_loss: f64,
    /// Expected calibration error over 10 bins with equally many rows each.
    pub ece: f64,
}

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Figures {
    /// Computes them all.
    pub fn of(scored: &[(f64, bool)]) -> Figures {
        let mut ordered = scored.to_vec();
        ordered.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let positives = ordered.iter().filter(|(_, label)| *label).count();
        let auc = auc(&ordered, positives);
        let (recall_at_1_percent, threshold_at_1_percent) = recall_at(&ordered, positives, 0.01);
        let (recall_at_5_percent, threshold_at_5_percent) = recall_at(&ordered, positives, 0.05);
        let mean = |loss: fn(f64, bool) -> f64| {
            ordered.iter().map(|&(probability, label)| loss(probability, label)).sum::<f64>()
                / count(ordered.len()).max(1.0)
        };
        Figures {
            rows: ordered.len(),
            positives,
            auc,
            auc_interval: auc_interval(auc, positives, ordered.len() - positives),
            recall_at_1_percent,
            recall_at_5_percent,
            threshold_at_1_percent,
            threshold_at_5_percent,
            brier: mean(|probability, label| (probability - target(label)).powi(2)),
            log_loss: mean(log_loss),
            ece: calibration_error(&ordered),
        }
    }
}

fn target(label: bool) -> f64 {
    f64::from(u8::from(label))
}

/// The log loss of one row, in nats.
pub(super) fn log_loss(probability: f64, label: bool) -> f64 {
    let right = if label { probability } else { 1.0 - probability };
    -libm::log(right.clamp(1e-15, 1.0))
}

/// Runs of equal scores, from the highest: score, frauds, honest.
fn runs(ordered: &[(f64, bool)]) -> impl Iterator<Item = (f64, f64, f64)> {
    ordered.chunk_by(|(a, _), (b, _)| a.total_cmp(b).is_eq()).map(|run| {
        let frauds = count(run.iter().filter(|(_, label)| *label).count());
        (run.first().map_or(0.0, |(score, _)| *score), frauds, count(run.len()) - frauds)
    })
}

/// Area under the curve; rows with equal scores count half. `ordered` runs from the highest score down.
fn auc(ordered: &[(f64, bool)], positives: usize) -> f64 {
    let (mut found, mut area) = (0.0, 0.0);
    for (_, frauds, honest) in runs(ordered) {
        area += honest * (found + 0.5 * frauds);
        found += frauds;
    }
    let pairs = count(positives) * count(ordered.len() - positives);
    if pairs > 0.0 { area / pairs } else { 0.5 }
}

fn auc_interval(auc: f64, positives: usize, negatives: usize) -> Interval {
    let (q1, q2) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let (positives, negatives) = (count(positives).max(1.0), count(negatives).max(1.0));
    let variance = (auc * (1.0 - auc) + (positives - 1.0) * (q1 - auc * auc) + (negatives - 1.0) * (q2 - auc * auc))
        / (positives * negatives);
    let half = 1.96 * variance.max(0.0).sqrt();
    Interval { low: (auc - half).max(0.0), high: (auc + half).min(1.0) }
}

/// Share of frauds found at the lowest threshold that flags at most a share of honest rows, and that threshold.
fn recall_at(ordered: &[(f64, bool)], positives: usize, share: f64) -> (f64, f64) {
    let allowed = share * count(ordered.len() - positives);
    let (mut found, mut accused) = (0.0, 0.0);
    let mut threshold = 1.0;
    for (score, frauds, honest) in runs(ordered) {
        if accused + honest > allowed {
            break;
        }
        found += frauds;
        accused += honest;
        threshold = score;
    }
    (found / count(positives).max(1.0), threshold)
}

/// Mean distance of the mean probability from the share of frauds, over 10 bins with equally many rows each.
fn calibration_error(ordered: &[(f64, bool)]) -> f64 {
    let size = ordered.len().div_ceil(10).max(1);
    let total: f64 = ordered
        .chunks(size)
        .map(|bin| {
            let predicted: f64 = bin.iter().map(|(probability, _)| probability).sum();
            let observed: f64 = bin.iter().map(|(_, label)| target(*label)).sum();
            (predicted - observed).abs()
        })
        .sum();
    total / count(ordered.len()).max(1.0)
}

/// Figures for one group of people. Measured with a protected column that is never an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The protected column.
    pub column: String,
    /// The group, such as `30 to 59`.
    pub group: String,
    /// Its rows in the test period.
    pub rows: usize,
    /// How many of them are fraud.
    pub positives: usize,
    /// Share flagged at the threshold that flags 5 % of all honest rows.
    pub flagged: f64,
    /// Share of its honest rows that are flagged at that threshold.
    pub false_positives: f64,
    /// Mean probability.
    pub predicted: f64,
    /// Share of fraud.
    pub observed: f64,
}

/// Figures by every protected column of the table. `rows` and `scored` run side by side.
pub(super) fn groups(
    table: &Table,
    rows: &[usize],
    scored: &[(f64, bool)],
    threshold: f64,
    is_protected: impl Fn(&str) -> bool,
) -> Vec<Group> {
    let mut all = Vec::new();
    for column in table.names().filter(|name| is_protected(name)) {
        let mut members: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
        for (&row, &score) in rows.iter().zip(scored) {
            if let Some(value) = table.value(column, row) {
                members.entry(group_name(column, &value)).or_default().push(score);
            }
        }
        // A column with very many values is no grouping.
        if members.len() > 20 {
            continue;
        }
        for (group, members) in members {
            let flagged = |rows: &mut dyn Iterator<Item = &(f64, bool)>| {
                let (mut total, mut above) = (0.0_f64, 0.0);
                for (probability, _) in rows {
                    total += 1.0;
                    above += target(*probability >= threshold);
                }
                above / total.max(1.0)
            };
            let size = count(members.len()).max(1.0);
            let positives = members.iter().filter(|(_, label)| *label).count();
            all.push(Group {
                column: column.to_owned(),
                group,
                rows: members.len(),
                positives,
                flagged: flagged(&mut members.iter()),
                false_positives: flagged(&mut members.iter().filter(|(_, label)| !label)),
                predicted: members.iter().map(|(probability, _)| probability).sum::<f64>() / size,
                observed: count(positives) / size,
            });
        }
    }
    all
}

fn group_name(column: &str, value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(age) if column.to_ascii_lowercase().contains("age") && *age > 10.0 => match age {
            _ if *age < 30.0 => "under 30".to_owned(),
            _ if *age < 60.0 => "30 to 59".to_owned(),
            _ => "60 and over".to_owned(),
        },
        Value::Number(number) => number.to_string(),
    }
}

/// A count as a number to reckon with.
pub(super) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_hand_worked_values() {
        let scored = [(0.9, true), (0.8, false), (0.8, true), (0.3, false), (0.2, false)];
        let figures = Figures::of(&scored);
        // Pairs: 0.9 beats all 3; 0.8 ties with one and beats two.
        assert!((figures.auc - 5.5 / 6.0).abs() < 1e-15, "{figures:?}");
        // One of three honest rows is more than 5 %: only 0.9 may be flagged.
        assert_eq!((figures.recall_at_5_percent, figures.threshold_at_5_percent), (0.5, 0.9));
        let brier = (0.01 + 0.64 + 0.04 + 0.09 + 0.04) / 5.0;
        assert!((figures.brier - brier).abs() < 1e-15);
        // One row a bin.
        assert!((figures.ece - (0.1 + 0.8 + 0.2 + 0.3 + 0.2) / 5.0).abs() < 1e-15);
    }

    #[test]
    fn chance_is_a_half() {
        let scored: Vec<(f64, bool)> = (0..100).map(|row| (0.5, row % 2 == 0)).collect();
        assert_eq!(Figures::of(&scored).auc, 0.5);
    }
}
