//! Reading a model's folder: `config.json`, `tokenizer.json` and safetensors shards, as Hugging Face lays them out.

mod folder;
mod tensors;

pub(crate) use folder::{Folder, encoder_inside};
pub(crate) use tensors::Tensors;

/// Why a model's folder could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file is missing or unreadable.
    #[error("{file}: {reason}")]
    File {
        /// The file's name in the folder.
        file: String,
        /// What the operating system or the parser said.
        reason: String,
    },
    /// A tensor is missing.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// A tensor has another shape or type than the configuration asks for.
    #[error("tensor {name} should be {expected}, is {found}")]
    Mismatch {
        /// The tensor's name.
        name: String,
        /// What the configuration asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
}
