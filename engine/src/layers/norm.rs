//! Layer normalisation (Ba, Kiros and Hinton 2016).

use crate::backend::cpu;
use crate::weights::{Error, Tensors};

/// `y = (x - mean) / √(variance + ε) · weight + bias`, over the last dimension.
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// Reads `name.weight` and `name.bias`, `[width]` each.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(tensors: &Tensors, name: &str, width: usize, epsilon: f32) -> Result<Self, Error> {
        let read = |part: &str| tensors.get(&format!("{name}.{part}"), &[width]);
        Ok(Self { weight: read("weight")?, bias: read("bias")?, epsilon })
    }

    /// Adds `branch` to `x` and normalises each row, in place: `x = norm(x + branch)`.
    pub(crate) fn add_and_normalise(&self, x: &mut [f32], branch: &[f32]) {
        cpu::normalise(x, Some(branch), &self.weight, &self.bias, self.epsilon);
    }

    /// Normalises each row in place.
    pub(crate) fn normalise(&self, x: &mut [f32]) {
        cpu::normalise(x, None, &self.weight, &self.bias, self.epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_with_the_asked_mean_and_spread() {
        let norm = LayerNorm { weight: vec![2.0; 4], bias: vec![1.0; 4], epsilon: 0.0 };
        let mut x = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 8.0];
        norm.add_and_normalise(&mut x, &[0.0; 8]);
        for row in x.chunks(4) {
            let mean = row.iter().sum::<f32>() / 4.0;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 4.0;
            assert!((mean - 1.0).abs() < 1e-5 && (variance - 4.0).abs() < 1e-4, "{row:?}");
        }
    }
}
