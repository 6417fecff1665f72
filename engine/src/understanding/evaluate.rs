//! How often the encoder is right, on labelled texts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::reader::Reader;
use super::{Error, Sentiment};
use crate::Engine;
use crate::models::moe_encoder::Encoded;

/// The label of texts that belong to none of a head's intents.
pub const OUT_OF_SCOPE: &str = "oos";

/// Bins of equal width for the calibration error.
const BINS: u8 = 15;

/// Texts asked for at once: enough to fill batches, few enough to leave the queue to others.
const IN_FLIGHT: usize = 128;

/// A text with the label it should get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// The text.
    pub text: String,
    /// The label; [`OUT_OF_SCOPE`] for a foreign text.
    pub label: String,
}

/// How a head did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IntentReport {
    /// Rows read.
    pub rows: usize,
    /// Share of rows in scope whose most likely label in scope is right.
    pub accuracy: f64,
    /// The same, where a row that was taken for out of scope counts as wrong.
    pub accuracy_served: f64,
    /// Expected calibration error of the most likely label's probability, rows in scope, 15 bins of equal width.
    pub ece: f64,
    /// Probability that a row in scope is surer than one out of scope; `None` without both kinds.
    pub oos_auroc: Option<f64>,
    /// Share of rows out of scope that were turned away; `None` without such rows.
    pub oos_recall: Option<f64>,
}

/// How the sentiment head did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentimentReport {
    /// Rows read.
    pub rows: usize,
    /// Share of rows whose most likely of the three sentiments is right.
    pub accuracy: f64,
    /// Share of rows labelled positive or negative that lean the right way, neutral left aside.
    pub accuracy_of_two: Option<f64>,
    /// Mean over the labels present of the harmonic mean of precision and recall.
    pub macro_f1: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// There is no such head.
    #[error("there is no head {name}; there are {known}")]
    Head {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A label is none of the head's.
    #[error("row {row}: the head has no label {label}")]
    Label {
        /// Row, counted from 1.
        row: usize,
        /// The label.
        label: String,
    },
    /// There are no rows in scope.
    #[error("there are no rows to measure")]
    Empty,
    /// The engine did not answer.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Measures an intent head (`clinc150`, `banking77`, `desk`; `own` for a bank's own intents).
///
/// # Errors
/// [`EvaluationError`] for an unknown head or label, no rows, or an engine that does not answer.
pub async fn evaluate_intents(engine: &Engine, head: &str, rows: &[Labelled]) -> Result<IntentReport, EvaluationError> {
    let reader = engine.reader();
    let (place, judge) = reader.head(head).ok_or_else(|| EvaluationError::Head {
        name: head.to_owned(),
        known: reader.head_names().collect::<Vec<_>>().join(", "),
    })?;
    let mut expected = Vec::with_capacity(rows.len());
    for (row, labelled) in rows.iter().enumerate() {
        let index = if labelled.label == OUT_OF_SCOPE { judge.out_of_scope() } else { judge.index(&labelled.label) };
        if index.is_none() && labelled.label != OUT_OF_SCOPE {
            return Err(EvaluationError::Label { row: row + 1, label: labelled.label.clone() });
        }
        expected.push(index.filter(|_| index != judge.out_of_scope()));
    }
    let answers = encode_all(reader, rows.iter().map(|row| row.text.as_str())).await?;
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (encoded, expected) in answers.iter().zip(expected) {
        let decision = judge.decide(&reader.logits(place, encoded));
        let (best, confidence) = decision.ranked.first().copied().unwrap_or_default();
        match expected {
            Some(label) => inside.push(Judged { right: best == label, served: decision.in_scope, confidence }),
            None => outside.push(Judged { right: false, served: decision.in_scope, confidence }),
        }
    }
    if inside.is_empty() {
        return Err(EvaluationError::Empty);
    }
    Ok(IntentReport {
        rows: rows.len(),
        accuracy: share(&inside, |row| row.right),
        accuracy_served: share(&inside, |row| row.right && row.served),
        ece: calibration_error(inside.iter().map(|row| (row.right, row.confidence))),
        oos_auroc: (!outside.is_empty()).then(|| auroc(&inside, &outside)),
        oos_recall: (!outside.is_empty()).then(|| share(&outside, |row| !row.served)),
    })
}

/// Measures the sentiment head; labels are `negative`, `neutral`, `positive`.
///
/// # Errors
/// [`EvaluationError`] for another label, no rows, or an engine that does not answer.
pub async fn evaluate_sentiment(engine: &Engine, rows: &[Labelled]) -> Result<SentimentReport, EvaluationError> {
    const KINDS: [Sentiment; 3] = [Sentiment::Negative, Sentiment::Neutral, Sentiment::Positive];
    let mut expected = Vec::with_capacity(rows.len());
    for (row, labelled) in rows.iter().enumerate() {
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == labelled.label);
        expected.push(kind.ok_or_else(|| EvaluationError::Label { row: row + 1, label: labelled.label.clone() })?);
    }
    if rows.is_empty() {
        return Err(EvaluationError::Empty);
    }
    let reader = engine.reader();
    let answers = encode_all(reader, rows.iter().map(|row| row.text.as_str())).await?;
    let judged: Vec<(Sentiment, Sentiment, f32)> = answers
        .iter()
        .zip(expected)
        .map(|(encoded, expected)| {
            let (found, score) = reader.sentiment(encoded);
            (expected, found, score)
        })
        .collect();
    let polar: Vec<_> = judged.iter().filter(|row| row.0 != Sentiment::Neutral).collect();
    let f1: Vec<f64> = KINDS
        .into_iter()
        .filter(|kind| judged.iter().any(|row| row.0 == *kind))
        .map(|kind| {
            let both = judged.iter().filter(|row| row.0 == kind && row.1 == kind).count();
            let either =
                judged.iter().filter(|row| row.0 == kind).count() + judged.iter().filter(|row| row.1 == kind).count();
            2.0 * ratio(both, either)
        })
        .collect();
    Ok(SentimentReport {
        rows: rows.len(),
        accuracy: share(&judged, |row| row.0 == row.1),
        accuracy_of_two: (!polar.is_empty())
            .then(|| share(&polar, |row| (row.2 > 0.0) == (row.0 == Sentiment::Positive))),
        macro_f1: f1.iter().sum::<f64>() / ratio(f1.len(), 1),
    })
}

