//! What would change it: the smallest changes to an applicant's changeable factors that bring the probability under a
//! threshold, found by exact search.
//!
//! Trees change their mind only at their own cut points, so a factor has finitely many different values: one choice per
//! interval between cuts, the round value nearest to what the applicant stated. A change costs its distance in units of the
//! factor's usual spread (95th less 5th percentile); another word, a flag, or a value that was missing costs one.
//!
//! For every set of at most three factors the search keeps boxes of choices. A box is worth at best the sum, over the
//! trees, of the lowest leaf that it can reach; a box that cannot come under the threshold is dropped, the others are
//! halved, the cheapest first. The first single point that comes under is the cheapest change of its set; sets come
//! out in the order of cost, and a set that contains one already found is never reported. Nothing is sampled: with
//! [`Answer::complete`] the alternatives are the cheapest there are.
//!
//! Protected and unchangeable factors are never touched, a factor only moves the way that its catalogue entry allows,
//! and one with a monotone sense never in the direction that could only raise the score.

mod choices;
mod search;

use serde::{Deserialize, Serialize};

use super::application::{Application, Value};
use super::model::Model;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The probability must come below this.
    pub threshold: f64,
    /// At most so many factors change together, 1 to 3.
    pub most_factors: usize,
    /// At most so many alternatives are answered.
    pub most_alternatives: usize,
}

impl Question {
    /// How to come under a threshold: at most three factors together, at most three alternatives.
    pub fn under(threshold: f64) -> Question {
        Question { threshold, most_factors: 3, most_alternatives: 3 }
    }
}

/// One factor's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The factor's name.
    pub factor: String,
    /// Its label.
    pub label: String,
    /// The value that was given; none where it was missing.
    pub from: Option<Value>,
    /// The value that would be needed.
    pub to: Value,
    /// Its cost, in units of the factor's usual spread.
    pub cost: f64,
    /// In plain words: `Amount applied for: €8,000 instead of €12,000`.
    pub in_words: String,
}

/// Changes that together bring the probability under the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The changes, in the model's order of factors. Each one is needed.
    pub changes: Vec<Change>,
    /// The sum of their costs.
    pub cost: f64,
    /// The log-odds after the changes.
    pub margin: f64,
    /// The probability after the changes.
    pub probability: f64,
    /// In plain words, a sentence.
    pub in_words: String,
}

impl Alternative {
    /// The application with the changes made.
    pub fn apply(&self, application: &Application) -> Application {
        let mut changed = application.clone();
        for change in &self.changes {
            // The value is of the field's own kind: it was made from the model's factor.
            let _ = changed.set(&change.factor, Some(change.to.clone()));
        }
        changed
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The probability as it is.
    pub probability: f64,
    /// The threshold that was asked for.
    pub threshold: f64,
    /// The alternatives, the smallest change first; none where the probability is below the threshold already, or where no
    /// allowed change brings it there.
    pub alternatives: Vec<Alternative>,
    /// False where the search was cut short: then there may be others.
    pub complete: bool,
    /// Boxes that were looked at.
    pub boxes: usize,
}

/// Finds the smallest changes that bring an application's probability under a threshold.
pub fn what_if(model: &Model, application: &Application, question: &Question) -> Answer {
    let row = model.encode(application);
    let mut answer = Answer {
        probability: model.probability(model.explainer().margin(&row)),
        threshold: question.threshold,
        alternatives: Vec::new(),
        complete: true,
        boxes: 0,
    };
    if answer.probability < question.threshold || question.threshold <= 0.0 {
        return answer;
    }
    let levers = choices::levers(model, &row);
    let found = search::search(model, &row, &levers, question);
    answer.complete = found.complete;
    answer.boxes = found.boxes;
    answer.alternatives = found.points.iter().map(|point| alternative(model, application, &row, point)).collect();
    answer
}

/// A point of the search in words.
fn alternative(
    model: &Model,
    application: &Application,
    row: &[f64],
    point: &[(usize, &choices::Choice)],
) -> Alternative {
    let mut changed = row.to_vec();
    let changes: Vec<Change> = point
        .iter()
        .filter_map(|&(position, choice)| {
            if let Some(slot) = changed.get_mut(position) {
                *slot = choice.code;
            }
            let feature = model.features().get(position)?;
            let from = application.value(&feature.factor.name);
            let (old, new) = (feature.in_words(from.as_ref()), feature.in_words(Some(&choice.value)));
            Some(Change {
                factor: feature.factor.name.clone(),
                label: feature.factor.label.clone(),
                from,
                to: choice.value.clone(),
                cost: choice.cost,
                in_words: format!("{}: {new} instead of {old}", feature.factor.label),
            })
        })
        .collect();
    let margin = model.explainer().margin(&changed);
    let words: Vec<&str> = changes.iter().map(|change| change.in_words.as_str()).collect();
    Alternative {
        cost: changes.iter().map(|change| change.cost).sum(),
        in_words: format!("{}.", words.join("; and ")),
        changes,
        margin,
        probability: model.probability(margin),
    }
}

#[cfg(test)]
mod tests;
