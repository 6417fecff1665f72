//! What moves the scores of many applications: importance, beeswarm, dependence, and cases that resemble one another.

use serde::{Deserialize, Serialize};

use super::application::{Application, Value};
use super::figures::count;
use super::model::Model;

/// Explained applications, side by side: a row each, a column per factor in the model's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The factors' names.
    pub factors: Vec<String>,
    /// The values as they were given.
    pub values: Vec<Vec<Option<Value>>>,
    /// The contributions, in log-odds.
    pub contributions: Vec<Vec<f64>>,
}

/// A factor's weight over many applications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The factor's name.
    pub factor: String,
    /// Mean of the contribution's size, in log-odds.
    pub mean_size: f64,
    /// Mean contribution, with its sign.
    pub mean: f64,
}

/// One application in a beeswarm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BeePoint {
    /// The application's position in the sample.
    pub row: usize,
    /// The contribution, in log-odds: the place along the axis.
    pub contribution: f64,
    /// Steps away from the axis so that points do not overlap, alternating: 0, 1, -1, 2, …
    pub step: i32,
    /// Where the value lies among the sample's, 0 the lowest and 1 the highest: the colour. None for words and missing values.
    pub height: Option<f64>,
}

/// One application in a dependence plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DependencePoint {
    /// The application's position in the sample.
    pub row: usize,
    /// The value; none where it is missing.
    pub value: Option<Value>,
    /// The factor's contribution, in log-odds.
    pub contribution: f64,
}

/// The contributions of applications with about the same value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DependenceStep {
    /// The lowest value, or the word; none where values are missing.
    pub from: Option<Value>,
    /// The highest value, or the word.
    pub to: Option<Value>,
    /// Applications.
    pub rows: usize,
    /// Lower quartile of the contribution.
    pub low: f64,
    /// Median of the contribution.
    pub median: f64,
    /// Upper quartile of the contribution.
    pub high: f64,
}

impl Sample {
    /// Explains applications.
    pub fn explain<'a>(model: &Model, applications: impl Iterator<Item = &'a Application>) -> Sample {
        let mut sample = Sample {
            factors: model.features().iter().map(|feature| feature.factor.name.clone()).collect(),
            values: Vec::new(),
            contributions: Vec::new(),
        };
        let mut scratch = model.scratch();
        for application in applications {
            let mut contributions = vec![0.0; sample.factors.len()];
            model.explainer().explain(&model.encode(application), &mut scratch, &mut contributions);
            sample.contributions.push(contributions);
            sample.values.push(sample.factors.iter().map(|factor| application.value(factor)).collect());
        }
        sample
    }

    fn column(&self, factor: &str) -> Option<usize> {
        self.factors.iter().position(|name| name == factor)
    }

    /// Every factor's importance, the largest first.
    pub fn importance(&self) -> Vec<Importance> {
        let rows = count(self.contributions.len()).max(1.0);
        let mut all: Vec<Importance> = self
            .factors
            .iter()
            .enumerate()
            .map(|(column, factor)| {
                let contributions = self.contributions.iter().filter_map(|row| row.get(column));
                Importance {
                    factor: factor.clone(),
                    mean_size: contributions.clone().map(|contribution| contribution.abs()).sum::<f64>() / rows,
                    mean: contributions.sum::<f64>() / rows,
                }
            })
            .collect();
        all.sort_by(|a, b| b.mean_size.total_cmp(&a.mean_size));
        all
    }

    /// The points of one factor's row in a beeswarm. `width` is a point's diameter in log-odds: points closer than that
    /// are moved apart, across the axis.
    pub fn beeswarm(&self, factor: &str, width: f64) -> Vec<BeePoint> {
        let Some(column) = self.column(factor) else { return Vec::new() };
        let number = |row: usize| match self.values.get(row)?.get(column)?.as_ref()? {
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
        };
        let mut sorted: Vec<f64> = (0..self.values.len()).filter_map(number).collect();
        sorted.sort_by(f64::total_cmp);
        let highest = count(sorted.len()) - 1.0;
        let height = |value: f64| {
            let (first, after) =
                (sorted.partition_point(|one| *one < value), sorted.partition_point(|one| *one <= value));
            (highest > 0.0).then(|| ((count(first) + count(after) - 1.0) / 2.0 / highest).clamp(0.0, 1.0))
        };
        let mut points: Vec<BeePoint> = self
            .contributions
            .iter()
            .enumerate()
            .filter_map(|(row, contributions)| {
                let contribution = *contributions.get(column)?;
                Some(BeePoint { row, contribution, step: 0, height: number(row).and_then(height) })
            })
            .collect();
        points.sort_by(|a, b| a.contribution.total_cmp(&b.contribution));
        // The right end of every lane so far: a point goes to the first lane that is free.
        let mut lanes: Vec<f64> = Vec::new();
        for point in &mut points {
            let free = lanes.iter().position(|end| *end <= point.contribution).unwrap_or(lanes.len());
            let end = point.contribution + width;
            match lanes.get_mut(free) {
                Some(lane) => *lane = end,
                None => lanes.push(end),
            }
            let lane = i32::try_from(free).unwrap_or(i32::MAX);
            point.step = if lane % 2 == 0 { -(lane / 2) } else { lane / 2 + 1 };
        }
        points
    }

    /// One factor's contribution by its value, an application each.
    pub fn dependence(&self, factor: &str) -> Vec<DependencePoint> {
        let Some(column) = self.column(factor) else { return Vec::new() };
        let rows = self.values.iter().zip(&self.contributions).enumerate();
        rows.filter_map(|(row, (values, contributions))| {
            let (value, contribution) = (values.get(column)?.clone(), *contributions.get(column)?);
            Some(DependencePoint { row, value, contribution })
        })
        .collect()
    }

    /// One factor's contribution in at most `steps` steps with equally many applications (words: a step each; missing
    /// values: a step of their own): what a table beside the plot says.
    pub fn dependence_steps(&self, factor: &str, steps: usize) -> Vec<DependenceStep> {
        let mut points = self.dependence(factor);
        points.sort_by(|a, b| order(a.value.as_ref(), b.value.as_ref()));
        let numbers = points.iter().filter(|point| matches!(point.value, Some(Value::Number(_)))).count();
        let size = numbers.div_ceil(steps.max(1)).max(1);
        let mut groups: Vec<Vec<&DependencePoint>> = Vec::new();
        for point in &points {
            let joins = groups.last().is_some_and(|group| match (group.last().map(|last| &last.value), &point.value) {
                // Equal numbers stay together.
                (Some(Some(Value::Number(last))), Some(Value::Number(next))) => group.len() < size || last == next,
                (Some(last), next) => last == next,
                (None, _) => false,
            });
            match groups.last_mut() {
                Some(group) if joins => group.push(point),
                _ => groups.push(vec![point]),
            }
        }
        groups
            .iter()
            .map(|group| {
                let mut contributions: Vec<f64> = group.iter().map(|point| point.contribution).collect();
                contributions.sort_by(f64::total_cmp);
                let at = |quarter: usize| {
                    contributions.get((contributions.len() - 1) * quarter / 4).copied().unwrap_or(f64::NAN)
                };
                DependenceStep {
                    from: group.first().and_then(|point| point.value.clone()),
                    to: group.last().and_then(|point| point.value.clone()),
                    rows: group.len(),
                    low: at(1),
                    median: at(2),
                    high: at(3),
                }
            })
            .collect()
    }
}

