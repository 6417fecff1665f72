//! Conversations and messages: send as the customer, read what was answered, hand off to a person.
//!
//! A message is stored in the transaction that keeps the idempotent answer; the reply is a job of the same
//! transaction, so it comes even when the program stops in between. It is read by `GET …/messages` or told by the
//! webhook `message.created`.

use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::conversations::{self, Author, Channel, Conversation, Message, NewMessage, Status, customer_text, store};
use crate::{AppError, Result};

use super::Client;
use super::idempotency::{self, Attempt};
use super::paging::{Page, Paging};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/conversations", web::get().to(list))
        .route("/conversations", web::post().to(start))
        .route("/conversations/{id}", web::get().to(read))
        .route("/conversations/{id}/messages", web::get().to(messages))
        .route("/conversations/{id}/messages", web::post().to(send))
        .route("/conversations/{id}/hand-off", web::post().to(hand_off));
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConversationAnswer {
    id: Uuid,
    /// The number people at the bank use.
    number: i64,
    contact_id: Option<Uuid>,
    /// `web`, `api`, `phone` or `email`.
    #[schema(value_type = String)]
    channel: Channel,
    /// `assistant`, `waiting`, `agent` or `resolved`.
    #[schema(value_type = String)]
    status: Status,
    intent: Option<String>,
    sentiment: Option<String>,
    created_at: DateTime<Utc>,
    last_message_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<Conversation> for ConversationAnswer {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id,
            number: conversation.number,
            contact_id: conversation.customer_id,
            channel: conversation.channel,
            status: conversation.status,
            intent: conversation.intent,
            sentiment: conversation.sentiment,
            created_at: conversation.created_at,
            last_message_at: conversation.last_message_at,
            resolved_at: conversation.resolved_at,
        }
    }
}

/// A message, as the customer may see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageAnswer {
    id: Uuid,
    conversation_id: Uuid,
    /// 1, 2, 3 … within the conversation.
    seq: i64,
    /// `customer`, `assistant`, `agent` or `event`.
    #[schema(value_type = String)]
    author: Author,
    /// The agent's name.
    author_name: Option<String>,
    text: String,
    /// What the engine understood of a customer's message.
    #[schema(value_type = Option<Object>)]
    understanding: Option<Value>,
    /// The typed action behind an assistant's message.
    #[schema(value_type = Option<Object>)]
    action: Option<Value>,
    model_version: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Message> for MessageAnswer {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            conversation_id: message.conversation_id,
            seq: message.seq,
            author: message.author,
            author_name: message.person_name,
            text: message.text,
            understanding: message.understanding,
            action: message.action,
            model_version: message.model_version,
            created_at: message.created_at,
        }
    }
}

/// A conversation to start.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConversation {
    /// The customer's first words.
    text: String,
    /// Where the words came in: `api` (default), `email` or `phone`.
    #[schema(value_type = Option<String>)]
    channel: Option<Channel>,
}

/// A message of the customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCustomerMessage {
    /// At most 2,000 characters.
    text: String,
}

/// A conversation with its first message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Started {
    conversation: ConversationAnswer,
    message: MessageAnswer,
}

/// Which conversations are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only this contact's.
    contact_id: Option<Uuid>,
    /// Only with this status: `assistant`, `waiting`, `agent` or `resolved`.
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// Which messages are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Only messages after this number.
    after: Option<i64>,
}

/// Messages in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Messages {
    data: Vec<MessageAnswer>,
}

/// Conversations, newest first.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "Conversations", params(Filter, Paging),
    responses((status = 200, body = Page<ConversationAnswer>)))]
pub(super) async fn list(
    app: web::Data<App>,
    client: Client,
    filter: Query<Filter>,
    paging: Query<Paging>,
) -> Result<Json<Page<ConversationAnswer>>> {
    client.require("conversations:read")?;
    let found = store::newest(&app.db, filter.contact_id, filter.status, paging.before()?, paging.fetch()?).await?;
    let found = found.into_iter().map(ConversationAnswer::from).collect();
    Ok(Json(Page::new(found, &paging, |one: &ConversationAnswer| one.id)?))
}

