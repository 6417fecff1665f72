//! Rotary positions as checkpoints describe them: the plain form, and YaRN for contexts beyond the trained one.

use serde::Deserialize;

use crate::backend::Rope;

/// What `config.json` says of positions: `rope_theta` and `rope_scaling`, or `rope_parameters` with both.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Rotary {
    rope_theta: Option<f32>,
    rope_scaling: Option<Scaling>,
    rope_parameters: Option<Scaling>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Scaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f64>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    truncate: Option<bool>,
}

impl Rotary {
    fn scaling(&self) -> Option<&Scaling> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    fn yarn(&self) -> Option<&Scaling> {
        self.scaling().filter(|scaling| scaling.rope_type.as_deref() == Some("yarn"))
    }

    /// The frequencies for heads with `size` turned dimensions, of a model for `longest` positions.
    ///
    /// # Errors
    /// The name of a kind of positions that is not known.
    pub(crate) fn rope(&self, size: usize, longest: usize, neighbours: bool) -> Result<Rope, String> {
        let kind = self.scaling().and_then(|scaling| scaling.rope_type.as_deref()).unwrap_or("default");
        if !["default", "yarn"].contains(&kind) {
            return Err(format!("positions of the kind {kind}"));
        }
        let theta = self.scaling().and_then(|scaling| scaling.rope_theta).or(self.rope_theta).unwrap_or(10_000.0);
        let plain = (0..size / 2).map(|pair| theta.powf(2.0 * pair as f32 / size as f32));
        let Some(yarn) = self.yarn() else {
            return Ok(Rope { frequencies: plain.map(|period| 1.0 / period).collect(), magnitude: 1.0, neighbours });
        };
        let original = yarn.original_max_position_embeddings.unwrap_or(longest as f64);
        let factor = yarn.factor.unwrap_or(longest as f64 / original);
        let magnitude = yarn.attention_factor.unwrap_or(match (yarn.mscale, yarn.mscale_all_dim) {
            (Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                magnitude(factor, mscale) / magnitude(factor, all)
            }
            _ => magnitude(factor, 1.0),
        });
        // Dimensions that turn often within the trained context keep their pace, those that turn less than once are
        // slowed down by the factor, those between are blended (Peng et al. 2023, section 3.2).
        let dimension = |rotations: f64| {
            size as f64 * (original / (rotations * std::f64::consts::TAU)).ln() / (2.0 * f64::from(theta).ln())
        };
        let (low, high) = (dimension(yarn.beta_fast.unwrap_or(32.0)), dimension(yarn.beta_slow.unwrap_or(1.0)));
        let (low, high) = if yarn.truncate.unwrap_or(true) { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, high) = (low.max(0.0), high.min(size as f64 - 1.0));
        let high = if low >= high { low + 0.001 } else { high };
        let frequencies = plain.enumerate().map(|(pair, period)| {
            let slowed = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let pace = f64::from(1.0 / period);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "frequencies are single precision where models are trained"
            )]
            let frequency = (pace / factor * slowed + pace * (1.0 - slowed)) as f32;
            frequency
        });
        #[expect(clippy::cast_possible_truncation, reason = "a factor near one")]
        let magnitude = magnitude as f32;
        Ok(Rope { frequencies: frequencies.collect(), magnitude, neighbours })
    }

    /// What DeepSeek multiplies attention scores by beside the usual `1/√size`: YaRN's temperature.
    #[must_use]
    pub(crate) fn temperature(&self) -> f32 {
        let Some(yarn) = self.yarn() else { return 1.0 };
        match (yarn.factor, yarn.mscale_all_dim) {
            #[expect(clippy::cast_possible_truncation, reason = "a factor near one")]
            (Some(factor), Some(all)) if all != 0.0 => magnitude(factor, all).powi(2) as f32,
            _ => 1.0,
        }
    }
}

fn magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_keeps_fast_dimensions_and_slows_slow_ones() {
        let yarn = serde_json::json!({"rope_theta": 10000.0, "rope_scaling": {"type": "yarn", "factor": 40.0,
            "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
            "mscale_all_dim": 1.0}});
        let rotary: Rotary = serde_json::from_value(yarn).unwrap();
        let rope = rotary.rope(64, 163_840, true).unwrap();
        let plain = Rotary::default().rope(64, 4096, true).unwrap();
        assert_eq!(rope.frequencies[0], plain.frequencies[0]);
        assert!((rope.frequencies[31] - plain.frequencies[31] / 40.0).abs() < 1e-9);
        assert!(rope.frequencies[15] < plain.frequencies[15] && rope.frequencies[15] > plain.frequencies[15] / 40.0);
        assert_eq!(rope.magnitude, 1.0);
        assert!((rotary.temperature() - (0.1 * 40f32.ln() + 1.0).powi(2)).abs() < 1e-5);
        let other: Rotary = serde_json::from_str(r#"{"rope_scaling": {"rope_type": "longrope"}}"#).unwrap();
        assert!(other.rope(64, 4096, true).unwrap_err().contains("longrope"));
    }
}
