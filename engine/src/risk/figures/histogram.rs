//! How scores lie, for frauds and honest rows apart.

use serde::{Deserialize, Serialize};

/// One bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Scores from here …
    pub from: f64,
    /// … to below here; the last bar holds its end too.
    pub to: f64,
    /// Honest rows, and rows whose truth is not known.
    pub honest: usize,
    /// Frauds.
    pub frauds: usize,
}

/// Counts scores in bars between edges, which run upwards. A score beyond the ends goes to the first or last bar.
pub fn histogram(scored: &[(f64, bool)], edges: &[f64]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = edges
        .windows(2)
        .filter_map(|pair| Some(Bar { from: *pair.first()?, to: *pair.last()?, honest: 0, frauds: 0 }))
        .collect();
    let last = bars.len().saturating_sub(1);
    for &(score, fraud) in scored.iter().filter(|(score, _)| !score.is_nan()) {
        let position = edges.partition_point(|edge| *edge <= score).saturating_sub(1).min(last);
        if let Some(bar) = bars.get_mut(position) {
            if fraud {
                bar.frauds += 1;
            } else {
                bar.honest += 1;
            }
        }
    }
    bars
}

/// `bars + 1` edges at equal distances.
pub fn even_edges(low: f64, high: f64, bars: u32) -> Vec<f64> {
    let step = (high - low) / f64::from(bars.max(1));
    (0..=bars.max(1)).map(|edge| if edge == bars.max(1) { high } else { low + step * f64::from(edge) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_is_in_one_bar() {
        let scored = [(-3.0, false), (0.0, true), (0.25, false), (0.5, false), (1.0, true), (9.0, false)];
        let bars = histogram(&scored, &even_edges(0.0, 1.0, 4));
        let counts: Vec<(usize, usize)> = bars.iter().map(|bar| (bar.honest, bar.frauds)).collect();
        assert_eq!(counts, [(1, 1), (1, 0), (1, 0), (1, 1)]);
        assert_eq!(histogram(&scored, &[]), []);
    }
}