/// One conversation.
#[utoipa::path(get, path = "/api/v1/conversations/{id}", tag = "Conversations",
    params(("id" = Uuid, Path, description = "The conversation")),
    responses((status = 200, body = ConversationAnswer), (status = 404, body = crate::error::Problem)))]
pub(super) async fn read(app: web::Data<App>, client: Client, id: Path<Uuid>) -> Result<Json<ConversationAnswer>> {
    client.require("conversations:read")?;
    Ok(Json(store::find(&app.db, *id).await?.into()))
}

/// Start a conversation with the customer's first words. The reply follows as a message of its own.
#[utoipa::path(post, path = "/api/v1/conversations", tag = "Conversations", request_body = NewConversation,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = Started), (status = 422, body = crate::error::Problem)))]
pub(super) async fn start(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    body: Json<NewConversation>,
) -> Result<HttpResponse> {
    client.require("conversations:write")?;
    let text = customer_text(&body.text)?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let id = store::start(&mut *work.tx, body.channel.unwrap_or(Channel::Api), None, None).await?;
    let message = conversations::receive_for_later(&mut work.tx, id, NewMessage::customer(text)).await?;
    let conversation = store::find(&mut *work.tx, id).await?;
    let started = Started { conversation: conversation.into(), message: message.clone().into() };
    let answer =
        work.answer(&app.commits, StatusCode::CREATED, Some(&format!("/api/v1/conversations/{id}")), &started).await?;
    store::announce_message(&app.live, &message).await;
    Ok(answer)
}

/// Messages of a conversation that the customer may see, in order.
#[utoipa::path(get, path = "/api/v1/conversations/{id}/messages", tag = "Conversations",
    params(("id" = Uuid, Path, description = "The conversation"), After),
    responses((status = 200, body = Messages), (status = 404, body = crate::error::Problem)))]
pub(super) async fn messages(
    app: web::Data<App>,
    client: Client,
    id: Path<Uuid>,
    after: Query<After>,
) -> Result<Json<Messages>> {
    client.require("conversations:read")?;
    store::find(&app.db, *id).await?;
    let found = store::customer_messages_after(&app.db, *id, after.after.unwrap_or(0)).await?;
    Ok(Json(Messages { data: found.into_iter().map(MessageAnswer::from).collect() }))
}

/// Send a message as the customer. The reply follows as a message of its own.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/messages", tag = "Conversations", request_body = NewCustomerMessage,
    params(("id" = Uuid, Path, description = "The conversation"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = MessageAnswer), (status = 404, body = crate::error::Problem), (status = 422, body = crate::error::Problem)))]
pub(super) async fn send(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    id: Path<Uuid>,
    body: Json<NewCustomerMessage>,
) -> Result<HttpResponse> {
    client.require("conversations:write")?;
    let text = customer_text(&body.text)?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let message = conversations::receive_for_later(&mut work.tx, *id, NewMessage::customer(text)).await?;
    let answer = work.answer(&app.commits, StatusCode::CREATED, None, &MessageAnswer::from(message.clone())).await?;
    store::announce_message(&app.live, &message).await;
    Ok(answer)
}

/// Ask for a person.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/hand-off", tag = "Conversations",
    params(("id" = Uuid, Path, description = "The conversation"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 200, body = ConversationAnswer), (status = 404, body = crate::error::Problem), (status = 409, body = crate::error::Problem)))]
pub(super) async fn hand_off(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    id: Path<Uuid>,
) -> Result<HttpResponse> {
    client.require("conversations:write")?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &"").await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let conversation = store::lock(&mut work.tx, *id).await?;
    if conversation.status == Status::Agent {
        return Err(AppError::Conflict("A person answers this conversation already.".to_owned()));
    }
    store::set_status(&mut work.tx, *id, Status::Waiting).await?;
    let conversation = store::find(&mut *work.tx, *id).await?;
    let answer = work.answer(&app.commits, StatusCode::OK, None, &ConversationAnswer::from(conversation)).await?;
    store::announce(&app.live, *id, "status", serde_json::json!({ "status": Status::Waiting })).await;
    Ok(answer)
}
