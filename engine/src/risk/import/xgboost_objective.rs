//! XGBoost's objectives: how their starting value is stored, and what becomes of margins.

use super::Link;

/// What an objective does to the model's starting value and to margins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Objective {
    pub(super) link: Link,
    start: Start,
}

/// How `base_score` is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Margin,
    Probability,
    Mean,
}

impl Objective {
    /// By XGBoost's name of it.
    pub(super) fn named(name: &str) -> Option<Objective> {
        let logistic = Link::Logistic { slope: 1.0 };
        let (link, start) = match name {
            "binary:logistic" | "reg:logistic" => (logistic, Start::Probability),
            // Its margins are log-odds, and its starting value is one already.
            "binary:logitraw" => (logistic, Start::Margin),
            "binary:hinge" => (Link::Sign, Start::Margin),
            "multi:softprob" | "multi:softmax" => (Link::Softmax, Start::Margin),
            "reg:gamma" | "reg:tweedie" | "count:poisson" | "survival:cox" | "survival:aft" => {
                (Link::Exponential, Start::Mean)
            }
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "reg:expectileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => (Link::Identity, Start::Margin),
            _ => return None,
        };
        Some(Objective { link, start })
    }

    /// The margin of a stored starting value, in single precision as XGBoost has it; `None` where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "XGBoost keeps margins in single precision")]
    pub(super) fn margin(self, stored: f64) -> Option<f64> {
        let stored = f64::from(stored as f32);
        let margin = match self.start {
            Start::Margin => stored,
            Start::Probability => -libm::log(1.0 / stored - 1.0),
            Start::Mean => libm::log(stored),
        };
        margin.is_finite().then_some(f64::from(margin as f32))
    }
}
