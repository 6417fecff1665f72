//! A matrix of weights in the precision that the model runs in.

use ndarray::{ErrorKind, ShapeError};

use crate::backend::cpu::int8::{Activations, Int8Matrix};
use crate::backend::cpu::{self, Crew};
use crate::weights::{Error, Tensors};

/// The arithmetic of a model's large products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and activations in int8, sums in `i32`: the fast form.
    #[default]
    Int8,
    /// All in `f32`: the form that the fast one is compared with.
    Float32,
}

/// `[outputs, inputs]`.
pub(super) enum Matrix {
    Int8(Int8Matrix),
    Float32 { weight: Vec<f32>, inputs: usize, outputs: usize },
}

impl Matrix {
    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub(super) fn open(
        tensors: &Tensors,
        name: &str,
        (outputs, inputs): (usize, usize),
        precision: Precision,
    ) -> Result<Self, Error> {
        let all = tensors.get(name, &[outputs, inputs])?;
        Ok(Self::of(all, (outputs, inputs), precision))
    }

    /// Takes the values row by row. Rounding finds the steps of weights that were stored as int8 again: their
    /// largest value is 127 of them.
    pub(super) fn of(weight: Vec<f32>, (outputs, inputs): (usize, usize), precision: Precision) -> Self {
        match precision {
            Precision::Int8 => Self::Int8(Int8Matrix::rounded(&weight, (outputs, inputs))),
            Precision::Float32 => Self::Float32 { weight, inputs, outputs },
        }
    }

    /// The matrix where it is int8.
    pub(super) fn int8(&self) -> Option<&Int8Matrix> {
        match self {
            Self::Int8(matrix) => Some(matrix),
            Self::Float32 { .. } => None,
        }
    }

    /// `out[n, outputs] = x[n, inputs] · selfᵀ + bias`; `rounded` is memory to work in, `crew` works on it.
    ///
    /// # Errors
    /// When a slice is not as long as `n` asks for.
    pub(super) fn multiply(
        &self,
        x: &[f32],
        n: usize,
        bias: Option<&[f32]>,
        (rounded, crew): (&mut Activations, &mut Crew<'_>),
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        match self {
            Self::Int8(matrix) => {
                if let Some(inputs) = x.len().checked_div(n) {
                    rounded.quantise(x, inputs);
                    if !matrix.multiply(rounded.rows(), bias, crew, out) {
                        return Err(ShapeError::from_kind(ErrorKind::IncompatibleShape));
                    }
                }
                Ok(())
            }
            Self::Float32 { weight, inputs, outputs } => cpu::linear(x, weight, bias, (n, *inputs, *outputs), out),
        }
    }
}
