//! The summary in a generator's words, for whoever takes over.
//!
//! The manager's own notes are there at once. Where the assistant speaks in a generator's words, a job asks it for a summary
//! after the hand-over; what passes the check is shown above the notes, and what does not is not shown.

use async_trait::async_trait;
use candor_engine::dialogue::saying::Spoken;
use candor_engine::dialogue::{Language, State, Summary};
use chrono::Utc;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::jobs::{self, Failure, Handler, Job};

use super::message::Author;
use super::store;

const JOB: &str = "summary";

/// The payload of the job.
#[derive(Deserialize)]
struct Payload {
    conversation: Uuid,
}

/// Queues the summary of a conversation that is handed over, in the caller's transaction.
///
/// # Errors
/// When the database fails.
pub(super) async fn summarise_later(connection: &mut PgConnection, conversation: Uuid) -> Result<()> {
    jobs::enqueue(connection, JOB, &serde_json::json!({ "conversation": conversation }), Utc::now()).await?;
    Ok(())
}

/// Asks the generator for the summary of a conversation.
pub struct Summarise;

#[async_trait]
impl Handler for Summarise {
    fn kind(&self) -> &'static str {
        JOB
    }

    async fn run(&self, app: &App, job: &Job) -> Result<(), Failure> {
        let payload = Payload::deserialize(&job.payload).map_err(|error| Failure::give_up(error.to_string()))?;
        let Some(saying) = &app.saying else { return Ok(()) };
        let conversation = store::find(&app.db, payload.conversation).await?;
        let state = State::deserialize(&conversation.dialogue).unwrap_or_default();
        if state.language != Language::English {
            return Ok(());
        }
        let notes = Summary::deserialize(&conversation.summary).unwrap_or_default();
        let messages = store::customer_messages_after(&app.db, conversation.id, 0).await?;
        let said: Vec<Spoken<'_>> = messages
            .iter()
            .map(|message| Spoken { by_customer: message.author == Author::Customer, text: &message.text })
            .collect();
        // What the check refuses is counted; the notes stay.
        let Ok(summary) = saying.summary(&said, &notes).await else { return Ok(()) };
        let worded = serde_json::to_value(&summary).map_err(|error| Failure::give_up(error.to_string()))?;
        let mut connection = app.db.acquire().await?;
        if store::record_worded_summary(&mut connection, &conversation, &worded).await? {
            store::announce(&app.live, conversation.id, "summary", serde_json::json!({})).await;
        }
        Ok(())
    }
}
