//! A conversation as stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Who is answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// The assistant.
    Assistant,
    /// Nobody yet: a person is awaited.
    Waiting,
    /// A person.
    Agent,
    /// Nobody any more.
    Resolved,
}

impl Status {
    /// The name used in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Waiting => "waiting",
            Self::Agent => "agent",
            Self::Resolved => "resolved",
        }
    }

    /// In words, for the desk.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Assistant => "AI assistant answers",
            Self::Waiting => "Waiting for a person",
            Self::Agent => "With a person",
            Self::Resolved => "Resolved",
        }
    }
}

/// The way a conversation came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Channel {
    /// The chat on the bank's page.
    Web,
    /// A program, for instance the CRM.
    Api,
    /// A call.
    Phone,
    /// Mail.
    Email,
}

impl Channel {
    /// The name used in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }
}

/// Who ended a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ResolvedBy {
    /// The assistant, after a long silence.
    Assistant,
    /// A person of the bank.
    Agent,
    /// The customer.
    Customer,
}

impl ResolvedBy {
    /// The name used in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Agent => "agent",
            Self::Customer => "customer",
        }
    }
}

/// What the customer said about the conversation at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Satisfaction {
    /// 1 (poor) to 5 (very good).
    pub score: i16,
    /// In the customer's words; may be empty.
    pub comment: String,
}

/// A conversation as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversation {
    /// Key.
    pub id: Uuid,
    /// The number people use, from 1001.
    pub number: i64,
    /// The customer, once known.
    pub customer_id: Option<Uuid>,
    /// How it came in.
    pub channel: Channel,
    /// Who is answering.
    pub status: Status,
    /// The person who has it.
    pub assignee_id: Option<Uuid>,
    /// Until when "take next" holds it for the assignee.
    pub assignee_hold_until: Option<DateTime<Utc>>,
    /// What the customer came for.
    pub intent: Option<String>,
    /// Probability of that intent, 0 to 1.
    pub intent_confidence: Option<f32>,
    /// `negative`, `neutral` or `positive`, of the customer's last message.
    pub sentiment: Option<String>,
    /// The same as a number, -1 to 1.
    pub sentiment_score: Option<f32>,
    /// The dialogue's state, `dialogue::State`. Stays inside.
    #[serde(skip)]
    pub dialogue: Value,
    /// The summary for the desk, `dialogue::Summary`.
    pub summary: Value,
    /// Number of the last message.
    pub last_seq: i64,
    /// Number of the customer's last message that needs no further answer from the assistant.
    #[serde(skip)]
    pub answered_seq: i64,
    /// Beginning of the last message that the customer saw.
    pub last_words: String,
    /// Who wrote it: `customer`, `assistant`, `agent`; empty before the first.
    pub last_author: String,
    /// Since when the customer waits for a person.
    pub waiting_since: Option<DateTime<Utc>>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When somebody last wrote.
    pub last_message_at: DateTime<Utc>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Who ended it.
    pub resolved_by: Option<ResolvedBy>,
    /// Satisfaction, 1 to 5.
    pub csat: Option<i16>,
    /// What the customer added to it.
    pub csat_comment: Option<String>,
}
