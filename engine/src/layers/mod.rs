//! The parts models are made of. Shapes are written `[rows, columns]`, row-major.

mod attention;
mod experts;
mod fast;
mod linear;
mod mixture;
mod norm;
mod pairs;
mod precision;
mod projection;
mod rotary;
mod router;

pub(crate) use attention::{Attention, AttentionBuffers};
pub(crate) use experts::{Experts, ExpertsBuffers};
pub(crate) use fast::{FastLayer, FastMemory};
pub(crate) use linear::Linear;
pub(crate) use mixture::FeedForward;
pub(crate) use norm::LayerNorm;
pub(crate) use pairs::Pairs;
pub use precision::Precision;
pub(crate) use projection::Projection;
pub(crate) use rotary::Rotary;
pub(crate) use router::Router;

/// Why a generative model could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The weights do not fit the configuration.
    #[error(transparent)]
    Weights(#[from] crate::weights::Error),
    /// The device could not take them.
    #[error(transparent)]
    Device(#[from] crate::models::causal::ForwardError),
    /// The machine that was asked for is not there.
    #[error("the GPU can not be used: {0}")]
    Machine(String),
    /// The configuration asks for what the engine does not know.
    #[error("config.json: {0}")]
    Config(String),
}