/// Numbers upwards, then words, then missing values.
fn order(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    let rank = |value: Option<&Value>| match value {
        Some(Value::Number(_)) => 0,
        Some(Value::Text(_)) => 1,
        None => 2,
    };
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.total_cmp(b),
        (Some(Value::Text(a)), Some(Value::Text(b))) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// How far two scores lie apart in what made them: the Euclidean distance of their contributions, in log-odds. Two
/// applications are near when the same factors moved both by the same amount, whatever the values were.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The nearest of many cases, the nearest first: their positions and distances. Equal distances keep the cases' order.
pub fn nearest<'c>(one: &[f64], cases: impl Iterator<Item = &'c [f64]>, most: usize) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = cases.map(|case| distance(one, case)).enumerate().collect();
    all.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Generator;

    fn sample() -> (Model, Vec<Application>, Sample) {
        let model = Model::shipped().unwrap();
        let applications: Vec<Application> = Generator { applications: 400, fraud_rate: 0.1, ..Generator::default() }
            .run()
            .into_iter()
            .map(|one| one.application)
            .collect();
        let sample = Sample::explain(&model, applications.iter());
        (model, applications, sample)
    }

    #[test]
    fn contributions_add_up_and_importance_is_their_mean_size() {
        let (model, applications, sample) = sample();
        for (application, contributions) in applications.iter().zip(&sample.contributions) {
            let sum = model.baseline() + contributions.iter().sum::<f64>();
            assert!((sum - model.margin(application)).abs() < 1e-9);
        }
        let importance = sample.importance();
        assert!(importance.windows(2).all(|pair| pair[0].mean_size >= pair[1].mean_size));
        assert!(importance.iter().all(|one| one.mean.abs() <= one.mean_size + 1e-15));
        let total: f64 = importance.iter().map(|one| one.mean_size).sum();
        let direct: f64 = sample.contributions.iter().flatten().map(|one| one.abs()).sum::<f64>() / 400.0;
        assert!((total - direct).abs() < 1e-9);
    }

    #[test]
    fn bees_in_a_lane_never_overlap() {
        let (.., sample) = sample();
        let points = sample.beeswarm("income", 0.01);
        assert_eq!(points.len(), 400);
        for (position, a) in points.iter().enumerate() {
            for b in points.iter().skip(position + 1).filter(|b| b.step == a.step) {
                assert!((a.contribution - b.contribution).abs() >= 0.01 - 1e-12);
            }
            assert!(a.height.is_none_or(|height| (0.0..=1.0).contains(&height)));
        }
    }

    #[test]
    fn dependence_steps_hold_every_application_once() {
        let (.., sample) = sample();
        for factor in ["income", "source", "bank_months_count", "email_is_free"] {
            let steps = sample.dependence_steps(factor, 10);
            assert_eq!(steps.iter().map(|step| step.rows).sum::<usize>(), 400, "{factor}");
            assert!(steps.len() <= 12 && steps.iter().all(|step| step.low <= step.median && step.median <= step.high));
        }
        assert_eq!(sample.dependence_steps("email_is_free", 10).len(), 2);
        assert!(sample.dependence("shoe_size").is_empty());
    }

    #[test]
    fn the_nearest_case_is_the_case_itself() {
        let (.., sample) = sample();
        let found = nearest(&sample.contributions[7], sample.contributions.iter().map(Vec::as_slice), 3);
        assert_eq!(found[0], (7, 0.0));
        assert!(found[1].1 <= found[2].1);
    }
}
