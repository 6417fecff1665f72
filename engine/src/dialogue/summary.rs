//! What a person needs to know who takes over: problem, facts, done, open, each with the message it came from.

use serde::{Deserialize, Serialize};

/// A conversation in a few lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What the customer came for.
    pub problem: Vec<Line>,
    /// What was said or found out.
    pub facts: Vec<Line>,
    /// What was done, with references.
    pub done: Vec<Line>,
    /// What is still open.
    pub open: Vec<Line>,
}

/// One line of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The words.
    pub text: String,
    /// Number of the customer's message it came from.
    pub seq: i64,
}
