//! How long scoring and explaining take, one row after another on one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::model::Model;
use super::policy::Policy;

/// Times per row, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// The model's version.
    pub model_version: String,
    /// Its trees.
    pub trees: usize,
    /// Their leaves in all.
    pub leaves: usize,
    /// The most splits on a path.
    pub depth: usize,
    /// Its inputs.
    pub features: usize,
    /// Different rows that were used.
    pub rows: usize,
    /// The log-odds alone.
    pub score_us: f64,
    /// Exact attributions of the log-odds.
    pub explain_us: f64,
    /// The slowest of the explanations.
    pub explain_worst_us: f64,
    /// A whole assessment: encoding, score, attributions, words, rules.
    pub assess_us: f64,
    /// The first explanation after the model was loaded.
    pub explain_cold_us: f64,
}

/// Measures a model that accepts applications, on generated ones; each of the three measurements takes about `time`.
pub fn bench(model: &Model, policy: &Policy, time: Duration) -> Bench {
    let applications: Vec<_> = Generator { applications: 2_000, fraud_rate: 0.05, ..Generator::default() }
        .run()
        .into_iter()
        .map(|generated| generated.application)
        .collect();
    let rows: Vec<Vec<f64>> = applications.iter().map(|application| model.encode(application)).collect();
    let mut scratch = model.scratch();
    let mut out = vec![0.0; model.features().len()];

    let cold = Instant::now();
    if let Some(row) = rows.first() {
        model.explainer().explain(row, &mut scratch, &mut out);
    }
    let explain_cold_us = micros(cold.elapsed());

    let (score_us, _) = repeat(&rows, time, |row| {
        black_box(model.explainer().margin(black_box(row)));
    });
    let (explain_us, explain_worst_us) = repeat(&rows, time, |row| {
        model.explainer().explain(black_box(row), &mut scratch, &mut out);
        black_box(&out);
    });
    let (assess_us, _) = repeat(&applications, time, |application| {
        black_box(model.assess(black_box(application), policy));
    });
    let trees = model.ensemble().trees();
    Bench {
        model_version: model.version().to_owned(),
        trees: trees.len(),
        leaves: trees.iter().map(|tree| tree.len() / 2 + 1).sum(),
        depth: trees.iter().map(super::ensemble::Tree::depth).max().unwrap_or(0),
        features: model.features().len(),
        rows: rows.len(),
        score_us,
        explain_us,
        explain_worst_us,
        assess_us,
        explain_cold_us,
    }
}

/// Runs over the rows again and again: the mean time of a row and the longest, in microseconds.
fn repeat<T>(rows: &[T], time: Duration, mut work: impl FnMut(&T)) -> (f64, f64) {
    let start = Instant::now();
    let (mut done, mut worst) = (0_u32, Duration::ZERO);
    while start.elapsed() < time && !rows.is_empty() {
        for row in rows {
            let begin = Instant::now();
            work(row);
            worst = worst.max(begin.elapsed());
            done = done.saturating_add(1);
        }
    }
    (micros(start.elapsed()) / f64::from(done.max(1)), micros(worst))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