struct Judged {
    right: bool,
    served: bool,
    confidence: f32,
}

/// Asks for all texts, a bounded number at a time, and returns the answers in order.
pub(crate) async fn encode_all<'t>(
    reader: &Reader,
    texts: impl Iterator<Item = &'t str>,
) -> Result<Vec<Encoded>, Error> {
    let (mut waiting, mut answers) = (VecDeque::new(), Vec::new());
    let width = IN_FLIGHT.min(reader.worker().queue_capacity());
    for text in texts {
        if waiting.len() >= width
            && let Some(first) = waiting.pop_front()
        {
            answers.push(Box::into_pin(first).await?);
        }
        waiting.push_back(Box::new(reader.encode(text)));
    }
    for rest in waiting {
        answers.push(Box::into_pin(rest).await?);
    }
    Ok(answers)
}

/// Expected calibration error (Guo et al. 2017): the gap between confidence and accuracy, averaged over bins by their rows.
pub(crate) fn calibration_error(rows: impl Iterator<Item = (bool, f32)>) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); BINS as usize];
    let mut count = 0;
    for (right, confidence) in rows {
        let confidence = f64::from(confidence);
        count += 1;
        let place = bins.iter_mut().zip(1..=BINS).find(|(_, end)| confidence <= f64::from(*end) / f64::from(BINS));
        if let Some((bin, _)) = place {
            bin.0 += confidence;
            bin.1 += f64::from(u8::from(right));
        }
    }
    bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f64>() / ratio(count, 1)
}

/// Probability that a row of `inside` is surer than one of `outside`, ties counted half.
fn auroc(inside: &[Judged], outside: &[Judged]) -> f64 {
    let mut all: Vec<(f32, bool)> = inside.iter().map(|row| (row.confidence, true)).collect();
    all.extend(outside.iter().map(|row| (row.confidence, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Pairs won twice over, so that a tie is one.
    let (mut below, mut won) = (0usize, 0usize);
    for ties in all.chunk_by(|a, b| a.0 == b.0) {
        let ours = ties.iter().filter(|row| row.1).count();
        let theirs = ties.len() - ours;
        won += ours * (2 * below + theirs);
        below += theirs;
    }
    ratio(won, 2 * inside.len() * outside.len())
}

fn share<T>(rows: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    ratio(rows.iter().filter(|row| holds(row)).count(), rows.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(confidences: &[f32], right: bool) -> Vec<Judged> {
        confidences.iter().map(|&confidence| Judged { right, served: true, confidence }).collect()
    }

    #[test]
    fn auroc_counts_pairs() {
        // Pairs: 0.9 beats both, 0.5 beats 0.2 and ties with 0.5.
        assert_eq!(auroc(&rows(&[0.9, 0.5], true), &rows(&[0.5, 0.2], false)), 3.5 / 4.0);
    }

    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let mut all = rows(&[0.81, 0.83, 0.85], true);
        all.extend(rows(&[0.82], false));
        all.extend(rows(&[0.1], false));
        let bin = (0.81f64 + 0.83 + 0.85 + 0.82 - 3.0).abs();
        let found = calibration_error(all.iter().map(|row| (row.right, row.confidence)));
        assert!((found - (bin + 0.1) / 5.0).abs() < 1e-6);
    }
}
