//! Why nothing was generated.

use std::time::Duration;

/// Why a request was refused, or a generation ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many requests wait already.
    #[error("too many requests are waiting, try again in {} s", .retry_after.as_secs().max(1))]
    Overloaded {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {tokens} tokens; at most {longest} fit with an answer of one token")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens a prompt may have.
        longest: usize,
    },
    /// The request asks for something that can not be done; the message says what.
    #[error("{0}")]
    Invalid(String),
    /// The model failed in the middle.
    #[error("the model failed: {0}")]
    Model(String),
    /// The other server could not be reached or answered with an error.
    #[error("the model's server failed: {0}")]
    Remote(String),
    /// The generator is being shut down.
    #[error("the generator is shutting down")]
    Stopped,
}
