//! Who answers a conversation: the assistant, whoever is free, a person, nobody any more.

use candor_engine::dialogue::State;
use serde::Deserialize;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::conversations::{Channel, Conversation, ResolvedBy, Status};
use crate::{AppError, Result, webhooks};

/// Passes the conversation to the assistant or to whoever is free. To give it to a person use [`assign`], to end it
/// [`resolve`].
///
/// # Errors
/// [`AppError::Conflict`] for a status that is reached another way.
pub async fn set_status(connection: &mut PgConnection, conversation: Uuid, status: Status) -> Result<()> {
    match status {
        Status::Waiting => {
            sqlx::query!(
                "update conversations set status = 'waiting', assignee_id = null, assignee_hold_until = null,
                    waiting_since = coalesce(waiting_since, now()), answered_seq = last_seq,
                    resolved_at = null, resolved_by = null
                 where id = $1",
                conversation,
            )
            .execute(&mut *connection)
            .await?;
            webhooks::record(connection, "conversation.handed_off", &json!({ "conversation_id": conversation }))
                .await?;
        }
        // What was written meanwhile was written to a person: the assistant begins with the next message.
        Status::Assistant => {
            hand_back(&mut *connection, conversation).await?;
            sqlx::query!(
                "update conversations set status = 'assistant', assignee_id = null, assignee_hold_until = null,
                    waiting_since = null, answered_seq = last_seq, resolved_at = null, resolved_by = null
                 where id = $1",
                conversation,
            )
            .execute(connection)
            .await?;
        }
        Status::Agent | Status::Resolved => {
            return Err(AppError::Conflict(format!("A conversation is not simply set to \"{}\".", status.label())));
        }
    }
    Ok(())
}

/// Tells the dialogue that the assistant answers again.
async fn hand_back(connection: &mut PgConnection, conversation: Uuid) -> Result<()> {
    let stored = sqlx::query_scalar!("select dialogue from conversations where id = $1 for update", conversation)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(AppError::NotFound("This conversation"))?;
    // A state of an older version that can not be read begins anew with the next message.
    let Ok(mut state) = State::deserialize(&stored) else { return Ok(()) };
    state.hand_back();
    sqlx::query!("update conversations set dialogue = $2 where id = $1", conversation, serde_json::to_value(&state)?,)
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives the conversation to a person, who answers from now on.
///
/// # Errors
/// When the database fails.
pub async fn assign(connection: &mut PgConnection, conversation: Uuid, person: Uuid) -> Result<()> {
    sqlx::query!(
        "update conversations set status = 'agent', assignee_id = $2, assignee_hold_until = null,
            resolved_at = null, resolved_by = null
         where id = $1",
        conversation,
        person,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Holds for a person whichever conversation has waited longest for one, and answers with its number.
///
/// Whoever already holds one gets that one again. Two who ask at once get different ones: a conversation that somebody
/// else is just taking is skipped, not waited for. A hold that ran out is none.
///
/// # Errors
/// When the database fails.
pub async fn hold_next(connection: &mut PgConnection, person: Uuid, minutes: i32) -> Result<Option<Conversation>> {
    let held = select_conversation!(
        "where status = 'waiting' and assignee_id = $1 and assignee_hold_until > now()
         order by waiting_since limit 1",
        person
    )
    .fetch_optional(&mut *connection)
    .await?;
    if held.is_some() {
        return Ok(held);
    }
    let next = sqlx::query_scalar!(
        "update conversations set assignee_id = $1, assignee_hold_until = now() + make_interval(mins => $2)
         where id = (select id from conversations
                     where status = 'waiting' and (assignee_id is null or assignee_hold_until <= now())
                     order by waiting_since, id limit 1
                     for update skip locked)
         returning id",
        person,
        minutes,
    )
    .fetch_optional(&mut *connection)
    .await?;
    match next {
        Some(id) => Ok(Some(super::find(connection, id).await?)),
        None => Ok(None),
    }
}

/// Lets a hold last `minutes` from now, if the person still has it. Answers whether so.
///
/// # Errors
/// When the database fails.
pub async fn prolong_hold(db: impl PgExecutor<'_>, conversation: Uuid, person: Uuid, minutes: i32) -> Result<bool> {
    let done = sqlx::query!(
        "update conversations set assignee_hold_until = now() + make_interval(mins => $3)
         where id = $1 and assignee_id = $2 and status = 'waiting' and assignee_hold_until > now()",
        conversation,
        person,
        minutes,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends the conversation. Ending it again changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn resolve(connection: &mut PgConnection, conversation: Uuid, by: ResolvedBy) -> Result<()> {
    let ended = sqlx::query!(
        "update conversations set status = 'resolved', resolved_at = now(), resolved_by = $2, waiting_since = null,
            assignee_hold_until = null, answered_seq = last_seq
         where id = $1 and status <> 'resolved'",
        conversation,
        by.as_str(),
    )
    .execute(&mut *connection)
    .await?;
    if ended.rows_affected() > 0 {
        let told = json!({ "conversation_id": conversation, "resolved_by": by.as_str() });
        webhooks::record(connection, "conversation.resolved", &told).await?;
    }
    Ok(())
}

/// Opens an ended conversation again: with the person who had it, else with the assistant. Does nothing to an open one.
///
/// # Errors
/// When the database fails.
pub async fn reopen(connection: &mut PgConnection, conversation: Uuid) -> Result<()> {
    let opened = sqlx::query!(
        "update conversations set
            status = case when assignee_id is null then 'assistant' else 'agent' end,
            waiting_since = case when assignee_id is null then null else now() end,
            resolved_at = null, resolved_by = null
         where id = $1 and status = 'resolved'",
        conversation,
    )
    .execute(&mut *connection)
    .await?;
    if opened.rows_affected() > 0 {
        hand_back(connection, conversation).await?;
    }
    Ok(())
}
