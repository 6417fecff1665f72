//! A log-linear choice among candidates, learned by gradient descent.
//!
//! An action's score is the sum of the weights of what speaks for it, and the probability of a candidate is the softmax of the
//! scores. Steps are scaled by the root of the sum of squared gradients (Duchi, Hazan and Singer 2011), which suits features as
//! rare as these.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::features::{Candidate, Choice, Embedded, Vocabulary};
use crate::backend::cpu::{dot, softmax};

/// How to learn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learning {
    pub(super) epochs: usize,
    pub(super) rate: f32,
    /// Pull towards zero in a step, times the rate.
    pub(super) decay: f32,
    /// Share of choices that are made without what is known of actions by their names, so that the rest learns to do without.
    pub(super) nameless: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { epochs: 20, rate: 0.1, decay: 1e-4, nameless: 0.3 }
    }
}

/// Numbers that learn, with the sums of their squared gradients.
#[derive(Debug)]
struct Weights {
    values: Vec<f32>,
    squares: Vec<f32>,
}

impl Weights {
    fn new(count: usize) -> Self {
        Self { values: vec![0.0; count], squares: vec![1e-6; count] }
    }

    fn get(&self, place: usize) -> f32 {
        self.values.get(place).copied().unwrap_or(0.0)
    }

    fn row(&self, row: usize, width: usize) -> &[f32] {
        self.values.get(row * width..(row + 1) * width).unwrap_or_default()
    }

    fn learn(&mut self, place: usize, gradient: f32, how: Learning) {
        if let (Some(value), Some(square)) = (self.values.get_mut(place), self.squares.get_mut(place)) {
            step(value, square, gradient, how);
        }
    }

    fn learn_row(&mut self, row: usize, gradients: &[f32], factor: f32, how: Learning) {
        let from = row * gradients.len();
        let values = self.values.iter_mut().skip(from).zip(self.squares.iter_mut().skip(from));
        for ((value, square), gradient) in values.zip(gradients) {
            step(value, square, factor * gradient, how);
        }
    }
}

fn step(value: &mut f32, square: &mut f32, gradient: f32, how: Learning) {
    let gradient = gradient + how.decay * *value;
    *square += gradient * gradient;
    *value -= how.rate * gradient / square.sqrt();
}

/// What chooses.
#[derive(Debug)]
pub(super) struct Ranker {
    general: Weights,
    named: Weights,
    /// For each known action, what the last words say for it.
    words: Weights,
    /// How much each number of the last words' and the reply's embeddings counts together.
    alike: Weights,
}

impl Ranker {
    /// Learns from choices whose right answer is among the candidates.
    pub(super) fn learn(
        choices: &[&Choice],
        texts: &Embedded<'_>,
        names: &Vocabulary,
        how: Learning,
        seed: u64,
    ) -> Self {
        let width = texts.rows.first().map_or(0, Vec::len);
        let mut ranker = Self {
            general: Weights::new(names.general.len()),
            named: Weights::new(names.named.len()),
            words: Weights::new(names.actions.len() * width),
            alike: Weights::new(width),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<(&Choice, usize)> =
            choices.iter().filter_map(|choice| Some((*choice, choice.right()?))).collect();
        for _ in 0..how.epochs {
            order.shuffle(&mut rng);
            for (choice, right) in &order {
                let by_name = !rng.random_bool(how.nameless);
                let last = texts.row(choice.last);
                let mut errors = ranker.scores(choice, texts, by_name);
                softmax(&mut errors);
                for (place, (candidate, error)) in choice.candidates.iter().zip(&errors).enumerate() {
                    let error = if place == *right { error - 1.0 } else { *error };
                    if error.abs() > 1e-4 {
                        ranker.correct(candidate, last, texts.row(candidate.reply), error, by_name, how);
                    }
                }
            }
        }
        ranker
    }

    fn correct(
        &mut self,
        candidate: &Candidate,
        last: &[f32],
        reply: &[f32],
        error: f32,
        by_name: bool,
        how: Learning,
    ) {
        for (place, value) in &candidate.general {
            self.general.learn(*place, error * value, how);
        }
        if last.len() == reply.len() {
            let together: Vec<f32> = last.iter().zip(reply).map(|(a, b)| a * b).collect();
            self.alike.learn_row(0, &together, error, how);
        }
        if by_name {
            for place in &candidate.named {
                self.named.learn(*place, error, how);
            }
            if let Some(row) = candidate.name {
                self.words.learn_row(row, last, error, how);
            }
        }
    }

    fn scores(&self, choice: &Choice, texts: &Embedded<'_>, by_name: bool) -> Vec<f32> {
        let last = texts.row(choice.last);
        let weighted: Vec<f32> = last.iter().zip(&self.alike.values).map(|(a, w)| a * w).collect();
        let score = |candidate: &Candidate| {
            let mut score: f32 = candidate.general.iter().map(|(place, value)| self.general.get(*place) * value).sum();
            let reply = texts.row(candidate.reply);
            if reply.len() == weighted.len() {
                score += dot(reply, &weighted);
            }
            if by_name {
                score += candidate.named.iter().map(|place| self.named.get(*place)).sum::<f32>();
                let words = candidate.name.map_or(&[][..], |row| self.words.row(row, last.len()));
                if words.len() == last.len() {
                    score += dot(words, last);
                }
            }
            score
        };
        choice.candidates.iter().map(score).collect()
    }

    /// The action that most speaks for.
    pub(super) fn choose<'c>(&self, choice: &'c Choice, texts: &Embedded<'_>) -> Option<&'c str> {
        let scores = self.scores(choice, texts, true);
        let best = choice.candidates.iter().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(candidate, _)| candidate.action.as_str())
    }
}
