//! Drafts: the answers of an application that is not sent yet.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Result;
use crate::accounts::{random_token, token_hash};

use super::answers::Answers;

/// A pause longer than this does not count as time spent on the form, in seconds.
const PAUSE: f64 = 1800.0;

/// A draft and the token that opens it.
pub(super) struct Draft {
    pub(super) id: Uuid,
    pub(super) token: String,
    pub(super) answers: Answers,
    pub(super) active_seconds: i32,
    pub(super) keep: bool,
    pub(super) created_at: DateTime<Utc>,
}

impl Draft {
    /// The token of the application's page: made from the draft's own, so that sending twice leads to the same page, and
    /// not to be turned back into it.
    pub(super) fn status_token(&self) -> String {
        let mut digest = Sha256::new();
        digest.update("candor application status\0");
        digest.update(&self.token);
        hex::encode(digest.finalize())
    }
}

/// Begins a draft.
pub(super) async fn begin(db: &PgPool, keep: bool) -> Result<Draft> {
    let token = random_token();
    let id = Uuid::now_v7();
    let created_at = sqlx::query_scalar!(
        "insert into application_drafts (id, token_hash, keep) values ($1, $2, $3) returning created_at",
        id,
        &token_hash(&token)[..],
        keep,
    )
    .fetch_one(db)
    .await?;
    Ok(Draft { id, token, answers: Answers::default(), active_seconds: 0, keep, created_at })
}

/// The draft that a token opens.
pub(super) async fn open(db: &PgPool, token: &str) -> Result<Option<Draft>> {
    let row = sqlx::query!(
        r#"select id, answers as "answers: Json<Answers>", active_seconds, keep, created_at
           from application_drafts where token_hash = $1"#,
        &token_hash(token)[..],
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Draft {
        id: row.id,
        token: token.to_owned(),
        answers: row.answers.0,
        active_seconds: row.active_seconds,
        keep: row.keep,
        created_at: row.created_at,
    }))
}

/// Keeps what was typed, right or not: nobody types anything twice.
pub(super) async fn save(db: &PgPool, draft: Uuid, answers: &Answers) -> Result<()> {
    sqlx::query!(
        "update application_drafts
         set answers = $2, updated_at = now(),
             active_seconds = active_seconds + least(extract(epoch from now() - updated_at), $3::float8)::int
         where id = $1",
        draft,
        serde_json::to_value(answers)?,
        PAUSE,
    )
    .execute(db)
    .await?;
    Ok(())
}
