//! `Idempotency-Key`: a POST that arrives twice is done once and answered the same.
//!
//! The key is inserted in the transaction that does the work, and the whole answer is stored in it too. A second
//! request with the same key waits on that row, then replays the answer. A failed attempt rolls back and leaves no
//! key, so it can be tried again.
//!
//! An answer holds what it was asked for, scored values among it, so it is kept for [`KEPT_DAYS`] days and then forgotten.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::db::{GroupCommit, Together};
use crate::{AppError, Result};

use super::Client;

/// The header's name, as in the IETF draft.
const KEY: &str = "Idempotency-Key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Days for which a repeated request is answered as the first one was.
pub const KEPT_DAYS: i32 = 30;

/// Forgets answers that were kept long enough, and says how many.
///
/// # Errors
/// When the database fails.
pub async fn forget_due(db: &PgPool) -> Result<u64> {
    let forgotten =
        sqlx::query!("delete from idempotency_keys where created_at < now() - make_interval(days => $1)", KEPT_DAYS)
            .execute(db)
            .await?;
    Ok(forgotten.rows_affected())
}

/// What to do with a POST.
pub(super) enum Attempt {
    /// Do the work in this transaction, then [`Work::answer`].
    Fresh(Work),
    /// It was done before: this is the answer.
    Replay(HttpResponse),
}

/// An open transaction whose answer will be kept.
pub(super) struct Work {
    /// Do everything in here.
    pub(super) tx: Together,
    client: Client,
    key: Option<String>,
}

/// Starts the work of a POST whose meaning is `body`.
pub(super) async fn begin(
    commits: &GroupCommit,
    client: &Client,
    request: &HttpRequest,
    body: &impl Serialize,
) -> Result<Attempt> {
    let mut tx = commits.begin().await?;
    let Some(key) = key(request)? else {
        return Ok(Attempt::Fresh(Work { tx, client: client.clone(), key: None }));
    };
    let mut digest = Sha256::new();
    digest.update(request.path().as_bytes());
    digest.update([0]);
    digest.update(serde_json::to_vec(body)?);
    let hash = digest.finalize().to_vec();
    let inserted = sqlx::query!(
        "insert into idempotency_keys (client_id, key, request_hash) values ($1, $2, $3) on conflict do nothing",
        client.id,
        key,
        hash,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if inserted == 1 {
        return Ok(Attempt::Fresh(Work { tx, client: client.clone(), key: Some(key) }));
    }
    let saved = sqlx::query!(
        r#"select request_hash, status as "status!", headers as "headers!", body as "body!"
           from idempotency_keys where client_id = $1 and key = $2"#,
        client.id,
        key,
    )
    .fetch_one(&mut *tx)
    .await?;
    if saved.request_hash != hash {
        return Err(AppError::field(KEY, "This key was used for another request. Use a new key."));
    }
    let status = u16::try_from(saved.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut answer = HttpResponse::build(status.unwrap_or(StatusCode::OK));
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    answer.insert_header((REPLAYED, HeaderValue::from_static("true")));
    if let Some(location) = saved.headers.get("location").and_then(Value::as_str) {
        answer.insert_header((LOCATION, location));
    }
    Ok(Attempt::Replay(answer.body(saved.body)))
}

impl Work {
    /// Keeps the answer and commits everything at once.
    pub(super) async fn answer(
        mut self,
        commits: &GroupCommit,
        status: StatusCode,
        location: Option<&str>,
        body: &impl Serialize,
    ) -> Result<HttpResponse> {
        let body = serde_json::to_vec(body)?;
        if let Some(key) = &self.key {
            let headers = location.map_or_else(|| json!({}), |location| json!({ "location": location }));
            sqlx::query!(
                "update idempotency_keys set status = $3, headers = $4, body = $5 where client_id = $1 and key = $2",
                self.client.id,
                key,
                i16::try_from(status.as_u16()).unwrap_or(200),
                headers,
                body,
            )
            .execute(&mut *self.tx)
            .await?;
        }
        commits.commit(self.tx).await?;
        let mut answer = HttpResponse::build(status);
        answer.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        if let Some(location) = location {
            answer.insert_header((LOCATION, location));
        }
        Ok(answer.body(body))
    }
}

/// The request's key, if it carries one.
fn key(request: &HttpRequest) -> Result<Option<String>> {
    let Some(value) = request.headers().get(KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim().to_owned();
    if key.is_empty() || key.len() > 200 {
        return Err(AppError::field(KEY, "Use 1 to 200 printable characters, for instance a UUID."));
    }
    Ok(Some(key))
}
