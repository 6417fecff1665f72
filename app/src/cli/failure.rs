//! Why a command did not do what it was asked.

use std::fmt::{self, Display};

/// A sentence for whoever typed the command.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Every error says in words what happened; a command has nobody else to tell.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let words = deeper.to_string();
            if !sentence.contains(&words) {
                sentence = format!("{sentence}: {words}");
            }
            cause = deeper.source();
        }
        Self(sentence)
    }
}
