//! Whole models, each reading like its paper.

mod adapter;
pub mod bench;
pub mod causal;
mod complete;
mod decoder;
mod deepseek_v3;
mod load;
pub(crate) mod moe_encoder;
#[cfg(test)]
mod parity_test;
mod qwen3_moe;
mod shapes;

pub use crate::weights::Progress;
pub use complete::{Completion, complete};
pub(crate) use load::load_from;
pub use load::{LoadError, LoadOptions, load};
