//! An affine map.

use ndarray::ShapeError;

use super::matrix::{Matrix, Precision};
use crate::backend::cpu::Crew;
use crate::backend::cpu::int8::Activations;
use crate::weights::{Error, Tensors};

/// `y = x · Wᵀ + b`.
pub(crate) struct Linear {
    weight: Matrix,
    bias: Vec<f32>,
}

impl Linear {
    /// Reads `name.weight` `[outputs, inputs]` and `name.bias` `[outputs]`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(
        tensors: &Tensors,
        name: &str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Self, Error> {
        Ok(Self {
            weight: Matrix::open(tensors, &format!("{name}.weight"), (outputs, inputs), precision)?,
            bias: tensors.get(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// `x` `[n, inputs]` -> `out` `[n, outputs]`; `work` is memory to work in and who works.
    ///
    /// # Errors
    /// When a slice is not as long as `n` asks for.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        n: usize,
        work: (&mut Activations, &mut Crew<'_>),
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.weight.multiply(x, n, Some(&self.bias), work, out)
    }
}
