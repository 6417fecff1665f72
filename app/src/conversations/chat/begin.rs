//! The conversation of a browser: the newest one, begun with the first message.

use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::conversations::{Channel, Conversation, NewMessage, store};

use super::visitor::Visitor;

/// The browser's conversation; begins one where there is none.
pub(super) async fn current_or_new(app: &App, visitor: &Visitor) -> Result<Conversation> {
    if let Some(conversation) = store::find_by_visitor(&app.db, visitor.hash()).await? {
        return Ok(conversation);
    }
    begin(app, visitor, None).await
}

/// Begins a conversation with the assistant's greeting, unless another request of the same browser just did.
///
/// `instead_of` is the conversation that the new one follows.
pub(super) async fn begin(app: &App, visitor: &Visitor, instead_of: Option<Uuid>) -> Result<Conversation> {
    let mut transaction = app.db.begin().await?;
    // Two first messages sent at once begin one conversation.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended(encode($1::bytea, 'hex'), 0))", visitor.hash(),)
        .execute(&mut *transaction)
        .await?;
    if let Some(newest) = store::find_by_visitor(&mut *transaction, visitor.hash()).await?
        && Some(newest.id) != instead_of
    {
        return Ok(newest);
    }
    let id = store::start(&mut *transaction, Channel::Web, Some(visitor.hash()), None).await?;
    let greeting = NewMessage::assistant(&app.engine.dialogue().greeting(), None)?;
    store::append(&mut transaction, id, greeting).await?;
    let conversation = store::find(&mut *transaction, id).await?;
    transaction.commit().await?;
    Ok(conversation)
}
