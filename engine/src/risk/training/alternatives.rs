//! The search for a less discriminatory model: variants that find nearly as many frauds, with a smaller difference between
//! groups of people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::fairness::{GroupFigures, Jurisdiction, Standing};
use super::super::figures::{Rate, count};
use super::boost::Shape;
use super::table::Table;
use super::{Options, TrainError, Trained, groups, train_with};

/// Factors with the largest part in the difference that are left out, one at a time and together.
const SUSPECTS: usize = 4;

/// A model that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// What is different, in words.
    pub what: String,
    /// The options that make it again.
    pub options: Options,
    /// The settled shape of its trees.
    pub shape: Shape,
    /// Area under the curve.
    pub auc: f64,
    /// Frauds found when at most 5 % of honest rows are flagged.
    pub recall: Rate,
    /// The largest less the smallest share of honest rows flagged, over the groups with enough rows.
    pub gap: f64,
    /// The smallest adverse-impact ratio of a group with enough rows.
    pub ratio: f64,
    /// The groups of the column.
    pub groups: Vec<GroupFigures>,
    /// Whether it finds nearly as many frauds as the model itself and has the smaller gap.
    pub better: bool,
}

/// Trains variants of a model and lists them, the model itself first, then those that are better by the size of their gap, then
/// the rest. A variant is better when its recall is at most `tolerance` below the model's and its gap smaller. Variants: the
/// factors that carry most of the difference left out, singly and together; smaller trees; and, where the jurisdiction
/// allows it, rows weighed so that label and group are independent (Kamiran and Calders 2012), which reads the protected
/// column while training and never when scoring.
///
/// # Errors
/// As [`super::train`]; and when the table has no such column.
pub fn less_discriminatory(
    table: &Table,
    options: &Options,
    column: &str,
    tolerance: f64,
) -> Result<Vec<Variant>, TrainError> {
    let jurisdiction = Jurisdiction::get(&options.jurisdiction)
        .ok_or_else(|| TrainError::Jurisdiction(options.jurisdiction.clone()))?;
    if !table.names().any(|name| name == column) {
        return Err(super::TableError::NoColumn(column.to_owned()).into());
    }
    let mut options = options.clone();
    if !options.protects(column) {
        options.protected.push(column.to_owned());
    }
    let original = train_with(table, &options, None, None)?;
    let shape = original.report.shape;
    let judge = |what: String, options: &Options, trained: &Trained| {
        let groups: Vec<GroupFigures> =
            trained.report.groups.iter().filter(|group| group.ground == column).cloned().collect();
        let judged: Vec<&GroupFigures> = groups.iter().filter(|group| group.standing != Standing::TooFew).collect();
        let accused = judged.iter().map(|group| group.false_positives.share);
        let (low, high) = accused.fold((f64::MAX, 0.0_f64), |(low, high), share| (low.min(share), high.max(share)));
        Variant {
            what,
            options: options.clone(),
            shape: trained.report.shape,
            auc: trained.report.test.auc,
            recall: trained.report.test.at_5_percent.recall,
            gap: (high - low).max(0.0),
            ratio: judged.iter().map(|group| group.ratio).fold(1.0, f64::min),
            groups,
            better: false,
        }
    };
    let first = judge("the model itself".to_owned(), &options, &original);

    // The factors with the largest part in any group's difference.
    let mut parts: BTreeMap<&str, f64> = BTreeMap::new();
    for gap in original.report.gaps.iter().filter(|gap| gap.ground == column).flat_map(|gap| &gap.factors) {
        let part = parts.entry(&gap.factor).or_default();
        *part = part.max(gap.gap.abs());
    }
    let mut suspects: Vec<(&str, f64)> = parts.into_iter().collect();
    suspects.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    suspects.truncate(SUSPECTS);
    let names: Vec<&str> = suspects.into_iter().map(|(name, _)| name).collect();

    let mut variants = Vec::new();
    let mut left_out: Vec<Vec<&str>> = names.iter().map(|&name| vec![name]).collect();
    left_out.extend((2..=names.len()).map(|together| names.iter().take(together).copied().collect()));
    for without in left_out {
        let mut options = options.clone();
        options.ignore.extend(without.iter().map(|&name| name.to_owned()));
        match train_with(table, &options, Some(shape), None) {
            Ok(trained) => variants.push(judge(format!("without {}", without.join(", ")), &options, &trained)),
            // Nothing else was left to learn from.
            Err(TrainError::NoInputs) => {}
            Err(error) => return Err(error),
        }
    }
    if shape.depth > 2 {
        let smaller = Shape { depth: shape.depth - 1, ..shape };
        let trained = train_with(table, &options, Some(smaller), None)?;
        variants.push(judge(format!("trees of depth {}", smaller.depth), &options, &trained));
    }
    if jurisdiction.groups_may_weigh {
        let labels = table.labels(&options.label, &options.positive)?;
        let rows: Vec<usize> = (0..table.rows()).collect();
        let weights = independent(&groups::memberships(table, column, &rows, jurisdiction), &labels);
        let trained = train_with(table, &options, Some(shape), Some(&weights))?;
        variants.push(judge(format!("rows weighed by {column} while training"), &options, &trained));
    }
    for variant in &mut variants {
        variant.better = variant.gap < first.gap && variant.recall.share >= first.recall.share - tolerance;
    }
    variants.sort_by(|a, b| b.better.cmp(&a.better).then(a.gap.total_cmp(&b.gap)));
    variants.insert(0, first);
    Ok(variants)
}

/// Weights that make label and group independent: expected over observed rows of each pair. Rows without a group keep 1.
fn independent(groups: &[Option<String>], labels: &[bool]) -> Vec<f64> {
    let mut pairs: BTreeMap<(&str, bool), f64> = BTreeMap::new();
    let mut by_group: BTreeMap<&str, f64> = BTreeMap::new();
    let mut by_label = [0.0, 0.0];
    for (group, &label) in groups.iter().zip(labels) {
        let Some(group) = group.as_deref() else { continue };
        *pairs.entry((group, label)).or_default() += 1.0;
        *by_group.entry(group).or_default() += 1.0;
        if let Some(rows) = by_label.get_mut(usize::from(label)) {
            *rows += 1.0;
        }
    }
    let all = count(groups.iter().flatten().count()).max(1.0);
    let weight = |group: &str, label: bool| {
        let observed = pairs.get(&(group, label)).copied().unwrap_or(0.0).max(1.0);
        by_group.get(group).copied().unwrap_or(0.0) * by_label.get(usize::from(label)).copied().unwrap_or(0.0)
            / all
            / observed
    };
    groups
        .iter()
        .zip(labels)
        .map(|(group, &label)| group.as_deref().map_or(1.0, |group| weight(group, label)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_make_label_and_group_independent() {
        let groups: Vec<Option<String>> =
            (0..100).map(|row| (row < 90).then(|| if row < 60 { "a" } else { "b" }.to_owned())).collect();
        let labels: Vec<bool> = (0..100).map(|row| row < 30 || row % 15 == 0).collect();
        let weights = independent(&groups, &labels);
        let sum = |group: &str, label: Option<bool>| -> f64 {
            let rows = groups.iter().zip(&labels).zip(&weights);
            rows.filter(|((of, is), _)| of.as_deref() == Some(group) && label.is_none_or(|label| **is == label))
                .map(|(_, weight)| weight)
                .sum()
        };
        let rate = |group: &str| sum(group, Some(true)) / sum(group, None);
        assert!((rate("a") - rate("b")).abs() < 1e-12);
        assert_eq!(weights[95], 1.0);
    }
}
