//! Whole models, each reading like its paper.

pub(crate) mod moe_encoder;
