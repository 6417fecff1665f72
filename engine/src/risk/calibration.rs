//! From log-odds to a probability that is true: maps that keep the order.
//!
//! An affine map (Platt 1999) is folded into base and leaves, so that nothing stands between the explained log-odds and
//! the shown probability. A map that bends (beta, isotonic) cannot be folded: then the log-odds of the trees are what is
//! explained, to the last digit, and the probability is read from the curve, which travels with the model and never
//! changes the order of two applications.

use serde::{Deserialize, Serialize};

/// A map that bends, applied to the log-odds of the trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CalibrationCurve {
    /// Beta calibration (Kull, Silva Filho and Flach 2017): `log-odds = a ln p - b ln(1 - p) + c`, with `p` the trees' own
    /// probability. Straight far out, with another slope on either side.
    Beta {
        /// Slope for low scores, not negative.
        a: f64,
        /// Slope for high scores, not negative.
        b: f64,
        /// Shift.
        c: f64,
    },
    /// Isotonic regression (Zadrozny and Elkan 2002), joined by straight lines between the blocks' centres, so that
    /// different scores keep different probabilities. Beyond the ends it runs on with slope 1.
    Isotonic {
        /// Log-odds of the trees, upwards.
        from: Vec<f64>,
        /// Calibrated log-odds, upwards.
        to: Vec<f64>,
    },
}

impl CalibrationCurve {
    /// The calibrated log-odds.
    pub fn apply(&self, margin: f64) -> f64 {
        match self {
            // ln p = -softplus(-margin), ln(1 - p) = -softplus(margin)
            CalibrationCurve::Beta { a, b, c } => b * softplus(margin) - a * softplus(-margin) + c,
            CalibrationCurve::Isotonic { from, to } => {
                let above = from.partition_point(|knot| *knot <= margin);
                let knot = |at: usize| from.get(at).copied().zip(to.get(at).copied());
                match (above.checked_sub(1).and_then(knot), knot(above)) {
                    (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (margin - x0) / (x1 - x0),
                    (Some((x, y)), None) | (None, Some((x, y))) => y + margin - x,
                    (None, None) => margin,
                }
            }
        }
    }

    /// What is wrong with the curve, if anything is.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), &'static str> {
        let upwards = |values: &[f64]| {
            values.iter().all(|value| value.is_finite())
                && values.windows(2).all(|pair| pair.first().zip(pair.last()).is_some_and(|(a, b)| a < b))
        };
        match self {
            CalibrationCurve::Beta { a, b, c } => {
                let good = [a, b, c].iter().all(|value| value.is_finite()) && *a >= 0.0 && *b >= 0.0 && a + b > 0.0;
                if good { Ok(()) } else { Err("the slopes of beta calibration must not be negative, nor both zero") }
            }
            CalibrationCurve::Isotonic { from, to } if from.is_empty() || from.len() != to.len() => {
                Err("an isotonic curve needs as many knots on both sides, and at least one")
            }
            CalibrationCurve::Isotonic { from, to } => {
                if upwards(from) && upwards(to) {
                    Ok(())
                } else {
                    Err("the knots of an isotonic curve must run upwards")
                }
            }
        }
    }

    /// The method's name.
    pub const fn name(&self) -> &'static str {
        match self {
            CalibrationCurve::Beta { .. } => "beta",
            CalibrationCurve::Isotonic { .. } => "isotonic",
        }
    }
}

/// `ln(1 + eˣ)` without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_keep_the_order_and_run_on_beyond_their_ends() {
        let curves = [
            CalibrationCurve::Beta { a: 0.7, b: 1.4, c: -0.2 },
            CalibrationCurve::Isotonic { from: vec![-2.0, 0.0, 1.0], to: vec![-3.0, -1.0, 4.0] },
        ];
        for curve in curves {
            assert_eq!(curve.check(), Ok(()));
            let values: Vec<f64> = (-100..100).map(|step| curve.apply(f64::from(step) * 0.1)).collect();
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{curve:?}");
        }
        let isotonic = CalibrationCurve::Isotonic { from: vec![-2.0, 0.0], to: vec![-3.0, -1.0] };
        assert_eq!([-5.0, -2.0, -1.0, 3.0].map(|margin| isotonic.apply(margin)), [-6.0, -3.0, -2.0, 2.0]);
        // With both slopes one and no shift, beta changes nothing.
        let same = CalibrationCurve::Beta { a: 1.0, b: 1.0, c: 0.0 };
        assert!([-700.0, -3.0, 0.0, 5.0, 700.0].iter().all(|&margin| (same.apply(margin) - margin).abs() < 1e-12));
        assert!(CalibrationCurve::Beta { a: -1.0, b: 1.0, c: 0.0 }.check().is_err());
        assert!(CalibrationCurve::Isotonic { from: vec![0.0, 0.0], to: vec![0.0, 1.0] }.check().is_err());
    }
}
