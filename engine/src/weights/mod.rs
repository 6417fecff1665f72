//! Reading a model's folder: `config.json`, `tokenizer.json` and safetensors shards, as Hugging Face lays them out.

pub(crate) mod awq;
mod bytes;
mod checkpoint;
mod folder;
pub(crate) mod random;
pub(crate) mod stored;
mod tensors;

pub(crate) use bytes::Bytes;
pub(crate) use checkpoint::Checkpoint;
pub use checkpoint::Progress;
pub(crate) use folder::{Folder, encoder_inside, generator_inside};
pub(crate) use stored::Stored;
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

/// Where a model takes its weights from, by the names that they have in checkpoints.
pub(crate) trait Weights {
    /// Whether there is a tensor of this name.
    fn has(&self, tensor: &str) -> bool;

    /// The weight of the linear map `name`, `[rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, Error>;

    /// Rows of one matrix of the stack `name`; see [`Checkpoint::stacked`].
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    fn stacked(
        &self,
        name: &str,
        number: (usize, usize),
        rows: std::ops::Range<usize>,
        shape: (usize, usize),
    ) -> Result<Stored, Error>;

    /// A tensor as `f32`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;
}

impl Weights for Checkpoint<'_> {
    fn has(&self, tensor: &str) -> bool {
        Checkpoint::has(self, tensor)
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, Error> {
        Checkpoint::matrix(self, name, rows, columns)
    }

    fn stacked(
        &self,
        name: &str,
        number: (usize, usize),
        rows: std::ops::Range<usize>,
        shape: (usize, usize),
    ) -> Result<Stored, Error> {
        Checkpoint::stacked(self, name, number, rows, shape)
    }

    fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Checkpoint::vector(self, name, shape)
    }
}
