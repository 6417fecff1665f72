//! Why a command did not do what it was asked.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;

/// A sentence for whoever typed the command.
#[derive(Debug)]
pub(super) struct Failure {
    sentence: String,
    closed_pipe: bool,
}

impl Failure {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), closed_pipe: false }
    }

    /// The same failure, with where it happened in front.
    pub(super) fn at(self, place: impl Display) -> Self {
        Self { sentence: format!("{place}: {}", self.sentence), ..self }
    }

    /// Whether only the reader of our output went away.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

/// Every error says in words what happened; a command has nobody else to tell.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut sentence = error.to_string();
        let mut closed_pipe = is_closed_pipe(&error);
        let mut cause = error.source();
        while let Some(deeper) = cause {
            closed_pipe |= is_closed_pipe(deeper);
            let words = deeper.to_string();
            if !sentence.contains(&words) {
                sentence = format!("{sentence}: {words}");
            }
            cause = deeper.source();
        }
        Self { sentence, closed_pipe }
    }
}

fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
