//! Erasing conversations that were kept long enough.
//!
//! What is erased: every word that was said or noted, what was understood of it but intent and mood, what was offered and
//! done in it, the comment on a rating, and who it was with. What stays: when, how many messages, by whom of the bank,
//! intent, mood, outcome: figures without a person. The audit log holds no words, so it stays as it is and verifies.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;
use crate::audit::{self, Actor, Entry};

/// Conversations that one run erases at most, each in a transaction of its own.
pub const AT_ONCE: i64 = 500;

/// Erases conversations in which nothing was said for more than `months` months, and says how many.
///
/// # Errors
/// When the database fails; what was erased so far stays erased.
pub async fn erase_due(db: &PgPool, months: u32) -> Result<usize> {
    let due = sqlx::query!(
        "select id, number from conversations
         where erased_at is null and last_message_at < now() - make_interval(months => $1)
         order by last_message_at limit $2",
        i32::try_from(months).unwrap_or(i32::MAX),
        AT_ONCE,
    )
    .fetch_all(db)
    .await?;
    for conversation in &due {
        erase(db, conversation.id, conversation.number, months).await?;
    }
    Ok(due.len())
}

async fn erase(db: &PgPool, id: Uuid, number: i64, months: u32) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query!(
        "update conversations
         set erased_at = now(), customer_id = null, visitor_hash = null, dialogue = '{}', summary = '{}',
             last_words = 'Erased', csat_comment = null
         where id = $1",
        id,
    )
    .execute(&mut *tx)
    .await?;
    // Of an action its kind stays, and why a person took over: the figures count them.
    sqlx::query!(
        r#"update messages
           set text = 'Erased', client_key = null, choice = null,
               understanding = understanding || '{"text": "Erased", "entities": []}',
               action = case when action is not null then jsonb_strip_nulls(jsonb_build_object(
                   'type', action -> 'type',
                   'reason', case when jsonb_typeof(action -> 'reason') = 'object'
                                  then jsonb_build_object('type', action -> 'reason' -> 'type')
                                  else action -> 'reason' end)) end
           where conversation_id = $1"#,
        id,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update suggestion_uses set suggested = ''
         where message_id in (select id from messages where conversation_id = $1)",
        id,
    )
    .execute(&mut *tx)
    .await?;
    // They keep an operation from being performed twice within its conversation; the records hold what was done.
    sqlx::query!("delete from bank_operations where conversation_id = $1", id).execute(&mut *tx).await?;
    let entry = Entry {
        actor: &Actor::System,
        action: "conversation.erased",
        subject_kind: "conversation",
        subject_id: id.to_string(),
        details: json!({ "number": number, "kept_months": months }),
    };
    audit::append(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(())
}
