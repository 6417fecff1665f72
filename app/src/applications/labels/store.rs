//! Labels as they are kept: added, never changed. The newest one that decides is the one that counts.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::{AppError, Result};

use super::super::application;
use super::{Label, LabelKind, Source};

/// Letters of a note.
const MOST_LETTERS: usize = 2000;

/// Keeps a label with its audit entry in the caller's transaction. Confirmed frauds are counted by later applications
/// that share something with this one, from the moment at which the bank knew.
///
/// # Errors
/// [`AppError::Invalid`] for a time to come or a note too long, [`AppError::Conflict`] while the application is open.
pub async fn record(
    connection: &mut PgConnection,
    application: Uuid,
    kind: LabelKind,
    source: &Source,
    known_at: DateTime<Utc>,
    note: &str,
) -> Result<Uuid> {
    let note = note.trim();
    if note.chars().count() > MOST_LETTERS {
        return Err(AppError::field("note", "Write at most 2,000 characters."));
    }
    if known_at > Utc::now() {
        return Err(AppError::field("known_at", "Write a time that has passed: when did the bank know it?"));
    }
    let application = application::lock(&mut *connection, application).await?;
    if application.status.is_open() {
        return Err(AppError::Conflict("Decide the application first.".to_owned()));
    }
    if known_at < application.received_at {
        return Err(AppError::field("known_at", "Write a time after the application was received."));
    }
    let id = Uuid::now_v7();
    let (person, client, actor) = match source {
        Source::Person { id, actor } => (Some(*id), None, actor),
        Source::Client { id, actor } => (None, Some(*id), actor),
    };
    sqlx::query!(
        "insert into labels (id, application_id, kind, note, known_at, person_id, client_id)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id,
        application.id,
        kind.as_str(),
        note,
        known_at,
        person,
        client,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update applications set fraud_confirmed_by = f.person_id,
                fraud_confirmed_at = case when f.kind = 'confirmed_fraud' then f.known_at end
         from (select kind, known_at, person_id from labels
               where application_id = $1 and kind in ('confirmed_fraud', 'false_alarm', 'repaid')
               order by known_at desc, id desc limit 1) f
         where applications.id = $1",
        application.id,
    )
    .execute(&mut *connection)
    .await?;
    let entry = Entry {
        actor,
        action: "application.labelled",
        subject_kind: "application",
        subject_id: application.id.to_string(),
        details: json!({ "label": id, "number": application.number, "kind": kind, "known_at": known_at }),
    };
    audit::append(connection, entry).await?;
    Ok(id)
}

/// What is known of an application, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_application(db: impl PgExecutor<'_>, application: Uuid) -> Result<Vec<Label>> {
    let labels = sqlx::query_as!(
        Label,
        r#"select l.id, l.application_id, l.kind as "kind: LabelKind", l.note, l.known_at,
                  coalesce(p.name, c.name, '') as "said_by!"
           from labels l left join people p on p.id = l.person_id left join api_clients c on c.id = l.client_id
           where l.application_id = $1 order by l.known_at desc, l.id desc"#,
        application,
    )
    .fetch_all(db)
    .await?;
    Ok(labels)
}

/// Whether an application was a fraud, as far as the newest deciding label says.
///
/// # Errors
/// When the database fails.
pub async fn known(db: impl PgExecutor<'_>, application: Uuid) -> Result<Option<bool>> {
    let labels = of_application(db, application).await?;
    Ok(labels.iter().find_map(|label| label.kind.is_fraud()))
}
