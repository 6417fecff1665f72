//! Articles as stored, and saving one with its passages.

use candor_engine::Engine;
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{AppError, Result};

use super::passages::passages;

/// Whether customers can read an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ArticleStatus {
    /// Not yet.
    Draft,
    /// Yes; the assistant answers from it.
    Published,
    /// No longer.
    Retired,
}

impl ArticleStatus {
    /// The name used in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }
}

/// An article as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Article {
    /// Key.
    pub id: Uuid,
    /// Its address: `/help/{slug}`.
    pub slug: String,
    /// Title.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Words to group it by.
    pub tags: Vec<String>,
    /// Whether customers can read it.
    pub status: ArticleStatus,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}

/// An article about to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArticle {
    /// Its address: small letters, digits and hyphens.
    pub slug: String,
    /// Title.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Words to group it by.
    pub tags: Vec<String>,
}

/// All articles, by title.
///
/// # Errors
/// When the database fails.
pub async fn articles(db: impl PgExecutor<'_>) -> Result<Vec<Article>> {
    Ok(sqlx::query_as!(
        Article,
        r#"select id, slug, title, body, tags, status as "status: ArticleStatus", updated_at
           from articles order by title"#,
    )
    .fetch_all(db)
    .await?)
}

/// The articles that customers can read, by title.
///
/// # Errors
/// When the database fails.
pub async fn published(db: impl PgExecutor<'_>) -> Result<Vec<Article>> {
    Ok(sqlx::query_as!(
        Article,
        r#"select id, slug, title, body, tags, status as "status: ArticleStatus", updated_at
           from articles where status = 'published' order by title"#,
    )
    .fetch_all(db)
    .await?)
}

/// The article at an address, whatever its status.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn article(db: impl PgExecutor<'_>, slug: &str) -> Result<Article> {
    sqlx::query_as!(
        Article,
        r#"select id, slug, title, body, tags, status as "status: ArticleStatus", updated_at
           from articles where slug = $1"#,
        slug,
    )
    .fetch_optional(db)
    .await?
    .ok_or(AppError::NotFound("This article"))
}

fn check(new: &NewArticle) -> Result<()> {
    let slug = !new.slug.is_empty()
        && new.slug.len() <= 80
        && new.slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !slug {
        return Err(AppError::field("slug", "Write small letters, digits and hyphens, for instance lost-card."));
    }
    if new.title.trim().is_empty() || new.title.chars().count() > 120 {
        return Err(AppError::field("title", "Write a title of 1 to 120 characters."));
    }
    if new.body.trim().is_empty() {
        return Err(AppError::field("body", "Write the article's text."));
    }
    Ok(())
}

/// Saves an article under its address, new or in place of the one there, and cuts and embeds its passages.
///
/// The embedding happens before anything is written; call it inside a transaction and append the audit entry after.
///
/// # Errors
/// [`AppError::Invalid`] for a field that can not be used, [`AppError::Unavailable`] when the engine is too busy.
pub async fn save(
    connection: &mut PgConnection,
    engine: &Engine,
    new: &NewArticle,
    status: ArticleStatus,
    by: Option<Uuid>,
) -> Result<Uuid> {
    check(new)?;
    let mut embedded = Vec::new();
    for passage in passages(&new.body) {
        let embedding = embed(engine, &passage.embedded_text(&new.title)).await?;
        let phrasings = try_join_all(passage.phrasings.iter().map(|phrasing| embed(engine, phrasing))).await?;
        embedded.push((passage, embedding, phrasings));
    }
    let mut transaction = connection.begin().await?;
    let id = sqlx::query_scalar!(
        "insert into articles (id, slug, title, body, tags, status, updated_by) values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (slug) do update set title = excluded.title, body = excluded.body, tags = excluded.tags,
            status = excluded.status, updated_by = excluded.updated_by, updated_at = clock_timestamp()
         returning id",
        Uuid::now_v7(),
        new.slug,
        new.title.trim(),
        new.body,
        &new.tags,
        status.as_str(),
        by,
    )
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query!("delete from article_passages where article_id = $1", id).execute(&mut *transaction).await?;
    for (ordinal, (passage, embedding, phrasings)) in (1_i32..).zip(embedded) {
        let passage_id = Uuid::now_v7();
        sqlx::query!(
            "insert into article_passages (id, article_id, ordinal, heading, text, embedding)
             values ($1, $2, $3, $4, $5, $6)",
            passage_id,
            id,
            ordinal,
            passage.heading,
            passage.text,
            &embedding,
        )
        .execute(&mut *transaction)
        .await?;
        for (phrasing, embedding) in passage.phrasings.iter().zip(phrasings) {
            sqlx::query!(
                "insert into article_phrasings (passage_id, text, embedding) values ($1, $2, $3)",
                passage_id,
                phrasing,
                &embedding,
            )
            .execute(&mut *transaction)
            .await?;
        }
    }
    transaction.commit().await?;
    Ok(id)
}

async fn embed(engine: &Engine, text: &str) -> Result<Vec<f32>> {
    engine.embed(text).await.map_err(|error| AppError::Unavailable(error.to_string()))
}
