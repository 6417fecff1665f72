//! A message as stored, and one about to be.

use candor_engine::dialogue::Action;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{AppError, Result};

/// The longest message a customer may send, in characters.
pub const MAX_CUSTOMER_CHARS: usize = 2000;

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Author {
    /// The customer.
    Customer,
    /// The AI assistant.
    Assistant,
    /// A person of the bank, to the customer.
    Agent,
    /// A person of the bank, to colleagues only.
    Note,
    /// Something that happened: a hand-off, an assignment.
    Event,
}

impl Author {
    /// The name used in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Assistant => "assistant",
            Self::Agent => "agent",
            Self::Note => "note",
            Self::Event => "event",
        }
    }
}

/// A message as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Key.
    pub id: Uuid,
    /// The conversation it belongs to.
    pub conversation_id: Uuid,
    /// 1, 2, 3 … within the conversation.
    pub seq: i64,
    /// Who wrote it.
    pub author: Author,
    /// The person of the bank who wrote it.
    pub person_id: Option<Uuid>,
    /// That person's name.
    pub person_name: Option<String>,
    /// The words.
    pub text: String,
    /// What the engine understood of a customer's message (`Understanding`).
    pub understanding: Option<Value>,
    /// The `dialogue::Action` behind an assistant's message.
    pub action: Option<Value>,
    /// Version of the model behind it.
    pub model_version: Option<String>,
    /// Value of the button that the customer pressed.
    pub choice: Option<String>,
    /// The sender's own key.
    pub client_key: Option<String>,
    /// Whether the customer may see it.
    pub for_customer: bool,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// The typed action behind an assistant's message.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        self.action.as_ref().and_then(|action| Action::deserialize(action).ok())
    }
}

/// A message about to be stored; see [`super::store::append`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    pub(super) author: Author,
    pub(super) person_id: Option<Uuid>,
    pub(super) text: String,
    pub(super) action: Option<Value>,
    pub(super) model_version: Option<String>,
    pub(super) choice: Option<String>,
    pub(super) client_key: Option<String>,
    pub(super) for_customer: bool,
}

impl NewMessage {
    fn new(author: Author, text: impl Into<String>) -> Self {
        Self {
            author,
            person_id: None,
            text: text.into(),
            action: None,
            model_version: None,
            choice: None,
            client_key: None,
            for_customer: true,
        }
    }

    /// The customer's words, as cleaned by [`customer_text`].
    pub fn customer(text: impl Into<String>) -> Self {
        Self::new(Author::Customer, text)
    }

    /// What the assistant does, with the version of the model that led to it.
    ///
    /// # Errors
    /// When the action can not be written as JSON.
    pub fn assistant(action: &Action, model_version: Option<String>) -> Result<Self> {
        let mut message = Self::new(Author::Assistant, action.text());
        message.action = Some(serde_json::to_value(action)?);
        message.model_version = model_version;
        Ok(message)
    }

    /// A person's words to the customer.
    pub fn agent(person: Uuid, text: impl Into<String>) -> Self {
        Self { person_id: Some(person), ..Self::new(Author::Agent, text) }
    }

    /// A person's words to colleagues.
    pub fn note(person: Uuid, text: impl Into<String>) -> Self {
        Self { person_id: Some(person), for_customer: false, ..Self::new(Author::Note, text) }
    }

    /// Something that happened, for the desk only.
    pub fn event(text: impl Into<String>) -> Self {
        Self { for_customer: false, ..Self::new(Author::Event, text) }
    }

    /// Something that happened, for the customer's eyes too: "Maria answers you now."
    pub fn public_event(text: impl Into<String>) -> Self {
        Self::new(Author::Event, text)
    }

    /// The value of the button that the customer pressed.
    #[must_use]
    pub fn with_choice(mut self, choice: Option<String>) -> Self {
        self.choice = choice;
        self
    }

    /// The sender's own key: a message that is sent twice is kept once.
    #[must_use]
    pub fn with_client_key(mut self, key: Option<String>) -> Self {
        self.client_key = key;
        self
    }
}

/// A customer's words, ready to be stored: without control characters and space at the ends.
///
/// # Errors
/// [`AppError::Invalid`] on the field `text` when nothing is left, or more than [`MAX_CUSTOMER_CHARS`] characters are.
pub fn customer_text(text: &str) -> Result<String> {
    let text: String = text
        .replace("\r\n", "\n")
        .chars()
        .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
        .collect();
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 {
        return Err(AppError::field("text", "Write a message first."));
    }
    if length > MAX_CUSTOMER_CHARS {
        return Err(AppError::field(
            "text",
            format!("A message can have {MAX_CUSTOMER_CHARS} characters. This one has {length}: please shorten it."),
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_words_are_cleaned_and_measured_in_characters() {
        assert_eq!(customer_text("  hello\0\r\nyou\u{7} ").unwrap(), "hello\nyou");
        assert!(customer_text(" \u{0} ").is_err());
        assert_eq!(customer_text(&"é".repeat(MAX_CUSTOMER_CHARS)).unwrap().chars().count(), MAX_CUSTOMER_CHARS);
        let AppError::Invalid(fields) = customer_text(&"é".repeat(MAX_CUSTOMER_CHARS + 1)).unwrap_err() else {
            panic!("not a refused field");
        };
        assert_eq!(fields[0].field, "text");
        assert!(fields[0].message.contains("2001"), "{}", fields[0].message);
    }
}
