//! Letters as they were sent.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::config::Config;
use crate::{AppError, Result, jobs};

use super::super::Application;
use super::super::assessments::StoredAssessment;
use super::super::decisions::Decision;
use super::super::reasons;
use super::mail::JOB;
use super::render::preview;

/// A kept letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Key.
    pub id: Uuid,
    /// The decision it tells.
    pub decision_id: Uuid,
    /// The application.
    pub application_id: Uuid,
    /// The application's number.
    pub number: i64,
    /// Who gets it.
    pub name: String,
    /// Subject.
    pub subject: String,
    /// As HTML.
    pub body_html: String,
    /// As plain text.
    pub body_text: String,
    /// SHA-256 over subject, text and HTML, see [`super::Rendered::sha256`].
    pub sha256: String,
    /// Where it was mailed to.
    pub mailed_to: Option<String>,
    /// When it was mailed.
    pub mailed_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub sent_at: DateTime<Utc>,
}

macro_rules! select_letter {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Letter,
            r#"select l.id, l.decision_id, d.application_id, a.number, a.applicant ->> 'name' as "name!", l.subject,
                      l.body_html, l.body_text, l.sha256, l.mailed_to, l.mailed_at, l.sent_at
               from letters l join decisions d on d.id = l.decision_id join applications a on a.id = d.application_id "#
               + $rest
            $(, $argument)*
        )
    };
}

/// Keeps the letter of a decision as sent, and queues the mail where a mail server is configured.
pub(crate) async fn send(
    config: &Config,
    connection: &mut PgConnection,
    application: &Application,
    stored: &StoredAssessment,
    decision: &Decision,
) -> Result<()> {
    let now = Utc::now();
    let letter =
        preview(connection, config, application, stored, decision.outcome, &decision.reason_codes, now).await?;
    let Some(letter) = letter else {
        return Ok(());
    };
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into letters
            (id, decision_id, subject, body_html, body_text, sha256, sent_at, language, catalogue_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id,
        decision.id,
        letter.subject,
        letter.html,
        letter.text,
        letter.sha256(),
        now,
        application.applicant.language.unwrap_or_default().as_str(),
        reasons::version(),
    )
    .execute(&mut *connection)
    .await?;
    if config.smtp_url.is_some() {
        jobs::enqueue(connection, JOB, &json!({ "letter": id }), now).await?;
    }
    Ok(())
}

/// Notes that a letter was mailed.
pub(super) async fn mailed(db: impl PgExecutor<'_>, letter: Uuid, to: &str) -> Result<()> {
    sqlx::query!("update letters set mailed_to = $2, mailed_at = now() where id = $1", letter, to).execute(db).await?;
    Ok(())
}

/// The letter with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Letter> {
    select_letter!("where l.id = $1", id).fetch_optional(db).await?.ok_or(AppError::NotFound("This letter"))
}

/// The letters about an application, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn of_application(db: impl PgExecutor<'_>, application: Uuid) -> Result<Vec<Letter>> {
    Ok(select_letter!("where d.application_id = $1 order by l.sent_at, l.id", application).fetch_all(db).await?)
}

/// The letters sent last.
///
/// # Errors
/// When the database fails.
pub async fn recent(db: impl PgExecutor<'_>, limit: i64, offset: i64) -> Result<Vec<Letter>> {
    Ok(select_letter!("order by l.sent_at desc, l.id desc limit $1 offset $2", limit, offset).fetch_all(db).await?)
}
