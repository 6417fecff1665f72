//! What two factors do together beyond what each does alone: exact interactions of a pair.

use candor_engine::risk::importance::Sample;
use candor_engine::risk::{Application, Feature, Interactions, Kind, Model, Value};

use super::chart::{Axis, Chart};
use super::conversations::length;
use super::drawings::{NEEDS, Places, label, odds};
use super::plot::Plot;
use super::report::{Cell, Report, heads};

/// Applications whose interactions are worked out, at most: the newest ones. A row has as many as factors squared.
pub(super) const ROWS: usize = 200;
/// Pairs in the table.
const PAIRS: usize = 15;

/// The interactions of some applications.
pub(super) struct Matrices {
    features: usize,
    /// One for each application, `features` by `features`.
    rows: Vec<Vec<f64>>,
}

impl Matrices {
    /// Works them out.
    pub(super) fn of<'a>(model: &Model, applications: impl Iterator<Item = &'a Application>) -> Self {
        let interactions = Interactions::new(model.ensemble());
        let mut scratch = interactions.scratch();
        let features = model.features().len();
        let rows = applications
            .map(|application| {
                let mut out = vec![0.0; features * features];
                interactions.explain(&model.encode(application), &mut scratch, &mut out);
                out
            })
            .collect();
        Self { features, rows }
    }

    /// The whole interaction of two factors in one application: both halves of the matrix.
    fn of_pair(&self, row: &[f64], a: usize, b: usize) -> f64 {
        let at = |from: usize, to: usize| row.get(from * self.features + to).copied().unwrap_or(0.0);
        at(a, b) + at(b, a)
    }

    /// Mean size of a pair's interaction.
    fn size(&self, a: usize, b: usize) -> f64 {
        let sum: f64 = self.rows.iter().map(|row| self.of_pair(row, a, b).abs()).sum();
        sum / length(i64::try_from(self.rows.len()).unwrap_or(0)).max(1.0)
    }

    /// Every pair with its mean size, the largest first.
    pub(super) fn sizes(&self) -> Vec<(usize, usize, f64)> {
        let mut all: Vec<(usize, usize, f64)> = (0..self.features)
            .flat_map(|a| (a + 1..self.features).map(move |b| (a, b)))
            .map(|(a, b)| (a, b, self.size(a, b)))
            .collect();
        all.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        all
    }
}

/// The pairs that weigh most.
pub(super) fn pairs(features: &[Feature], sizes: &[(usize, usize, f64)], rows: usize) -> Report {
    let named = |at: usize| features.get(at).map_or_else(String::new, |feature| feature.factor.label.clone());
    let shown: Vec<(String, f64)> = sizes
        .iter()
        .take(PAIRS)
        .filter(|(.., size)| *size > 0.0)
        .map(|(a, b, size)| (format!("{} × {}", named(*a), named(*b)), *size))
        .collect();
    Report {
        name: "pairs".to_owned(),
        title: "Pairs that weigh most".to_owned(),
        about: format!(
            "Mean size of what two factors do together beyond what each does alone, in log-odds, over the newest {rows} \
             applications. Exact, and part of both factors' contributions."
        ),
        figure: None,
        plot: Plot::bars(
            "pairs",
            "Mean size of interactions",
            shown.iter().map(|(pair, size)| (pair.clone(), *size, format!("{size:.3}"))).collect(),
        ),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Pair", "Mean size"]),
        rows: shown.into_iter().map(|(pair, size)| vec![Cell::Text(pair), Cell::Exact(size)]).collect(),
    }
}

