//! Whole models, each reading like its paper.

mod adapter;
pub mod bench;
pub mod causal;
mod complete;
pub(crate) mod decoder;
pub(crate) mod deepseek_v3;
pub(crate) mod intents;
mod load;
pub(crate) mod moe_encoder;
#[cfg(test)]
pub(crate) mod parity_test;
pub(crate) mod qwen3_moe;
mod shapes;

pub use crate::weights::Progress;
pub use complete::{Completion, complete};
pub use load::{Device, LoadError, LoadOptions, lack, load};
pub(crate) use load::{load_from, threads};
