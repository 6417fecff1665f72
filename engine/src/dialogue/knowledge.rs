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
    /// The known way of asking for this passage that is nearest to the question, where there are some and embeddings.
    pub asked_as: Option<Phrasing>,
}

/// A way of asking for a passage, compared with a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phrasing {
    /// The passage's heading, or what its writer noted as another way of asking for it.
    pub text: String,
    /// Cosine similarity of the question and this phrasing, 0 to 1.
    pub score: f32,
}

/// The phrasing nearest to a question. All embeddings have length 1.
#[must_use]
pub fn nearest_phrasing<'p>(
    phrasings: impl IntoIterator<Item = &'p (String, Vec<f32>)>,
    question: &[f32],
) -> Option<Phrasing> {
    phrasings
        .into_iter()
        .map(|(text, embedding)| (text, cosine(embedding, question)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(text, score)| Phrasing { text: text.clone(), score: score.clamp(0.0, 1.0) })
}

/// Cosine of two embeddings of length 1.
#[must_use]
pub fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}
