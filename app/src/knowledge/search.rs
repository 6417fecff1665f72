//! Finding passages: words (Postgres full text) and meaning (cosine of embeddings), fused by their ranks.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use candor_engine::dialogue::{BankError, Knowledge, Passage};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::bank::SharedTransaction;
use crate::{AppError, Result};

/// Damping of reciprocal-rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009.
const DAMPING: f32 = 60.0;
/// How many of each kind take part in the fusion.
const DEPTH: usize = 20;

/// A passage of a published article, ready to be compared.
struct Entry {
    id: Uuid,
    slug: String,
    title: String,
    heading: String,
    text: String,
    embedding: Vec<f32>,
}

/// What the articles looked like when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revision {
    articles: i64,
    newest: Option<DateTime<Utc>>,
}

struct Snapshot {
    revision: Revision,
    entries: Vec<Entry>,
}

/// The passages of all published articles in memory. Reads them again when an article has changed.
#[derive(Default)]
pub struct Index {
    snapshot: RwLock<Option<Arc<Snapshot>>>,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Address of its article.
    pub slug: String,
    /// Title of its article.
    pub title: String,
    /// Heading over it; may be empty.
    pub heading: String,
    /// The passage in plain words.
    pub text: String,
    /// Cosine of question and passage, 0 to 1; without an embedding the full-text rank on the same range.
    pub score: f32,
}

impl Index {
    async fn snapshot(&self, connection: &mut PgConnection) -> Result<Arc<Snapshot>> {
        let now = sqlx::query!(r#"select count(*) as "articles!", max(updated_at) as newest from articles"#)
            .fetch_one(&mut *connection)
            .await?;
        let revision = Revision { articles: now.articles, newest: now.newest };
        let held = self.snapshot.read().ok().and_then(|held| held.clone());
        if let Some(held) = held.filter(|held| held.revision == revision) {
            return Ok(held);
        }
        let entries = sqlx::query_as!(
            Entry,
            "select p.id, a.slug, a.title, p.heading, p.text, p.embedding
             from article_passages p join articles a on a.id = p.article_id
             where a.status = 'published' order by a.slug, p.ordinal",
        )
        .fetch_all(connection)
        .await?;
        let read = Arc::new(Snapshot { revision, entries });
        if let Ok(mut held) = self.snapshot.write() {
            *held = Some(read.clone());
        }
        Ok(read)
    }
}

/// The passages nearest to a question, best first. `embedding` is the question's, empty where there is none.
///
/// # Errors
/// When the database fails.
pub async fn search(
    index: &Index,
    connection: &mut PgConnection,
    question: &str,
    embedding: &[f32],
    limit: usize,
) -> Result<Vec<Found>> {
    let snapshot = index.snapshot(&mut *connection).await?;
    // Any of the words may match: a question rarely shares all of them with its answer.
    let by_words = sqlx::query!(
        r#"select p.id, ts_rank_cd(p.search, q.query, 32) as "rank!"
           from (select replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery as query) q,
                article_passages p join articles a on a.id = p.article_id
           where a.status = 'published' and p.search @@ q.query
           order by 2 desc, p.id limit $2"#,
        question,
        i64::try_from(DEPTH).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?;
    let words: HashMap<Uuid, f32> = by_words.iter().map(|row| (row.id, row.rank)).collect();
    let mut by_meaning: Vec<(Uuid, f32)> =
        snapshot.entries.iter().map(|entry| (entry.id, cosine(embedding, &entry.embedding))).collect();
    let meaning: HashMap<Uuid, f32> = by_meaning.iter().copied().collect();
    by_meaning.sort_by(|left, right| right.1.total_cmp(&left.1));
    if embedding.is_empty() {
        by_meaning.clear();
    }
    let mut fused: HashMap<Uuid, f32> = HashMap::new();
    for ranking in [
        by_words.iter().map(|row| row.id).collect::<Vec<_>>(),
        by_meaning.iter().take(DEPTH).map(|(id, _)| *id).collect(),
    ] {
        for (place, id) in (1_u16..).zip(ranking) {
            *fused.entry(id).or_default() += 1.0 / (DAMPING + f32::from(place));
        }
    }
    let mut found: Vec<(&Entry, f32)> =
        snapshot.entries.iter().filter_map(|entry| fused.get(&entry.id).map(|score| (entry, *score))).collect();
    found.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.id.cmp(&right.0.id)));
    Ok(found
        .into_iter()
        .take(limit)
        .map(|(entry, _)| Found {
            slug: entry.slug.clone(),
            title: entry.title.clone(),
            heading: entry.heading.clone(),
            text: entry.text.clone(),
            score: if embedding.is_empty() { words.get(&entry.id) } else { meaning.get(&entry.id) }
                .copied()
                .unwrap_or_default()
                .clamp(0.0, 1.0),
        })
        .collect())
}

/// Both have length 1, so the product is the cosine.
fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// The articles as the dialogue sees them, within the transaction of one turn.
pub struct PostgresKnowledge<'t> {
    index: &'t Index,
    transaction: &'t SharedTransaction,
}

impl<'t> PostgresKnowledge<'t> {
    /// The articles for one turn.
    #[must_use]
    pub fn new(index: &'t Index, transaction: &'t SharedTransaction) -> Self {
        Self { index, transaction }
    }
}

#[async_trait]
impl Knowledge for PostgresKnowledge<'_> {
    async fn search(&self, query: &str, embedding: &[f32], limit: usize) -> Result<Vec<Passage>, BankError> {
        let mut transaction = self.transaction.lock().await;
        let found =
            search(self.index, &mut transaction, query, embedding, limit).await.map_err(|error: AppError| {
                tracing::error!(%error, cause = ?error, "the articles could not be searched");
                BankError::Unavailable(error.to_string())
            })?;
        Ok(found
            .into_iter()
            .map(|found| Passage {
                article_slug: found.slug,
                title: found.title,
                heading: found.heading,
                text: found.text,
                score: found.score,
            })
            .collect())
    }
}
