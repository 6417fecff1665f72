//! Writing and reading conversations.
//!
//! Functions that write take a connection: call them inside a transaction, append the audit entry last where one is
//! due, commit, then call [`announce_message`] or [`announce`]. Every writer locks the conversation's row first,
//! so messages have no gaps and nobody overwrites anybody.

use candor_engine::dialogue::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::live::{self, Event, Live};
use crate::{AppError, Result, webhooks};

use super::conversation::{Channel, Conversation, ResolvedBy, Satisfaction, Status};
use super::message::{Author, Message, NewMessage};

/// How much of a message the inbox shows, in characters.
const LAST_WORDS_CHARS: usize = 160;

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

/// `query_as!` over the columns of [`Message`], with the rest of the statement given. The `!` are needed: Postgres may
/// plan the join from the other side, and then every column looks as if it could be null.
macro_rules! select_message {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Message,
            r#"select m.id as "id!", m.conversation_id as "conversation_id!", m.seq as "seq!",
                      m.author as "author!: Author", m.person_id, p.name as "person_name?", m.text as "text!",
                      m.understanding, m.action, m.model_version, m.choice, m.client_key,
                      m.for_customer as "for_customer!", m.created_at as "created_at!"
               from messages m left join people p on p.id = m.person_id "# + $rest
            $(, $argument)*
        )
    };
}

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

/// What [`append`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// The message as stored.
    pub message: Message,
    /// False when a message with this client key was there before: nothing was written.
    pub fresh: bool,
}

/// Appends a message: the next number, the conversation's last words and waiting time.
///
/// # Errors
/// [`AppError::NotFound`] when the conversation does not exist.
pub async fn append(connection: &mut PgConnection, conversation: Uuid, new: NewMessage) -> Result<Appended> {
    let row = sqlx::query!(
        r#"select last_seq, status as "status: Status" from conversations where id = $1 for update"#,
        conversation,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(AppError::NotFound("This conversation"))?;
    if let Some(key) = &new.client_key
        && let Some(message) = select_message!("where m.conversation_id = $1 and m.client_key = $2", conversation, key)
            .fetch_optional(&mut *connection)
            .await?
    {
        return Ok(Appended { message, fresh: false });
    }
    let seq = row.last_seq + 1;
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into messages
            (id, conversation_id, seq, author, person_id, text, action, model_version, choice, client_key,
             for_customer)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        id,
        conversation,
        seq,
        new.author.as_str(),
        new.person_id,
        new.text,
        new.action,
        new.model_version,
        new.choice,
        new.client_key,
        new.for_customer,
    )
    .execute(&mut *connection)
    .await?;
    count(&mut *connection, conversation, row.status, seq, &new).await?;
    let message = select_message!("where m.id = $1", id).fetch_one(&mut *connection).await?;
    if message.for_customer {
        let told = json!({
            "id": message.id,
            "conversation_id": message.conversation_id,
            "seq": message.seq,
            "author": message.author,
            "text": message.text,
            "created_at": message.created_at,
        });
        webhooks::record(connection, "message.created", &told).await?;
    }
    Ok(Appended { message, fresh: true })
}

/// Whether a message with that sender's key is there already.
///
/// # Errors
/// When the database fails.
pub async fn has_client_key(db: impl PgExecutor<'_>, conversation: Uuid, key: &str) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from messages where conversation_id = $1 and client_key = $2) as "exists!""#,
        conversation,
        key,
    )
    .fetch_one(db)
    .await?)
}

