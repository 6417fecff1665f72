//! What a customer's message means: intent, sentiment, entities and an embedding for retrieval.

pub(crate) mod chinese;
mod entities;
mod entity_scores;
pub mod evaluate;
mod intent;
mod latency;
pub(crate) mod number_words;
mod reader;

pub use chinese::is_chinese;
pub use entities::find_entities;
pub use entity_scores::{Annotated, EntityReport, EntityScore, Expected, evaluate_entities};
pub use latency::{Beginning, Latency, LatencyReport, Throughput, bench_understand};
pub(crate) use reader::Reader;

use serde::{Deserialize, Serialize};

/// Why a text was not understood.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Too many requests wait; try again shortly.
    #[error("too many messages are waiting, try again shortly")]
    Overloaded,
    /// The engine was shut down while the request waited.
    #[error("the engine is shutting down")]
    Stopped,
}

/// What the encoder and the entity rules say about one text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Understanding {
    /// The text as it came.
    pub text: String,
    /// The English words that a Chinese text was read as; nothing for a text in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
    /// Most likely intent of the desk (`block_card`, `balance`, …; `other` when out of scope).
    pub intent: String,
    /// Calibrated probability of that intent, 0 to 1.
    pub confidence: f32,
    /// Whether the text is something the desk handles at all.
    pub in_scope: bool,
    /// How the customer sounds.
    pub sentiment: Sentiment,
    /// Probability of positive less probability of negative, -1 to 1.
    pub sentiment_score: f32,
    /// Values found in the text, in order.
    pub entities: Vec<Entity>,
    /// The next likely intents with their probabilities, most likely first.
    pub alternatives: Vec<(String, f32)>,
    /// Sentence embedding: 384 numbers of Euclidean length 1. Not serialised.
    #[serde(skip)]
    pub embedding: Vec<f32>,
    /// Version of the model that said so.
    pub model_version: String,
}

/// How a customer sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sentiment {
    /// Unhappy.
    Negative,
    /// Matter-of-fact.
    Neutral,
    /// Pleased.
    Positive,
}

impl Sentiment {
    /// The name used in data sets and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }
}

/// A value found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// The words as written.
    pub text: String,
    /// Normalised: money `"120.50 EUR"`, dates `"2026-11-23"`, digits without spaces, mail in lower case.
    pub value: String,
    /// First byte in the text.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// Kinds of value the desk asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// An amount, with its currency where one was named.
    Money,
    /// A calendar day.
    Date,
    /// Last four digits of a card.
    CardLast4,
    /// An account number or IBAN.
    Account,
    /// A telephone number.
    Phone,
    /// A mail address.
    Email,
    /// A person's name.
    Name,
    /// A postcode.
    Postcode,
    /// Any other number.
    Number,
    /// A customer number such as `C-10023`.
    CustomerNumber,
}
