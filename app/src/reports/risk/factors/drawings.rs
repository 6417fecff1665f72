//! Importance, beeswarm and dependence as reports.

use candor_engine::risk::importance::{BeePoint, DependenceStep, Importance, Sample};
use candor_engine::risk::{Feature, Kind, Value};

use super::chart::{Axis, Chart};
use super::conversations::length;
use super::lanes::Lanes;
use super::plot::Plot;
use super::report::{Cell, Report, heads};

/// Factors in the beeswarm.
const SWARMS: usize = 12;
/// Height of a factor's row in the beeswarm.
const SWARM: f64 = 38.0;
/// Steps of a dependence's table.
const STEPS: usize = 10;

pub(super) const NEEDS: &str = "Needed: applications of this period whose data is still kept.";

/// Log-odds with their sign.
pub(super) fn odds(at: f64) -> String {
    format!("{at:+.2}").replace('-', "\u{2212}")
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A factor's label, as the model has it.
pub(super) fn label(features: &[Feature], factor: &str) -> String {
    let known = features.iter().find(|feature| feature.factor.name == factor);
    known.map_or_else(|| factor.replace('_', " "), |feature| feature.factor.label.clone())
}

/// Every factor's mean contribution by size.
pub(super) fn importance(features: &[Feature], sample: &Sample, all: &[Importance]) -> Report {
    let rows = sample.contributions.len();
    let drawn = all.iter().filter(|_| rows > 0);
    Report {
        name: "importance".to_owned(),
        title: "Importance".to_owned(),
        about: format!(
            "Mean size of each factor's contribution to the score, in log-odds, over the newest {rows} applications, \
             explained by the model in force."
        ),
        figure: None,
        plot: Plot::bars(
            "importance",
            "Mean size of every factor's contribution",
            drawn
                .clone()
                .map(|one| (label(features, &one.factor), one.mean_size, format!("{:.3}", one.mean_size)))
                .collect(),
        ),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Factor", "Mean size", "Mean"]),
        rows: drawn
            .map(|one| {
                vec![Cell::Text(label(features, &one.factor)), Cell::Exact(one.mean_size), Cell::Exact(one.mean)]
            })
            .collect(),
    }
}

/// The contributions of the factors that weigh most, an application a point.
pub(super) fn beeswarm(features: &[Feature], sample: &Sample, all: &[Importance]) -> Report {
    let factors: Vec<&str> = all.iter().take(SWARMS).map(|one| one.factor.as_str()).collect();
    let ends = sample.contributions.iter().flatten();
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), at| (low.min(*at), high.max(*at)));
    let mut lanes = Lanes::new(Axis::new("contribution, in log-odds", low, high, odds), SWARM);
    lanes.line(0.0, "0".to_owned());
    // A point is about 3.6 wide on an axis of 284.
    let width = (high - low) * 3.6 / 284.0;
    for factor in &factors {
        let marks = sample.beeswarm(factor, width).into_iter().map(|bee| (bee.contribution, bee.step, class(&bee)));
        lanes.lane(&label(features, factor), None, marks, String::new());
    }
    let columns = factors.iter().map(|factor| {
        let place = sample.factors.iter().position(|known| known == factor);
        let mut column: Vec<f64> = sample.contributions.iter().filter_map(|row| row.get(place?).copied()).collect();
        column.sort_by(f64::total_cmp);
        (factor, column)
    });
    let rows: Vec<Vec<Cell>> = columns
        .filter(|(_, column)| !column.is_empty())
        .map(|(factor, column)| {
            let at = |hundredth: usize| column.get((column.len() - 1) * hundredth / 100).copied().unwrap_or(0.0);
            let mut cells = vec![Cell::Text(label(features, factor))];
            cells.extend([0, 5, 25, 50, 75, 95, 100].map(|hundredth| Cell::Exact(at(hundredth))));
            cells
        })
        .collect();
    let spoken: Vec<String> = all.iter().take(3).map(|one| label(features, &one.factor)).collect();
    Report {
        name: "beeswarm".to_owned(),
        title: "Beeswarm".to_owned(),
        about: "An application is a point in every row: right of 0 the factor raised its score, left of 0 it lowered it. \
                Filled points have a high value of the factor, hollow ones a low one, grey ones are in between, words, or \
                missing."
            .to_owned(),
        figure: None,
        plot: Plot::lanes(
            "beeswarm",
            "Contributions of the factors that weigh most",
            format!("The factors that weigh most are {}. The table has each row's spread.", spoken.join(", ")),
            lanes,
        )
        .filter(|_| !rows.is_empty()),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Factor", "Lowest", "5 %", "25 %", "Median", "75 %", "95 %", "Highest"]),
        rows,
    }
}

fn class(bee: &BeePoint) -> &'static str {
    match bee.height {
        Some(height) if height >= 2.0 / 3.0 => "bee-high",
        Some(height) if height <= 1.0 / 3.0 => "bee-low",
        _ => "bee-middle",
    }
}

/// A value as people write it; what is missing says so.
fn in_words(feature: &Feature, value: Option<&Value>) -> String {
    feature.in_words(value)
}

