//! The parts models are made of. Shapes are written `[rows, columns]`, row-major.

mod attention;
mod experts;
mod linear;
mod norm;
mod router;

pub(crate) use attention::Attention;
pub(crate) use experts::{Experts, ExpertsBuffers};
pub(crate) use linear::Linear;
pub(crate) use norm::LayerNorm;
pub(crate) use router::Router;
