//! Finding passages: meaning (cosine of embeddings) and words (Postgres full text) beside it.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use candor_engine::dialogue::{BankError, Knowledge, Passage, Phrasing, cosine, nearest_phrasing};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::bank::SharedTransaction;
use crate::{AppError, Result};

/// What the full-text rank, 0 to 1, counts beside the cosine. Fusing both by their ranks (Cormack, Clarke and Büttcher, SIGIR
/// 2009) finds less: of long messages the words mislead.
const IN_WORDS: f32 = 0.1;
/// How many passages the full text names.
const DEPTH: usize = 20;

/// A passage of a published article, ready to be compared.
struct Entry {
    id: Uuid,
    slug: String,
    title: String,
    heading: String,
    text: String,
    embedding: Vec<f32>,
    phrasings: Vec<(String, Vec<f32>)>,
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
    /// The known way of asking for it that is nearest to the question.
    pub asked_as: Option<Phrasing>,
}

impl Found {
    /// How near it is by itself, or by the nearest way of asking for it.
    #[must_use]
    pub fn nearness(&self) -> f32 {
        self.asked_as.as_ref().map_or(self.score, |asked| asked.score.max(self.score))
    }
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
        let phrasings = sqlx::query!(
            "select f.passage_id, f.text, f.embedding
             from article_phrasings f join article_passages p on p.id = f.passage_id
                  join articles a on a.id = p.article_id
             where a.status = 'published' order by f.id",
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut of_passage: HashMap<Uuid, Vec<(String, Vec<f32>)>> = HashMap::new();
        for row in phrasings {
            of_passage.entry(row.passage_id).or_default().push((row.text, row.embedding));
        }
        let passages = sqlx::query!(
            "select p.id, a.slug, a.title, p.heading, p.text, p.embedding
             from article_passages p join articles a on a.id = p.article_id
             where a.status = 'published' order by a.slug, p.ordinal",
        )
        .fetch_all(connection)
        .await?;
        let entries = passages
            .into_iter()
            .map(|row| Entry {
                phrasings: of_passage.remove(&row.id).unwrap_or_default(),
                id: row.id,
                slug: row.slug,
                title: row.title,
                heading: row.heading,
                text: row.text,
                embedding: row.embedding,
            })
            .collect();
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
    let meaning: HashMap<Uuid, (f32, Option<Phrasing>)> = snapshot
        .entries
        .iter()
        .map(|entry| {
            let asked_as = nearest_phrasing(&entry.phrasings, embedding).filter(|_| !embedding.is_empty());
            (entry.id, (cosine(embedding, &entry.embedding), asked_as))
        })
        .collect();
    // A passage is as near as itself, or as the nearest way of asking for it. Without an embedding only words count.
    let mut found: Vec<(&Entry, f32)> = snapshot
        .entries
        .iter()
        .filter_map(|entry| {
            let shares = words.get(&entry.id).copied();
            if embedding.is_empty() {
                return shares.map(|rank| (entry, rank));
            }
            let (passage, asked_as) = meaning.get(&entry.id)?;
            let near = asked_as.as_ref().map_or(*passage, |asked| asked.score.max(*passage));
            Some((entry, near + IN_WORDS * shares.unwrap_or_default()))
        })
        .collect();
    found.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.id.cmp(&right.0.id)));
    Ok(found
        .into_iter()
        .take(limit)
        .map(|(entry, _)| Found {
            slug: entry.slug.clone(),
            title: entry.title.clone(),
            heading: entry.heading.clone(),
            text: entry.text.clone(),
            score: if embedding.is_empty() {
                words.get(&entry.id).copied()
            } else {
                meaning.get(&entry.id).map(|(passage, _)| *passage)
            }
            .unwrap_or_default()
            .clamp(0.0, 1.0),
            asked_as: meaning.get(&entry.id).and_then(|(_, asked_as)| asked_as.clone()),
        })
        .collect())
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
                asked_as: found.asked_as,
            })
            .collect())
    }
}