fn step_in_words(feature: &Feature, step: &DependenceStep) -> String {
    match (&step.from, &step.to) {
        (Some(Value::Number(from)), Some(Value::Number(to))) if from != to => feature.factor.range_in_words(*from, *to),
        (from, _) => in_words(feature, from.as_ref()),
    }
}

/// Where an application's value stands along the axis of a factor.
pub(super) struct Places {
    words: Vec<Option<Value>>,
    pub(super) axis: Axis,
}

impl Places {
    /// The axis of a factor over these values: a number's own, or one place for each word.
    pub(super) fn of(feature: &Feature, values: &[Option<Value>]) -> Self {
        let numbers: Vec<f64> = values
            .iter()
            .filter_map(|value| if let Some(Value::Number(number)) = value { Some(*number) } else { None })
            .collect();
        let mut words: Vec<Option<Value>> = Vec::new();
        for value in values {
            if matches!(value, Some(Value::Text(_))) && !words.contains(value) {
                words.push(value.clone());
            }
        }
        let title = &feature.factor.label;
        if feature.factor.kind == Kind::Flag {
            // Nought and one stand where these two words do.
            return Self { axis: Axis::of_words(title, &["no".to_owned(), "yes".to_owned()]), words };
        }
        if numbers.is_empty() {
            if values.iter().any(Option::is_none) {
                words.push(None);
            }
            let labels: Vec<String> =
                words.iter().map(|word| super::plot::shortened_to(&in_words(feature, word.as_ref()), 14)).collect();
            return Self { axis: Axis::of_words(title, &labels), words };
        }
        let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(*at), high.max(*at)));
        Self { words, axis: Axis::new(title, low, high, |at| feature.factor.number_in_words(round(at, high - low))) }
    }

    /// Where a value stands; `None` where it has no place, such as a missing number.
    pub(super) fn at(&self, value: Option<&Value>) -> Option<f64> {
        match value {
            Some(Value::Number(number)) => Some(*number),
            other => {
                let place = self.words.iter().position(|word| word.as_ref() == other)?;
                Some(length(count(place)))
            }
        }
    }
}

/// A mark of an axis without more digits than the axis is wide.
fn round(at: f64, width: f64) -> f64 {
    let unit = 10_f64.powf((width / 100.0).max(1e-6).log10().floor());
    (at / unit).round() * unit
}

/// One factor's contribution by its value.
pub(super) fn dependence(feature: &Feature, sample: &Sample) -> Report {
    let name = &feature.factor.name;
    let points = sample.dependence(name);
    let values: Vec<Option<Value>> = points.iter().map(|point| point.value.clone()).collect();
    let places = Places::of(feature, &values);
    let ends = points.iter().map(|point| point.contribution);
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
    let mut chart = Chart::new(places.axis.clone(), Axis::new("contribution, in log-odds", low, high, odds));
    for point in &points {
        if let Some(x) = places.at(point.value.as_ref()) {
            chart.dot(x, point.contribution, if point.contribution > 0.0 { "raise" } else { "lower" });
        }
    }
    let steps = sample.dependence_steps(name, STEPS);
    let missing = points.iter().filter(|point| point.value.is_none()).count();
    let title = format!("Dependence: {}", feature.factor.label);
    Report {
        name: "dependence".to_owned(),
        about: format!(
            "An application is a point: its value, and what the factor did to its score.{} The table has the quartiles.",
            if missing > 0 { format!(" {missing} without a value are in the table only.") } else { String::new() }
        ),
        figure: None,
        plot: Plot::chart(
            "dependence",
            &title,
            format!("Contribution of {} by its value, over {} applications.", feature.factor.label, points.len()),
            chart,
        )
        .filter(|_| !points.is_empty()),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Value", "Applications", "Lower quartile", "Median", "Upper quartile"]),
        rows: steps
            .iter()
            .map(|step| {
                vec![
                    Cell::Text(step_in_words(feature, step)),
                    Cell::Count(count(step.rows)),
                    Cell::Exact(step.low),
                    Cell::Exact(step.median),
                    Cell::Exact(step.high),
                ]
            })
            .collect(),
        title,
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Model, demo};

    use super::*;

    #[test]
    fn every_kind_of_factor_is_drawn_and_its_table_holds_every_application() {
        let model = Model::shipped().unwrap();
        let demo = demo::applications(5, 200, 30);
        let sample = Sample::explain(&model, demo.iter().map(|one| &one.application));
        let all = sample.importance();
        let important = importance(model.features(), &sample, &all);
        assert_eq!(important.rows.len(), model.features().len());
        let swarm = beeswarm(model.features(), &sample, &all);
        assert_eq!(swarm.rows.len(), SWARMS);
        assert!(swarm.rows.iter().all(|row| row.len() == swarm.head.len()) && swarm.plot.is_some());
        for feature in model.features() {
            let report = dependence(feature, &sample);
            let rows: i64 = report.rows.iter().map(|row| if let Cell::Count(rows) = row[1] { rows } else { 0 }).sum();
            assert_eq!(rows, 200, "{}", feature.factor.name);
            assert!(report.plot.is_some());
        }
        let nothing = Sample::explain(&model, std::iter::empty());
        assert!(importance(model.features(), &nothing, &nothing.importance()).rows.is_empty());
        assert!(beeswarm(model.features(), &nothing, &nothing.importance()).plot.is_none());
    }
}
