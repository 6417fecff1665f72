//! What the assistant does next: typed, so that no text ever has to be read to know what happened.

use serde::{Deserialize, Serialize};

use super::bank::Receipt;
use super::operation::Operation;

/// One thing the assistant does in answer to a message. A turn holds one or more, in the order they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    /// Tells the customer something.
    Say {
        /// The words.
        text: String,
        /// The articles the words were taken from; empty when they come from records or from the flow.
        #[serde(default)]
        citations: Vec<Citation>,
        /// Buttons that may be offered with it.
        #[serde(default)]
        choices: Vec<Choice>,
    },
    /// Asks for something; the conversation waits for the answer.
    Ask {
        /// What is asked for: a slot's name, `confirm` for a confirmation, `offer` for an offer to start or hand over.
        slot: String,
        /// The question.
        text: String,
        /// Buttons that answer it.
        #[serde(default)]
        choices: Vec<Choice>,
        /// Before an operation: everything it will use, each with a way to change it.
        #[serde(default)]
        summary: Option<SummaryCard>,
    },
    /// An operation was performed through [`super::Bank::perform`] and recorded; this is the proof.
    Act {
        /// What was done, with the values that were used.
        operation: Operation,
        /// What the bank answered.
        receipt: Receipt,
    },
    /// A person takes over from here.
    HandOff {
        /// Why.
        reason: HandOffReason,
        /// What the customer is told.
        text: String,
    },
}

impl Action {
    /// What the customer reads.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Say { text, .. } | Self::Ask { text, .. } | Self::HandOff { text, .. } => text,
            Self::Act { receipt, .. } => &receipt.text,
        }
    }

    /// The buttons shown with it.
    #[must_use]
    pub fn choices(&self) -> &[Choice] {
        match self {
            Self::Say { choices, .. } | Self::Ask { choices, .. } => choices,
            Self::Act { .. } | Self::HandOff { .. } => &[],
        }
    }

    /// `say`, `ask`, `act` or `hand_off`, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Say { .. } => "say",
            Self::Ask { .. } => "ask",
            Self::Act { .. } => "act",
            Self::HandOff { .. } => "hand_off",
        }
    }
}

/// Where an answer was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The article's address: `/help/{slug}`.
    pub article_slug: String,
    /// The article's title, to show as the link.
    pub title: String,
    /// The passage that was quoted.
    pub passage: String,
}

/// A button. When pressed, send its `value` as [`super::Input::choice`] and its `label` as the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What is shown.
    pub label: String,
    /// What is sent. Opaque to the page.
    pub value: String,
}

impl Choice {
    pub(super) fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// Everything an operation will use, shown before it is performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryCard {
    /// What will happen.
    pub title: String,
    /// One line per value.
    pub rows: Vec<SummaryRow>,
}

/// A line of a [`SummaryCard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// What it is.
    pub label: String,
    /// Its value, in the customer's words.
    pub value: String,
    /// The choice value to send when the customer presses "change"; `None` where it can not be changed.
    pub change: Option<String>,
}

/// Why a person takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOffReason {
    /// The customer asked for a person.
    Asked,
    /// The assistant did not understand twice in a row.
    Misunderstood,
    /// The customer could not be identified.
    NotIdentified,
    /// The customer is unhappy with the assistant.
    Unhappy,
    /// The bank refused the operation, or a rule says that a person decides.
    NeedsPerson,
    /// The matter is outside what the assistant handles.
    OutOfScope,
}

impl HandOffReason {
    /// The name used in JSON and on the desk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Misunderstood => "misunderstood",
            Self::NotIdentified => "not_identified",
            Self::Unhappy => "unhappy",
            Self::NeedsPerson => "needs_person",
            Self::OutOfScope => "out_of_scope",
        }
    }
}
