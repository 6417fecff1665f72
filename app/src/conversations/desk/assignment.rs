//! Who answers a conversation: taking, releasing, handing back, assigning, ending.
//!
//! Each function locks the conversation first, so of two agents who act at once the second sees what the first did
//! and is told so. Each leaves a line in the thread and an entry in the audit log.

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::{self, Colleague, Person};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::conversations::{Conversation, Message, NewMessage, ResolvedBy, Status, store};
use crate::{AppError, Result};

use super::thread::holder;

/// Minutes for which "take next" holds a conversation, and typing prolongs it.
pub(super) const HOLD_MINUTES: i32 = 3;

/// What can be done with a conversation as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The person answers from now on.
    Take,
    /// Back to those that wait.
    Release,
    /// The assistant answers again.
    HandBack,
    /// Somebody answers from now on.
    Assign(Uuid),
    /// Ended.
    Resolve,
    /// Open again, with the person.
    Reopen,
    /// A resolution is taken back at once.
    UndoResolve,
}

impl Step {
    /// The name in the audit log.
    fn action(self) -> &'static str {
        match self {
            Self::Take => "conversation.taken",
            Self::Release => "conversation.released",
            Self::HandBack => "conversation.handed_back",
            Self::Assign(_) => "conversation.assigned",
            Self::Resolve => "conversation.resolved",
            Self::Reopen | Self::UndoResolve => "conversation.reopened",
        }
    }
}

/// Takes one step, and tells everybody who looks.
///
/// # Errors
/// [`AppError::Conflict`] when a colleague was faster or the conversation's state does not allow the step.
pub(super) async fn take_step(app: &App, person: &Person, number: i64, step: Step) -> Result<()> {
    let found = store::find_by_number(&app.db, number).await?;
    let team = team(app).await?;
    let mut transaction = app.db.begin().await?;
    let conversation = store::lock(&mut transaction, found.id).await?;
    let (line, details) = perform(&mut transaction, person, &team, &conversation, step).await?;
    record(&mut transaction, person, conversation.id, number, step, details).await?;
    transaction.commit().await?;
    tell(app, &conversation, Some(&line)).await;
    Ok(())
}

/// Everybody who works at the desk, by name.
///
/// # Errors
/// When the database fails.
pub(super) async fn team(app: &App) -> Result<Vec<Colleague>> {
    let mut team = accounts::everybody(&app.db).await?;
    team.retain(|colleague| colleague.active && colleague.role.works_desk());
    Ok(team)
}

/// Makes the conversation the person's own before an answer, where it is not yet. Answers with the line in the thread.
///
/// The caller appends the audit entry with [`record_taken`] last in its transaction.
///
/// # Errors
/// As [`take_step`].
pub(super) async fn ensure_own(
    connection: &mut PgConnection,
    person: &Person,
    team: &[Colleague],
    conversation: &Conversation,
) -> Result<Option<Message>> {
    if conversation.status == Status::Agent && conversation.assignee_id == Some(person.id) {
        return Ok(None);
    }
    Ok(Some(perform(connection, person, team, conversation, Step::Take).await?.0))
}

/// The audit entry of a conversation that was taken by answering it.
///
/// # Errors
/// When the database fails.
pub(super) async fn record_taken(
    connection: &mut PgConnection,
    person: &Person,
    conversation: &Conversation,
) -> Result<()> {
    let details = json!({ "from": conversation.status, "by": "answering" });
    record(connection, person, conversation.id, conversation.number, Step::Take, details).await
}

/// Tells everybody who looks that the conversation changed hands or state.
pub(super) async fn tell(app: &App, conversation: &Conversation, line: Option<&Message>) {
    if let Some(line) = line {
        store::announce_message(&app.live, line).await;
    }
    store::announce(&app.live, conversation.id, "status", json!({})).await;
}

async fn record(
    connection: &mut PgConnection,
    person: &Person,
    conversation: Uuid,
    number: i64,
    step: Step,
    mut details: Value,
) -> Result<()> {
    if let Value::Object(fields) = &mut details {
        fields.insert("number".to_owned(), json!(number));
    }
    let entry = Entry {
        actor: &person.actor(),
        action: step.action(),
        subject_kind: "conversation",
        subject_id: conversation.to_string(),
        details,
    };
    audit::append(connection, entry).await?;
    Ok(())
}

