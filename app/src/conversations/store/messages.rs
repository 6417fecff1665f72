//! The messages of a conversation: appending one, reading them.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::conversations::{Author, Conversation, Message, NewMessage, Status};
use crate::{AppError, Result, webhooks};

/// How much of a message the inbox shows, in characters.
const LAST_WORDS_CHARS: usize = 160;

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
pub(in crate::conversations) async fn unanswered(
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
pub(in crate::conversations) async fn last_written_before(
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
