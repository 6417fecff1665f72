//! Whole models, each reading like its paper.

pub mod causal;
pub(crate) mod moe_encoder;
