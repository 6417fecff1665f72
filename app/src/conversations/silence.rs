//! Reminders: a customer who falls silent while a question waits is asked once more, and later told that nothing is lost.
//!
//! The dialogue decides what is said ([`candor_engine::dialogue::Manager::silence`]); this job only notices the silence.
//! It looks for all conversations at once instead of keeping a timer for each message.

use async_trait::async_trait;
use candor_engine::dialogue::{Error as DialogueError, State};
use chrono::{TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::bank::{self, PostgresBank, SharedTransaction};
use crate::jobs::{self, Failure, Handler, Job};
use crate::knowledge::PostgresKnowledge;

use super::conversation::{Channel, Status};
use super::message::{Message, NewMessage};
use super::store;

/// The kind of job.
const JOB: &str = "conversations.remind";
/// How often it looks.
const EVERY: TimeDelta = TimeDelta::seconds(20);
/// Whoever was silent for longer is not reminded any more: the program may have been stopped meanwhile.
const GONE: TimeDelta = TimeDelta::hours(1);
/// Conversations reminded by one run.
const AT_ONCE: i64 = 100;

/// Sees to it that the job runs: once for all replicas.
///
/// # Errors
/// When the database fails.
pub async fn schedule(db: &PgPool) -> Result<()> {
    jobs::enqueue_once(db, JOB).await
}

/// Reminds whoever has been silent long enough, and looks again later.
pub struct Remind;

#[async_trait]
impl Handler for Remind {
    fn kind(&self) -> &'static str {
        JOB
    }

    fn attempts(&self) -> u32 {
        u32::MAX
    }

    async fn run(&self, app: &App, _: &Job) -> Result<(), Failure> {
        if let Some(after) = app.config.reminder() {
            remind_silent(app, after).await?;
        }
        let mut connection = app.db.acquire().await?;
        jobs::enqueue(&mut connection, JOB, &json!({}), Utc::now() + EVERY).await?;
        Ok(())
    }
}

/// Reminds every customer on the web who owes an answer since `after`, at most twice in a row, and says how many.
///
/// # Errors
/// When the database fails; who was reminded so far stays reminded.
pub async fn remind_silent(app: &App, after: TimeDelta) -> Result<usize> {
    let now = Utc::now();
    // What was asked and how often somebody was reminded are parts of the dialogue's state.
    let silent = sqlx::query_scalar!(
        "select id from conversations
         where status = 'assistant' and channel = 'web' and last_message_at < $1 and last_message_at > $2
           and dialogue #>> '{asked,asked}' <> 'else' and coalesce((dialogue ->> 'silences')::int, 0) < 2
         order by last_message_at limit $3",
        now - after,
        now - GONE,
        AT_ONCE,
    )
    .fetch_all(&app.db)
    .await?;
    let mut reminded = 0;
    for conversation in silent {
        match remind(app, conversation, after).await {
            Ok(messages) => {
                reminded += usize::from(!messages.is_empty());
                for message in messages {
                    store::announce_message(&app.live, &message).await;
                }
            }
            // One conversation's trouble, a flow that is gone for instance, keeps nobody else from being reminded.
            Err(error) => tracing::warn!(%conversation, %error, "a customer could not be reminded"),
        }
    }
    Ok(reminded)
}

async fn remind(app: &App, id: Uuid, after: TimeDelta) -> Result<Vec<Message>> {
    let mut transaction = app.db.begin().await?;
    let conversation = store::lock(&mut transaction, id).await?;
    // Meanwhile somebody may have written or taken over.
    let silent = conversation.last_message_at < Utc::now() - after;
    if conversation.status != Status::Assistant || conversation.channel != Channel::Web || !silent {
        return Ok(Vec::new());
    }
    let state = State::deserialize(&conversation.dialogue).unwrap_or_default();
    let today = bank::today();
    let shared: SharedTransaction = Mutex::new(transaction);
    let bank = PostgresBank::new(&shared, id, today);
    let knowledge = PostgresKnowledge::new(&app.knowledge, &shared);
    let turn = match app.engine.dialogue().silence(state, conversation.last_seq, today, &bank, &knowledge).await {
        Ok(Some(turn)) => turn,
        // The flows were changed under a running conversation: the next message begins anew.
        Ok(None) | Err(DialogueError::State(_)) => return Ok(Vec::new()),
        Err(error) => return Err(crate::AppError::Internal(error.to_string())),
    };
    let mut written = Vec::new();
    {
        let mut connection = shared.lock().await;
        for action in &turn.actions {
            written.push(store::append(&mut connection, id, NewMessage::assistant(action, None)?).await?.message);
        }
        store::record_dialogue(&mut connection, id, &turn.state, conversation.last_seq).await?;
    }
    shared.into_inner().commit().await?;
    Ok(written)
}
