//! Writing and reading conversations.
//!
//! Functions that write take a connection: call them inside a transaction, append the audit entry last where one is
//! due, commit, then call [`announce_message`] or [`announce`]. Every writer locks the conversation's row first,
//! so messages have no gaps and nobody overwrites anybody.
//!
//! This file holds a conversation's own row; its messages, who handles it, and what browsers are told are below it.

use candor_engine::dialogue::State;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{AppError, Result};

use super::conversation::{Channel, Conversation, ResolvedBy, Satisfaction, Status};
use super::message::Message;

/// `query_as!` over the columns of [`Conversation`], with the rest of the statement given.
macro_rules! select_conversation {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Conversation,
            r#"select id, number, customer_id, channel as "channel: Channel", status as "status: Status", assignee_id,
                      assignee_hold_until, intent, intent_confidence, sentiment, sentiment_score, dialogue, summary,
                      last_seq, answered_seq, last_words, last_author, waiting_since, created_at, last_message_at,
                      resolved_at, resolved_by as "resolved_by: ResolvedBy", csat, csat_comment
               from conversations "# + $rest
            $(, $argument)*
        )
    };
}

mod announce;
mod handling;
mod messages;

pub use announce::{announce, announce_message, announce_typing};
pub use handling::{assign, hold_next, prolong_hold, reopen, resolve, set_status};
pub use messages::{Appended, append, customer_messages_after, has_client_key, messages_after};
pub(super) use messages::{last_written_before, unanswered};

/// Begins a conversation. `visitor` is the SHA-256 of the browser's token, `customer` the one who is already known.
///
/// # Errors
/// When the database fails.
pub async fn start(
    db: impl PgExecutor<'_>,
    channel: Channel,
    visitor: Option<&[u8]>,
    customer: Option<Uuid>,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into conversations (id, visitor_hash, customer_id, channel) values ($1, $2, $3, $4)",
        id,
        visitor,
        customer,
        channel.as_str(),
    )
    .execute(db)
    .await?;
    Ok(id)
}

/// The conversation with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Conversation> {
    select_conversation!("where id = $1", id).fetch_optional(db).await?.ok_or(AppError::NotFound("This conversation"))
}

/// The conversation with the number people use.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find_by_number(db: impl PgExecutor<'_>, number: i64) -> Result<Conversation> {
    select_conversation!("where number = $1", number)
        .fetch_optional(db)
        .await?
        .ok_or(AppError::NotFound("This conversation"))
}

/// A customer's conversations other than `except`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_customer(
    db: impl PgExecutor<'_>,
    customer: Uuid,
    except: Uuid,
    limit: i64,
) -> Result<Vec<Conversation>> {
    Ok(select_conversation!(
        "where customer_id = $1 and id <> $2 order by created_at desc limit $3",
        customer,
        except,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// The same as [`find`], locked until the transaction ends.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn lock(connection: &mut PgConnection, id: Uuid) -> Result<Conversation> {
    select_conversation!("where id = $1 for update", id)
        .fetch_optional(connection)
        .await?
        .ok_or(AppError::NotFound("This conversation"))
}

/// The newest conversation of a browser, by the SHA-256 of its token.
///
/// # Errors
/// When the database fails.
pub async fn find_by_visitor(db: impl PgExecutor<'_>, visitor: &[u8]) -> Result<Option<Conversation>> {
    Ok(select_conversation!("where visitor_hash = $1 order by created_at desc limit 1", visitor)
        .fetch_optional(db)
        .await?)
}

/// Conversations, the newest first: of one customer, with one status, older than the one with the key `before`.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    db: impl PgExecutor<'_>,
    customer: Option<Uuid>,
    status: Option<Status>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Conversation>> {
    Ok(select_conversation!(
        "where ($1::uuid is null or customer_id = $1) and ($2::text is null or status = $2)
           and ($3::uuid is null or id < $3) order by id desc limit $4",
        customer,
        status.map(Status::as_str),
        before,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// Keeps what the engine understood of a customer's message, and shows its mood on the conversation.
///
/// `intent` is what the customer came for and its probability, where this message opened a matter; `None` where it
/// only answered a question.
///
/// # Errors
/// When the database fails.
pub async fn record_understanding(
    connection: &mut PgConnection,
    message: &Message,
    understanding: &candor_engine::Understanding,
    intent: Option<(&str, f32)>,
) -> Result<()> {
    sqlx::query!(
        "update messages set understanding = $2, model_version = $3 where id = $1",
        message.id,
        serde_json::to_value(understanding)?,
        understanding.model_version,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update conversations set sentiment = $2, sentiment_score = $3,
            intent = coalesce($4, intent),
            intent_confidence = case when $4::text is null then intent_confidence else $5 end
         where id = $1",
        message.conversation_id,
        understanding.sentiment.as_str(),
        understanding.sentiment_score,
        intent.map(|(name, _)| name),
        intent.map(|(_, probability)| probability),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the dialogue's state and summary, and up to which message the assistant has answered.
///
/// # Errors
/// When the database fails.
pub async fn record_dialogue(
    connection: &mut PgConnection,
    conversation: Uuid,
    state: &State,
    answered_seq: i64,
) -> Result<()> {
    let customer = state.identified.as_ref().and_then(|id| Uuid::try_parse(&id.0).ok());
    sqlx::query!(
        "update conversations set dialogue = $2, summary = $3, answered_seq = greatest(answered_seq, $4),
            customer_id = coalesce($5, customer_id)
         where id = $1",
        conversation,
        serde_json::to_value(state)?,
        serde_json::to_value(state.summary())?,
        answered_seq,
        customer,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps a summary in a generator's words beside the notes it was made from, unless these have changed since they were read;
/// answers whether it was kept. The next turn of the assistant writes the notes anew and drops it.
///
/// # Errors
/// When the database fails.
pub async fn record_worded_summary(connection: &mut PgConnection, read: &Conversation, worded: &Value) -> Result<bool> {
    let kept = sqlx::query!(
        "update conversations set summary = summary || jsonb_build_object('worded', $3::jsonb)
         where id = $1 and summary = $2",
        read.id,
        read.summary,
        worded,
    )
    .execute(connection)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Keeps what the customer said about an ended conversation.
///
/// # Errors
/// [`AppError::Invalid`] for a score outside 1 to 5, [`AppError::Conflict`] while the conversation goes on.
pub async fn record_satisfaction(
    connection: &mut PgConnection,
    conversation: Uuid,
    satisfaction: &Satisfaction,
) -> Result<()> {
    if !(1..=5).contains(&satisfaction.score) {
        return Err(AppError::field("score", "Choose a number from 1 to 5."));
    }
    let comment: String = satisfaction.comment.chars().take(1000).collect();
    let done = sqlx::query!(
        "update conversations set csat = $2, csat_comment = nullif($3, '') where id = $1 and status = 'resolved'",
        conversation,
        satisfaction.score,
        comment.trim(),
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(AppError::Conflict("The conversation is still open.".to_owned()));
    }
    Ok(())
}
