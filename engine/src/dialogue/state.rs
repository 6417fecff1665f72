//! What the dialogue remembers between two messages.

use serde::{Deserialize, Serialize};

use super::bank::CustomerId;
use super::summary::Summary;

/// A conversation as the manager remembers it. Stored as JSON beside the conversation; `State::default()` begins one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The customer, once identified.
    pub identified: Option<CustomerId>,
    /// Language of the conversation.
    pub language: Language,
    /// Whether a person has taken over; [`State::hand_back`] ends it.
    pub handed_off: bool,
    /// What older turns amount to.
    pub(super) earlier: Summary,
}

impl State {
    /// A conversation with a customer whom the application has already signed in.
    #[must_use]
    pub fn signed_in(customer: CustomerId) -> Self {
        Self { identified: Some(customer), ..Self::default() }
    }

    /// The assistant takes the conversation back from a person: counts of misunderstandings begin anew.
    pub fn hand_back(&mut self) {
        self.handed_off = false;
    }

    /// The flow that is running, by name.
    #[must_use]
    pub fn flow(&self) -> Option<&str> {
        None
    }

    /// The whole conversation in a few lines, for the person who takes over.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.earlier.clone()
    }
}

/// Language of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese.
    Chinese,
}
