//! What agents write: replies to the customer, notes to colleagues.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::Person;
use crate::app::App;
use crate::conversations::{NewMessage, Status, store};
use crate::{AppError, Result};

use super::assignment;

/// The longest reply or note, in characters.
pub(super) const LONGEST: usize = 4000;

/// A reply or a note, as the composer sends it.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) note: bool,
    pub(super) text: String,
    /// The page's own key: what is sent twice is kept once.
    pub(super) key: Option<Uuid>,
    pub(super) origin: Option<Origin>,
}

/// The suggested or canned answer that a reply began as.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// `article`, `flow` or `canned`.
    pub(super) kind: String,
    /// The article's slug, the flow's name or the shortcut.
    pub(super) source: String,
    /// The words as they were suggested.
    pub(super) text: String,
}

impl Origin {
    /// The origin, if the form named one.
    pub(super) fn new(kind: String, source: String, text: String) -> Option<Self> {
        let known = matches!(kind.as_str(), "article" | "flow" | "canned");
        let fits = source.len() <= 200 && text.chars().count() <= 8000;
        (known && !source.is_empty() && fits).then_some(Self { kind, source, text })
    }
}

/// Sends a reply or keeps a note. A reply to a conversation that nobody has takes it.
///
/// # Errors
/// [`AppError::Invalid`] on the field `text`; [`AppError::Conflict`] when a colleague has the conversation or it is
/// resolved.
pub(super) async fn send(app: &App, person: &Person, number: i64, draft: Draft) -> Result<()> {
    let text = clean(&draft.text)?;
    let found = store::find_by_number(&app.db, number).await?;
    let team = assignment::team(app).await?;
    let mut transaction = app.db.begin().await?;
    let conversation = store::lock(&mut transaction, found.id).await?;
    let key = draft.key.map(|key| format!("desk:{key}"));
    if let Some(key) = &key
        && store::has_client_key(&mut *transaction, found.id, key).await?
    {
        return Ok(());
    }
    let mut taken = None;
    let new = if draft.note {
        NewMessage::note(person.id, text)
    } else {
        if conversation.status == Status::Resolved {
            return Err(AppError::Conflict("The conversation is resolved. Reopen it to reply.".to_owned()));
        }
        taken = assignment::ensure_own(&mut transaction, person, &team, &conversation).await?;
        NewMessage::agent(person.id, text)
    };
    let appended = store::append(&mut transaction, found.id, new.with_client_key(key)).await?;
    if !draft.note
        && let Some(origin) = &draft.origin
    {
        record_use(&mut transaction, appended.message.id, origin, &appended.message.text).await?;
    }
    if taken.is_some() {
        assignment::record_taken(&mut transaction, person, &conversation).await?;
    }
    transaction.commit().await?;
    if let Some(line) = &taken {
        assignment::tell(app, &conversation, Some(line)).await;
    }
    store::announce_message(&app.live, &appended.message).await;
    Ok(())
}

/// The words without space at the ends and control characters.
fn clean(text: &str) -> Result<String> {
    let text: String =
        text.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let text = text.trim();
    match text.chars().count() {
        0 => Err(AppError::field("text", "Write something first.")),
        length if length > LONGEST => Err(AppError::field(
            "text",
            format!("A message can have {LONGEST} characters. This one has {length}: please shorten it."),
        )),
        _ => Ok(text.to_owned()),
    }
}

/// Records that a reply began as a suggestion, and whether it was changed.
async fn record_use(connection: &mut PgConnection, message: Uuid, origin: &Origin, sent: &str) -> Result<()> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    sqlx::query!(
        "insert into suggestion_uses (message_id, kind, source, suggested, edited) values ($1, $2, $3, $4, $5)",
        message,
        origin.kind,
        origin.source,
        origin.text,
        words(&origin.text) != words(sent),
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cleaned_and_measured() {
        assert_eq!(clean(" a\r\nb\0 ").unwrap(), "a\nb");
        assert!(clean(" \n ").is_err());
        assert!(clean(&"é".repeat(LONGEST)).is_ok());
        assert!(clean(&"é".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn only_known_origins_are_recorded() {
        let origin = |kind: &str, source: &str| Origin::new(kind.to_owned(), source.to_owned(), "x".to_owned());
        assert!(origin("article", "lost-cards").is_some());
        assert!(origin("rumour", "somebody").is_none());
        assert!(origin("flow", "").is_none());
    }
}