/// Brings the conversation's own row up to date with a message that was just inserted.
async fn count(
    connection: &mut PgConnection,
    conversation: Uuid,
    status: Status,
    seq: i64,
    new: &NewMessage,
) -> Result<()> {
    let spoken = matches!(new.author, Author::Customer | Author::Assistant | Author::Agent);
    let words: String = new.text.chars().take(LAST_WORDS_CHARS).collect();
    let person_awaited = new.author == Author::Customer && matches!(status, Status::Waiting | Status::Agent);
    let answered = new.author == Author::Agent || (new.author == Author::Customer && status != Status::Assistant);
    sqlx::query!(
        "update conversations set
            last_seq = $2,
            last_words = case when $3 then $4 else last_words end,
            last_author = case when $3 then $5 else last_author end,
            last_message_at = case when $3 then now() else last_message_at end,
            waiting_since = case when $6 then coalesce(waiting_since, now())
                                 when $7 then null
                                 else waiting_since end,
            answered_seq = case when $8 then $2 else answered_seq end
         where id = $1",
        conversation,
        seq,
        spoken,
        words,
        new.author.as_str(),
        person_awaited,
        new.author == Author::Agent,
        answered,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All messages after number `seq`, in order; notes and inner events too.
///
/// # Errors
/// When the database fails.
pub async fn messages_after(db: impl PgExecutor<'_>, conversation: Uuid, seq: i64) -> Result<Vec<Message>> {
    Ok(select_message!("where m.conversation_id = $1 and m.seq > $2 order by m.seq", conversation, seq)
        .fetch_all(db)
        .await?)
}

/// The messages after number `seq` that the customer may see, in order.
///
/// # Errors
/// When the database fails.
pub async fn customer_messages_after(db: impl PgExecutor<'_>, conversation: Uuid, seq: i64) -> Result<Vec<Message>> {
    Ok(select_message!(
        "where m.conversation_id = $1 and m.seq > $2 and m.for_customer order by m.seq",
        conversation,
        seq
    )
    .fetch_all(db)
    .await?)
}

/// Customer's messages that the assistant still has to answer, in order, at most `limit` of the newest.
pub(super) async fn unanswered(
    db: impl PgExecutor<'_>,
    conversation: &Conversation,
    limit: i64,
) -> Result<Vec<Message>> {
    let mut messages = select_message!(
        "where m.conversation_id = $1 and m.seq > $2 and m.author = 'customer' order by m.seq desc limit $3",
        conversation.id,
        conversation.answered_seq,
        limit
    )
    .fetch_all(db)
    .await?;
    messages.reverse();
    Ok(messages)
}

/// When somebody last wrote before message number `seq`.
pub(super) async fn last_written_before(
    db: impl PgExecutor<'_>,
    conversation: Uuid,
    seq: i64,
) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        "select max(created_at) from messages where conversation_id = $1 and seq < $2",
        conversation,
        seq,
    )
    .fetch_one(db)
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
        Some(id) => Ok(Some(find(connection, id).await?)),
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

/// Tells everybody who looks that a message is there. Call it after the commit.
pub async fn announce_message(live: &Live, message: &Message) {
    let data = json!({
        "conversation": message.conversation_id,
        "seq": message.seq,
        "author": message.author,
        "for_customer": message.for_customer,
    });
    announce(live, message.conversation_id, "message", data).await;
}

/// Tells whoever looks at the conversation that somebody is writing, or stopped. `author` is `assistant` or `agent`
/// towards the customer, `customer` towards the desk.
pub async fn announce_typing(live: &Live, conversation: Uuid, author: Author, name: &str, typing: bool) {
    let data = json!({ "conversation": conversation, "author": author, "name": name, "typing": typing });
    live.publish(Event { topic: live::conversation_topic(conversation), kind: "typing".to_owned(), data }).await;
}

/// Tells everybody who looks that something about a conversation changed: `status`, `assigned`, …
/// Goes to the conversation's topic and to the inbox. Call it after the commit.
pub async fn announce(live: &Live, conversation: Uuid, kind: &str, data: Value) {
    let mut data = data;
    if let Value::Object(fields) = &mut data {
        fields.entry("conversation").or_insert_with(|| json!(conversation));
    }
    for topic in [live::conversation_topic(conversation), live::INBOX.to_owned()] {
        live.publish(Event { topic, kind: kind.to_owned(), data: data.clone() }).await;
    }
}