/// Changes the conversation; answers with the line in the thread and the facts for the audit log.
async fn perform(
    connection: &mut PgConnection,
    person: &Person,
    team: &[Colleague],
    conversation: &Conversation,
    step: Step,
) -> Result<(Message, Value)> {
    allow(person, team, conversation, step)?;
    let id = conversation.id;
    let name = &person.name;
    let details = json!({ "from": conversation.status, "assignee": conversation.assignee_id });
    let (line, details) = match step {
        Step::Take => {
            store::assign(connection, id, person.id).await?;
            (NewMessage::public_event(format!("{name} answers you now.")), details)
        }
        Step::Release => {
            store::set_status(connection, id, Status::Waiting).await?;
            (NewMessage::event(format!("{name} released the conversation.")), details)
        }
        Step::HandBack => {
            store::set_status(connection, id, Status::Assistant).await?;
            (
                NewMessage::public_event("The AI assistant answers you again. You can ask for a person at any time."),
                details,
            )
        }
        Step::Assign(to) => {
            let colleague = team
                .iter()
                .find(|colleague| colleague.id == to)
                .ok_or_else(|| AppError::field("to", "Choose somebody who works at the desk."))?;
            store::assign(connection, id, to).await?;
            let line = if to == person.id {
                NewMessage::event(format!("{name} took the conversation."))
            } else {
                NewMessage::event(format!("{name} assigned the conversation to {}.", colleague.name))
            };
            (line, json!({ "from": conversation.status, "assignee": conversation.assignee_id, "to": to }))
        }
        Step::Resolve => {
            // Whoever ends it has it: opened again, it comes back to them.
            if conversation.assignee_id != Some(person.id) || conversation.status != Status::Agent {
                store::assign(connection, id, person.id).await?;
            }
            store::resolve(connection, id, ResolvedBy::Agent).await?;
            (NewMessage::public_event(format!("{name} closed this conversation. Write again at any time.")), details)
        }
        Step::Reopen | Step::UndoResolve => {
            store::reopen(connection, id).await?;
            store::assign(connection, id, person.id).await?;
            (NewMessage::public_event(format!("{name} opened this conversation again.")), details)
        }
    };
    Ok((store::append(connection, id, line).await?.message, details))
}

/// Refuses what a colleague made impossible, in words that name them.
fn allow(person: &Person, team: &[Colleague], conversation: &Conversation, step: Step) -> Result<()> {
    let resolved = conversation.status == Status::Resolved;
    if matches!(step, Step::Reopen | Step::UndoResolve) {
        return if resolved { Ok(()) } else { refuse("The conversation is open already.") };
    }
    if resolved {
        return refuse("The conversation is resolved. Reopen it first.");
    }
    let holder = holder(conversation, Utc::now());
    match step {
        // To give it to somebody, or to take it from somebody who left, is anybody's right, and in the log.
        Step::Assign(_) => Ok(()),
        Step::Take if holder == Some(person.id) && conversation.status == Status::Agent => {
            refuse("You have this conversation already.")
        }
        Step::Take | Step::Resolve => match holder.filter(|holder| *holder != person.id) {
            Some(colleague) => {
                let known = team.iter().find(|known| known.id == colleague);
                let name = known.map_or("A colleague", |known| known.name.as_str());
                refuse(format!("{name} has this conversation. Assign it to yourself if you should answer instead."))
            }
            None => Ok(()),
        },
        Step::Release | Step::HandBack => {
            if holder == Some(person.id) {
                return Ok(());
            }
            if step == Step::HandBack && holder.is_none() && conversation.status == Status::Waiting {
                return Ok(());
            }
            refuse("You do not have this conversation.")
        }
        Step::Reopen | Step::UndoResolve => Ok(()),
    }
}

fn refuse(words: impl Into<String>) -> Result<()> {
    Err(AppError::Conflict(words.into()))
}
