//! Flows: what the assistant does for one wish of the customer, as data.

use serde::{Deserialize, Serialize};

/// A flow as read from its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Name: the file's name without `.toml`.
    pub name: String,
    /// What it does, as a manager of the bank would say it.
    pub title: String,
}

/// What is wrong in a flow's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct FlowError {
    /// The file's name.
    pub file: String,
    /// Line within it, from 1; 0 when the file itself can not be read.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}
