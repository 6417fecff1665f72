//! Making models on the bank's own data and processors: what changes weights instead of using them.
//!
//! [`awq`] rounds a generator's matrices to four bits; [`intents`] gives the encoder a bank's own intents from a few examples each. What trains is small (low-rank adapters, a
//! head); what the encoder knows stays frozen, so that gradients are only followed, never kept, for the rest.

mod adamw;
pub mod awq;
mod card;
mod encoder;
mod frozen;
mod general;
pub mod intents;
mod lora;
mod material;
mod outcome;
mod pieces;
mod student;

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The encoder to start from can not be read.
    #[error("the encoder can not be read: {0}")]
    Model(String),
    /// The data does not suffice.
    #[error("{0}")]
    Data(String),
    /// A file can not be written.
    #[error("{file}: {source}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The arithmetic failed.
    #[error("the training failed: {0}")]
    Arithmetic(#[from] candle_core::Error),
}

impl From<crate::weights::Error> for TrainingError {
    fn from(error: crate::weights::Error) -> Self {
        Self::Model(error.to_string())
    }
}
