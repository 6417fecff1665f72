//! The values worth trying: for every changeable factor one choice per interval between the trees' cut points.

use super::super::application::Value;
use super::super::factors::{Catalogue, Direction, Factor, Kind, Leeway, Monotone, Role};
use super::super::features::Feature;
use super::super::model::Model;

/// A changeable factor with its choices, none of which is its present value.
#[derive(Debug, Clone)]
pub(super) struct Lever {
    /// Position among the model's features.
    pub(super) feature: usize,
    /// Numbers run upwards.
    pub(super) choices: Vec<Choice>,
}

/// A value to try.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// As the trees see it.
    pub(super) code: f64,
    /// As the applicant would state it.
    pub(super) value: Value,
    /// In units of the factor's usual spread.
    pub(super) cost: f64,
}

/// The levers of a row, those without any choice left out.
pub(super) fn levers(model: &Model, row: &[f64]) -> Vec<Lever> {
    let mut cuts: Vec<Vec<f64>> = vec![Vec::new(); model.features().len()];
    for tree in model.ensemble().trees() {
        for node in (0..tree.len()).filter(|&node| !tree.is_leaf(node)) {
            let place = tree.feature.get(node).and_then(|&feature| usize::try_from(feature).ok());
            if let (Some(cuts), Some(&cut)) = (place.and_then(|place| cuts.get_mut(place)), tree.threshold.get(node)) {
                cuts.push(cut);
            }
        }
    }
    let features = model.features().iter().enumerate().zip(cuts).zip(row);
    features
        .filter(|(((_, feature), _), _)| feature.factor.role == Role::Input && known(feature).changeable)
        .map(|(((position, feature), mut cuts), &present)| {
            cuts.sort_by(f64::total_cmp);
            cuts.dedup();
            let choices = match feature.factor.kind {
                Kind::Category => words(feature, present),
                Kind::Flag => flags(feature, present),
                Kind::Number => numbers(feature, &cuts, present),
            };
            Lever { feature: position, choices }
        })
        .filter(|lever| !lever.choices.is_empty())
        .collect()
}

/// What can be changed is today's knowledge and not the model's: the catalogue's entry where there is one.
fn known(feature: &Feature) -> &Factor {
    Catalogue::shipped().get(&feature.factor.name).unwrap_or(&feature.factor)
}

fn leeway(feature: &Feature) -> Leeway {
    known(feature).leeway.unwrap_or(Leeway { direction: Direction::Either, step: None })
}

/// Whether a change from one value to another is allowed and could lower the score.
fn allowed(feature: &Feature, direction: Direction, from: f64, to: f64) -> bool {
    if from.is_nan() {
        return true;
    }
    let up = to > from;
    let may = match direction {
        Direction::Either => true,
        Direction::Higher => up,
        Direction::Lower => !up,
    };
    let helps = match feature.factor.monotone {
        Monotone::Free => true,
        Monotone::Increasing => !up,
        Monotone::Decreasing => up,
    };
    may && helps
}

fn words(feature: &Feature, present: f64) -> Vec<Choice> {
    // Words the catalogue does not list (misspelt, retired) are no advice, unless it lists none.
    let listed = &known(feature).categories;
    (0_u32..)
        .zip(&feature.categories)
        .filter(|(code, word)| f64::from(*code) != present && (listed.is_empty() || listed.contains_key(*word)))
        .map(|(code, word)| Choice { code: f64::from(code), value: Value::Text(word.clone()), cost: 1.0 })
        .collect()
}

fn flags(feature: &Feature, present: f64) -> Vec<Choice> {
    let direction = leeway(feature).direction;
    [0.0, 1.0]
        .into_iter()
        .filter(|&flag| flag != present && allowed(feature, direction, present, flag))
        .map(|flag| Choice { code: flag, value: Value::Number(flag), cost: 1.0 })
        .collect()
}

/// The round number nearest to the present one in every interval between cuts but the present one's own.
fn numbers(feature: &Feature, cuts: &[f64], present: f64) -> Vec<Choice> {
    let Leeway { direction, step } = leeway(feature);
    let (low, high) = (feature.usual_low.unwrap_or(0.0), feature.usual_high.unwrap_or(1.0));
    let spread = if high > low { high - low } else { step.unwrap_or(1.0) };
    let step = step.unwrap_or_else(|| libm::pow(10.0, libm::floor(libm::log10(spread / 100.0))));
    // What is not given has no distance; the middle of what is usual stands for it, and giving it costs one more.
    let (start, extra) = if present.is_nan() { (f64::midpoint(low, high), 1.0) } else { (present, 0.0) };
    let minimum = known(feature).minimum.unwrap_or(f64::MIN);
    let maximum = known(feature).maximum.unwrap_or(f64::MAX);
    let here = cuts.partition_point(|cut| *cut <= present);
    (0..=cuts.len())
        .filter(|&interval| present.is_nan() || interval != here)
        .filter_map(|interval| {
            let from = interval.checked_sub(1).and_then(|below| cuts.get(below)).copied().unwrap_or(f64::MIN);
            let to = cuts.get(interval).copied().unwrap_or(f64::MAX);
            let fits = |value: f64| {
                let code = feature.encode_number(Some(value));
                code >= from && code < to && value >= minimum && value <= maximum
            };
            let value = nearest_round(start, step, from.max(minimum), to.min(maximum), fits)?;
            let code = feature.encode_number(Some(value));
            allowed(feature, direction, present, code).then(|| Choice {
                code,
                cost: extra + (value - start).abs() / spread,
                value: Value::Number(value),
            })
        })
        .collect()
}

/// The multiple of `step` nearest to `start` between two ends that fits; where none does, finer steps are tried.
fn nearest_round(start: f64, step: f64, from: f64, to: f64, fits: impl Fn(f64) -> bool) -> Option<f64> {
    [1.0, 10.0, 100.0].into_iter().find_map(|finer| {
        let unit = step / finer;
        // Units below one are held as how many of them make one, so that three tenths are 0.3.
        let per_one = unit.recip().round();
        let value = |units: f64| if unit < 1.0 { units / per_one } else { units * unit };
        let units = |value: f64| if unit < 1.0 { value * per_one } else { value / unit };
        let tries = if start < from {
            let first = libm::ceil(units(from));
            [first, first + 1.0, first + 2.0]
        } else if start >= to {
            let first = libm::floor(units(to));
            [first, first - 1.0, first - 2.0]
        } else {
            let nearest = units(start).round();
            [nearest, nearest + 1.0, nearest - 1.0]
        };
        tries.into_iter().map(value).find(|&value| fits(value))
    })
}
