//! The probability on a scale with the policy's thresholds marked.

use candor_engine::risk::{Assessment, Bands};

use super::percent::{logit, percent};

/// Width of the drawing.
const WIDTH: f64 = 360.0;
/// Probabilities at both ends; what lies beyond is drawn at the end.
const ENDS: (f64, f64) = (0.001, 0.9);
/// Room at both ends.
const MARGIN: f64 = 8.0;

/// A drawing ready for its template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    pub(super) title: String,
    pub(super) width: f64,
    pub(super) segments: [Segment; 3],
    pub(super) medium: Mark,
    pub(super) high: Mark,
    /// Where the application stands.
    pub(super) at: f64,
}

/// One band.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) band: &'static str,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) middle: f64,
}

/// One threshold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) label: String,
}

/// Draws the scale. It is stretched like log-odds, because most applications lie far below one half.
#[must_use]
pub(super) fn draw(assessment: &Assessment, bands: &Bands) -> Scale {
    let place = |probability: f64| {
        let share = (logit(probability.clamp(ENDS.0, ENDS.1)) - logit(ENDS.0)) / (logit(ENDS.1) - logit(ENDS.0));
        MARGIN + share * (WIDTH - 2.0 * MARGIN)
    };
    let (medium, high) = (place(bands.medium), place(bands.high));
    let segment = |band, from: f64, to: f64| Segment {
        band,
        x: from,
        width: (to - from).max(0.0),
        middle: f64::midpoint(from, to),
    };
    Scale {
        title: format!(
            "Probability of fraud {}, band {}. Medium begins at {}, high at {}.",
            percent(assessment.probability),
            assessment.band.as_str(),
            percent(bands.medium),
            percent(bands.high)
        ),
        width: WIDTH,
        segments: [
            segment("low", MARGIN, medium),
            segment("medium", medium, high),
            segment("high", high, WIDTH - MARGIN),
        ],
        medium: Mark { x: medium, label: percent(bands.medium) },
        high: Mark { x: high, label: percent(bands.high) },
        at: place(assessment.probability),
    }
}
