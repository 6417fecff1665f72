//! What came of a training: calibration, the confusion matrix, and whether the general skill was kept.
#![expect(clippy::indexing_slicing, reason = "labels are places of the same list")]

use std::collections::BTreeMap;

use serde::Serialize;

use crate::backend::cpu;

/// What [`super::intents::train`] reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Version of the adapted intents.
    pub version: String,
    /// Version of the encoder that they belong to.
    pub encoder: String,
    /// Examples given.
    pub rows: usize,
    /// Labels among them.
    pub labels: usize,
    /// Examples that nothing was learned from, to know when to stop.
    pub held_out: usize,
    /// General texts that took part.
    pub general_texts: usize,
    /// Those of them that resemble no example and taught what is out of scope.
    pub foreign_texts: usize,
    /// Numbers that trained.
    pub trained_numbers: usize,
    /// Epochs run.
    pub epochs: usize,
    /// The epoch that was kept.
    pub best_epoch: usize,
    /// Share of the held-out examples that get their label.
    pub accuracy: f64,
    /// Expected calibration error of the held-out examples, 15 bins.
    pub ece: f64,
    /// What the head's logits are divided by.
    pub temperature: f32,
    /// Below this probability a text is out of scope.
    pub threshold: f32,
    /// Share of held-out general texts whose most likely label is as before, by shipped head.
    pub agreement: BTreeMap<String, f64>,
    /// Mean cosine of those texts' embeddings to what they were.
    pub cosine: f64,
    /// Seconds it took.
    pub seconds: f64,
    /// What was taken for what, most often first.
    pub confusions: Vec<Confusion>,
}

/// Examples of one label that were taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The label they have.
    pub label: String,
    /// The label they got.
    pub taken_for: String,
    /// How many.
    pub rows: usize,
}

/// Rows by the label they have and the label they got.
pub(super) struct ConfusionMatrix {
    labels: Vec<String>,
    /// `[labels, labels]`.
    counts: Vec<usize>,
}

impl ConfusionMatrix {
    pub(super) fn new(labels: &[String], pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![0; labels.len() * labels.len()];
        pairs.for_each(|(has, got)| counts[has * labels.len() + got] += 1);
        Self { labels: labels.to_vec(), counts }
    }

    /// What was taken for what, most often first.
    pub(super) fn confusions(&self) -> Vec<Confusion> {
        let n = self.labels.len();
        let wrong = self.counts.iter().enumerate().filter(|(at, rows)| **rows > 0 && at / n != at % n);
        let mut found: Vec<Confusion> = wrong
            .map(|(at, &rows)| Confusion {
                label: self.labels[at / n].clone(),
                taken_for: self.labels[at % n].clone(),
                rows,
            })
            .collect();
        found.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
        found
    }

    /// As a table: a row for each label, a column for each that it got.
    pub(super) fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(std::iter::once("label").chain(self.labels.iter().map(String::as_str)))?;
        for (label, row) in self.labels.iter().zip(self.counts.chunks(self.labels.len().max(1))) {
            table.write_record(std::iter::once(label.clone()).chain(row.iter().map(usize::to_string)))?;
        }
        table.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

/// Logits of a text and the label it has; `None` is a text that belongs to none.
pub(super) struct Answer {
    pub(super) logits: Vec<f32>,
    pub(super) label: usize,
}

impl Answer {
    pub(super) fn best(&self) -> usize {
        let logits = self.logits.iter().enumerate();
        logits.fold(0, |best, (index, logit)| if *logit > self.logits[best] { index } else { best })
    }

    pub(super) fn probabilities(&self, temperature: f32) -> Vec<f32> {
        let mut p: Vec<f32> = self.logits.iter().map(|logit| logit / temperature).collect();
        cpu::softmax(&mut p);
        p
    }

    /// Negative logarithm of the right label's probability.
    pub(super) fn surprise(&self, temperature: f32) -> f64 {
        -f64::from(self.probabilities(temperature)[self.label].max(1e-30)).ln()
    }
}

/// The temperature at which the answers surprise least (Guo et al. 2017), between a quarter and four.
#[must_use]
pub(super) fn temperature(answers: &[Answer]) -> f32 {
    let loss = |temperature: f32| answers.iter().map(|answer| answer.surprise(temperature)).sum::<f64>();
    let tried = (-20i8..=20).map(|step| 2f32.powf(f32::from(step) / 10.0));
    tried.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap_or(1.0)
}

/// The threshold that lets most texts in scope pass and turns most others away, counted as shares; `foreign` is the label
/// of the latter. Between a tenth and six tenths.
#[must_use]
pub(super) fn threshold(answers: &[Answer], foreign: usize, temperature: f32) -> f32 {
    let sure = |answer: &Answer| {
        let p = answer.probabilities(temperature);
        p.iter().enumerate().filter(|(label, _)| *label != foreign).fold(0.0f32, |best, (_, p)| best.max(*p))
    };
    let (inside, outside): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.label != foreign);
    let share = |answers: &[&Answer], passes: &dyn Fn(&&Answer) -> bool| {
        if answers.is_empty() {
            1.0
        } else {
            answers.iter().filter(|a| passes(a)).count() as f64 / answers.len() as f64
        }
    };
    let worth = |threshold: f32| share(&inside, &|a| sure(a) >= threshold) + share(&outside, &|a| sure(a) < threshold);
    // The lowest of equals, so that a bank's own intents are served rather than refused.
    let tried = (10u8..=60).map(|percent| f32::from(percent) / 100.0);
    tried.fold((0.1, f64::MIN), |best, t| if worth(t) > best.1 + 1e-9 { (t, worth(t)) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(logits: &[f32], label: usize) -> Answer {
        Answer { logits: logits.to_vec(), label }
    }

    #[test]
    fn confusions_are_counted_and_written() {
        let labels = ["a", "b"].map(str::to_owned);
        let matrix = ConfusionMatrix::new(&labels, [(0, 0), (0, 1), (0, 1), (1, 0)].into_iter());
        assert_eq!(matrix.confusions().iter().map(|c| c.rows).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(String::from_utf8(matrix.csv().unwrap()).unwrap(), "label,a,b\na,1,2\nb,1,0\n");
    }

    #[test]
    fn temperature_and_threshold_follow_the_answers() {
        // Nine of ten are right with a margin of 4: calibrated odds are 9, so that the temperature is 4 / ln 9.
        let mut answers: Vec<Answer> = (0..9).map(|_| answer(&[4.0, 0.0], 0)).collect();
        answers.push(answer(&[4.0, 0.0], 1));
        assert!((temperature(&answers) - 4.0 / 9f32.ln()).abs() < 0.1);
        let three = [answer(&[3.0, 0.0, 0.0], 0), answer(&[0.0, 2.0, 0.0], 1), answer(&[0.3, 0.0, 0.1], 2)];
        let found = threshold(&three, 2, 1.0);
        assert!(found > 0.39 && found <= 0.6, "{found}");
        assert_eq!(threshold(&three[..2], 2, 1.0), 0.1, "nothing to turn away");
    }
}
