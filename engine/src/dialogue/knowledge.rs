//! Articles as the dialogue sees them: passages that match a question.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::bank::BankError;

/// Search over the published articles.
#[async_trait]
pub trait Knowledge: Send + Sync {
    /// The passages nearest to a question, best first.
    ///
    /// `query` is the question in words; `embedding` is its sentence embedding of length 1, empty where there is none.
    async fn search(&self, query: &str, embedding: &[f32], limit: usize) -> Result<Vec<Passage>, BankError>;
}

/// A passage of an article.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The article's address: `/help/{slug}`.
    pub article_slug: String,
    /// The article's title.
    pub title: String,
    /// Heading over the passage; may be empty.
    pub heading: String,
    /// The passage in plain words.
    pub text: String,
    /// Cosine similarity of question and passage, 0 to 1. An implementation without embeddings gives a measure of the
    /// same range.
    pub score: f32,
}
