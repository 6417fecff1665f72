//! An affine map.

use ndarray::ShapeError;

use crate::backend::cpu;
use crate::weights::{Error, Tensors};

/// `y = x · Wᵀ + b`, in `f32`.
pub(crate) struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// Reads `name.weight` `[outputs, inputs]` and `name.bias` `[outputs]`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(tensors: &Tensors, name: &str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        Ok(Self {
            weight: tensors.get(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: tensors.get(&format!("{name}.bias"), &[outputs])?,
            inputs,
        })
    }

    /// `x` `[n, inputs]` -> `out` `[n, outputs]`.
    ///
    /// # Errors
    /// When a slice is not as long as `n` asks for.
    pub(crate) fn forward(&self, x: &[f32], n: usize, out: &mut [f32]) -> Result<(), ShapeError> {
        cpu::linear(x, &self.weight, Some(&self.bias), (n, self.inputs, self.bias.len()), out)
    }
}
