//! How a customer sounds, as a word and as a line over their messages.

use chrono::{DateTime, Utc};

use super::stamp::Stamp;

/// The spark line in the list.
const SPARK: Frame = Frame { width: 40.0, height: 16.0, margin: 2.0 };
/// The plot in the person pane.
const PLOT: Frame = Frame { width: 280.0, height: 72.0, margin: 4.0 };

/// What a line is drawn into, in pixels.
struct Frame {
    width: f32,
    height: f32,
    /// Room at the edges for a point's radius.
    margin: f32,
}

/// The mood in a word.
pub(super) fn word(sentiment: &str) -> &'static str {
    match sentiment {
        "negative" => "Unhappy",
        "positive" => "Pleased",
        _ => "Calm",
    }
}

/// A line over the last messages, for a row of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spark {
    /// For `polyline`'s `points`.
    pub(super) line: String,
    /// Where the last point lies.
    pub(super) end: (f32, f32),
}

impl Spark {
    /// The line over `scores` (-1 to 1, oldest first); none for fewer than two.
    pub(super) fn new(scores: &[f32]) -> Option<Self> {
        if scores.len() < 2 {
            return None;
        }
        let points = points(scores, &SPARK);
        Some(Self { line: line(&points), end: points.last().copied()? })
    }
}

/// One message in the [`Plot`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Where it lies.
    pub(super) x: f32,
    /// Where it lies; low is unhappy.
    pub(super) y: f32,
    /// The message's number.
    pub(super) seq: i64,
    /// The mood in a word.
    pub(super) word: &'static str,
    /// The score with its sign.
    pub(super) score: String,
    /// When it was written.
    pub(super) at: Stamp,
}

/// The mood over a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    /// For `polyline`'s `points`.
    pub(super) line: String,
    /// One mark per message of the customer.
    pub(super) marks: Vec<Mark>,
}

/// A customer's message as far as its mood goes.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The message's number.
    pub(super) seq: i64,
    /// The mood's name.
    pub(super) sentiment: String,
    /// -1 to 1.
    pub(super) score: f32,
    /// When it was written.
    pub(super) at: DateTime<Utc>,
}

impl Plot {
    /// The plot of all readings; none without any.
    pub(super) fn new(readings: &[Reading], now: DateTime<Utc>) -> Option<Self> {
        if readings.is_empty() {
            return None;
        }
        let scores: Vec<f32> = readings.iter().map(|reading| reading.score).collect();
        let points = points(&scores, &PLOT);
        let marks = readings
            .iter()
            .zip(&points)
            .map(|(reading, &(x, y))| Mark {
                x,
                y,
                seq: reading.seq,
                word: word(&reading.sentiment),
                score: format!("{:+.2}", reading.score).replace('-', "−"),
                at: Stamp::new(reading.at, now),
            })
            .collect();
        Some(Self { line: line(&points), marks })
    }
}

/// Spreads scores evenly over the width; 1 lies at the top, -1 at the bottom.
fn points(scores: &[f32], frame: &Frame) -> Vec<(f32, f32)> {
    let &Frame { width, height, margin } = frame;
    let steps = u16::try_from(scores.len().saturating_sub(1)).unwrap_or(u16::MAX).max(1);
    let step = (width - 2.0 * margin) / f32::from(steps);
    let mut x = if scores.len() == 1 { width / 2.0 } else { margin };
    scores
        .iter()
        .map(|score| {
            let y = margin + (1.0 - score.clamp(-1.0, 1.0)) / 2.0 * (height - 2.0 * margin);
            let point = ((x * 10.0).round() / 10.0, (y * 10.0).round() / 10.0);
            x += step;
            point
        })
        .collect()
}

fn line(points: &[(f32, f32)]) -> String {
    points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_mood_falls() {
        let spark = Spark::new(&[1.0, 0.0, -1.0]).unwrap();
        assert_eq!(spark.line, "2,2 20,8 38,14");
        assert_eq!(spark.end, (38.0, 14.0));
        assert_eq!(Spark::new(&[0.4]), None);
    }

    #[test]
    fn a_single_reading_lies_in_the_middle() {
        let at = "2026-11-23T15:00:00Z".parse().unwrap();
        let plot = Plot::new(&[Reading { seq: 3, sentiment: "negative".to_owned(), score: -0.5, at }], at).unwrap();
        assert_eq!(plot.line, "140,52");
        assert_eq!(plot.marks[0].score, "−0.50");
        assert_eq!(plot.marks[0].word, "Unhappy");
    }
}