/// What two factors do together, by the value of the first, for low and high values of the second. `sample` holds the same
/// applications as the matrices.
pub(super) fn interaction(
    features: &[Feature],
    sample: &Sample,
    matrices: &Matrices,
    (first, second): (usize, usize),
) -> Option<Report> {
    let (feature, with) = (features.get(first)?, features.get(second)?);
    let column = |place: usize| -> Vec<Option<Value>> {
        sample.values.iter().map(|row| row.get(place).cloned().flatten()).collect()
    };
    let (values, others) = (column(first), column(second));
    let sides = sides(with, &others);
    let points: Vec<(Option<&Value>, Side, f64)> = values
        .iter()
        .zip(&sides)
        .zip(&matrices.rows)
        .map(|((value, side), row)| (value.as_ref(), *side, matrices.of_pair(row, first, second)))
        .collect();
    let places = Places::of(feature, &values);
    let (low, high) = points.iter().fold((0.0_f64, 0.0_f64), |(low, high), (.., at)| (low.min(*at), high.max(*at)));
    let mut chart = Chart::new(places.axis.clone(), Axis::new("together, in log-odds", low, high, odds));
    for (value, side, at) in &points {
        if let Some(x) = places.at(*value) {
            chart.dot(x, *at, side.class());
        }
    }
    let (name, other) = (label(features, &feature.factor.name), label(features, &with.factor.name));
    let title = format!("Interaction: {name} × {other}");
    let steps = sample.dependence_steps(&feature.factor.name, 6);
    let rows: Vec<Vec<Cell>> = steps
        .iter()
        .map(|step| {
            let inside = |value: Option<&Value>| match (value, &step.from, &step.to) {
                (Some(Value::Number(at)), Some(Value::Number(from)), Some(Value::Number(to))) => {
                    (from..=to).contains(&at)
                }
                (value, from, _) => value == from.as_ref(),
            };
            let mean = |side: Side| {
                let found: Vec<f64> =
                    points.iter().filter(|(value, of, _)| *of == side && inside(*value)).map(|(.., at)| *at).collect();
                let rows = i64::try_from(found.len()).unwrap_or(0);
                let mean = found.iter().sum::<f64>() / length(rows).max(1.0);
                [Cell::Count(rows), if rows > 0 { Cell::Exact(mean) } else { Cell::Mean(None) }]
            };
            let words = match (&step.from, &step.to) {
                (Some(Value::Number(from)), Some(Value::Number(to))) => feature.factor.range_in_words(*from, *to),
                (from, _) => feature.in_words(from.as_ref()),
            };
            let mut cells = vec![Cell::Text(words)];
            cells.extend(mean(Side::Low));
            cells.extend(mean(Side::High));
            cells
        })
        .collect();
    let (lower, higher) = halves(with, &others);
    Some(Report {
        name: "interaction".to_owned(),
        about: format!("Hollow points: {other} {lower}. Filled points: {other} {higher}. What is missing is grey."),
        figure: None,
        plot: Plot::chart(
            "interaction",
            &title,
            format!("What {name} and {other} do together, over {} applications.", points.len()),
            chart,
        )
        .filter(|_| !points.is_empty()),
        needs: Some(NEEDS.to_owned()),
        head: vec![
            name,
            format!("Applications, {other} {lower}"),
            "Mean".to_owned(),
            format!("Applications, {other} {higher}"),
            "Mean".to_owned(),
        ],
        rows,
        title,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Low,
    High,
    Missing,
}

impl Side {
    fn class(self) -> &'static str {
        match self {
            Self::Low => "bee-low",
            Self::High => "bee-high",
            Self::Missing => "bee-middle",
        }
    }
}

/// Where the second factor's values are parted: a number's median, or the most frequent word.
enum Cut {
    Number(f64),
    Word(String),
}

fn cut(with: &Feature, values: &[Option<Value>]) -> Option<Cut> {
    if with.factor.kind == Kind::Flag {
        return Some(Cut::Number(0.5));
    }
    let mut numbers: Vec<f64> = Vec::new();
    let mut words: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for value in values.iter().flatten() {
        match value {
            Value::Number(number) => numbers.push(*number),
            Value::Text(word) => *words.entry(word).or_default() += 1,
        }
    }
    numbers.sort_by(f64::total_cmp);
    // The value above the middle, but never the lowest: both sides hold something where there are two values.
    let median = numbers.get(numbers.len() / 2).copied();
    let lowest = numbers.first().copied();
    let above = numbers.iter().copied().find(|number| Some(*number) > lowest);
    match (median, lowest) {
        (Some(median), Some(lowest)) if median > lowest => Some(Cut::Number(median)),
        (Some(median), _) => Some(Cut::Number(above.unwrap_or(median))),
        _ => words.into_iter().max_by_key(|(_, count)| *count).map(|(word, _)| Cut::Word(word.to_owned())),
    }
}

fn sides(with: &Feature, values: &[Option<Value>]) -> Vec<Side> {
    let cut = cut(with, values);
    values
        .iter()
        .map(|value| match (value, &cut) {
            (Some(Value::Number(number)), Some(Cut::Number(from))) => {
                if number < from {
                    Side::Low
                } else {
                    Side::High
                }
            }
            (Some(Value::Text(word)), Some(Cut::Word(most))) => {
                if word == most {
                    Side::High
                } else {
                    Side::Low
                }
            }
            _ => Side::Missing,
        })
        .collect()
}

/// Both sides in words.
fn halves(with: &Feature, values: &[Option<Value>]) -> (String, String) {
    match cut(with, values) {
        Some(Cut::Number(_)) if with.factor.kind == Kind::Flag => ("no".to_owned(), "yes".to_owned()),
        Some(Cut::Number(from)) => {
            let words = with.factor.number_in_words(from);
            (format!("below {words}"), format!("from {words}"))
        }
        Some(Cut::Word(most)) => {
            let words = with.factor.category_in_words(&most);
            (format!("not {words}"), words)
        }
        None => ("low".to_owned(), "high".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::demo;

    use super::*;

    #[test]
    fn a_pair_is_drawn_whatever_its_kinds_and_interactions_add_up() {
        let model = Model::shipped().unwrap();
        let demo = demo::applications(5, 30, 30);
        let sample = Sample::explain(&model, demo.iter().map(|one| &one.application));
        let matrices = Matrices::of(&model, demo.iter().map(|one| &one.application));
        for (row, contributions) in matrices.rows.iter().zip(&sample.contributions) {
            let (all, sum): (f64, f64) = (row.iter().sum(), contributions.iter().sum());
            assert!((all - sum).abs() < 1e-8);
        }
        let place = |name: &str| model.features().iter().position(|feature| feature.factor.name == name).unwrap();
        for (first, second) in
            [("income", "source"), ("source", "income"), ("email_is_free", "income"), ("income", "email_is_free")]
        {
            let pair = (place(first), place(second));
            let report = interaction(model.features(), &sample, &matrices, pair).unwrap();
            assert!(report.plot.is_some() && !report.rows.is_empty(), "{first} {second}");
            let counted: i64 = report
                .rows
                .iter()
                .flat_map(|row| [&row[1], &row[3]])
                .map(|cell| if let Cell::Count(rows) = cell { *rows } else { 0 })
                .sum();
            let known = demo.iter().filter(|one| one.application.value(second).is_some()).count();
            assert_eq!(counted, i64::try_from(known).unwrap(), "{first} {second}");
        }
        let sizes = matrices.sizes();
        assert!(sizes.windows(2).all(|two| two[0].2 >= two[1].2));
        assert_eq!(pairs(model.features(), &sizes, 30).rows.len(), PAIRS);
    }
}
