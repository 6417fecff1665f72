//! What a generation says while it runs.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, ToolCall};

/// One step of a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// More text.
    Text {
        /// The text; empty where a token alone makes no whole character yet.
        text: String,
        /// The tokens behind it, where they were asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// A whole call of a tool.
    ToolCall(ToolCall),
    /// The end; nothing follows.
    Done {
        /// Why it ended.
        finish: Finish,
        /// What it cost.
        usage: Usage,
    },
    /// The generation failed; nothing follows.
    Failed(Error),
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model said so, or a stop string was met.
    Stop,
    /// The allowed number of tokens or the context was used up.
    Length,
    /// The model called a tool.
    ToolCalls,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were still in the cache.
    pub cached_tokens: usize,
    /// Tokens generated, with the one that ended it.
    pub completion_tokens: usize,
}

/// One token and how likely the model held it, before temperature, penalties and masks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's bytes as text; bytes that make no character are replaced.
    pub token: String,
    /// The token's bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The most likely tokens at this place, most likely first, as (text, bytes, logarithm).
    pub top: Vec<(String, Vec<u8>, f32)>,
}

/// A whole generation, collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Everything that was said.
    pub text: String,
    /// Tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// Tools that were called.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// What it cost.
    pub usage: Usage,
}

/// The stream of one generation. Dropping it ends the work behind it.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::UnboundedReceiver<Event>,
}

/// The writing end of a [`Generation`]. It can not run ahead further than the tokens that the request allows.
pub type Sender = mpsc::UnboundedSender<Event>;

/// A new stream with its two ends.
#[must_use]
pub fn channel() -> (Sender, Generation) {
    let (sender, events) = mpsc::unbounded_channel();
    (sender, Generation { events })
}

impl Generation {
    /// The next event; `None` after the end.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Waits for the end and answers everything in one piece.
    ///
    /// # Errors
    /// The error it failed with; [`Error::Stopped`] when it ended without a word.
    pub async fn collect(mut self) -> Result<Text, Error> {
        let (mut whole, mut probabilities, mut tool_calls) = (String::new(), Vec::new(), Vec::new());
        while let Some(event) = self.next().await {
            match event {
                Event::Text { text, logprobs } => {
                    whole.push_str(&text);
                    probabilities.extend(logprobs);
                }
                Event::ToolCall(call) => tool_calls.push(call),
                Event::Done { finish, usage } => {
                    return Ok(Text { text: whole, logprobs: probabilities, tool_calls, finish, usage });
                }
                Event::Failed(error) => return Err(error),
            }
        }
        Err(Error::Stopped)
    }
}
