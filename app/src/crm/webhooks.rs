//! Registering webhooks and asking for an event again.

use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::audit::{self, Entry};
use crate::webhooks::{EVENTS, queue, secret};
use crate::{AppError, Result};

use super::Client;
use super::idempotency::{self, Attempt};

const SCOPE: &str = "webhooks:manage";

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/webhooks", web::get().to(list))
        .route("/webhooks", web::post().to(create))
        .route("/webhooks/{id}", web::delete().to(deactivate))
        .route("/webhooks/{id}/replay/{event}", web::post().to(replay));
}

/// A webhook to register.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// Where events are posted; `https://` outside your own network.
    #[schema(example = "https://crm.example/candor")]
    url: String,
    /// Kinds of events, for instance `application.decided`.
    #[schema(example = json!(["message.created", "application.decided"]))]
    events: Vec<String>,
}

/// A registered webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Webhook {
    id: Uuid,
    url: String,
    events: Vec<String>,
    /// Verifies signatures; present only in the answer to the registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    created_at: DateTime<Utc>,
}

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Webhooks {
    data: Vec<Webhook>,
}

/// The client's webhooks.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "Webhooks", responses((status = 200, body = Webhooks)))]
pub(super) async fn list(app: web::Data<App>, client: Client) -> Result<Json<Webhooks>> {
    client.require(SCOPE)?;
    let data = sqlx::query_as!(
        Webhook,
        r#"select id, url, events, null::text as secret, created_at
           from webhooks where client_id = $1 and active order by id"#,
        client.id,
    )
    .fetch_all(&app.db)
    .await?;
    Ok(Json(Webhooks { data }))
}

/// Register a webhook. The answer holds the secret, this once.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "Webhooks", request_body = NewWebhook,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = Webhook), (status = 422, body = crate::error::Problem)))]
pub(super) async fn create(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    body: Json<NewWebhook>,
) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    let right = url::Url::parse(&body.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !right {
        return Err(AppError::field("url", "Must be an http:// or https:// address."));
    }
    if body.events.is_empty() {
        return Err(AppError::field("events", "Choose at least one kind of event."));
    }
    if let Some(unknown) = body.events.iter().find(|event| !EVENTS.iter().any(|(known, _)| known == event)) {
        return Err(AppError::field("events", format!("{unknown} is not a kind of event.")));
    }
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let mut random = [0_u8; 32];
    rand::rng().fill_bytes(&mut random);
    let secret = secret(&random);
    let id = Uuid::now_v7();
    let created_at = sqlx::query_scalar!(
        "insert into webhooks (id, client_id, url, secret, events) values ($1, $2, $3, $4, $5) returning created_at",
        id,
        client.id,
        body.url,
        secret,
        &body.events,
    )
    .fetch_one(&mut *work.tx)
    .await?;
    audit::append(
        &mut work.tx,
        Entry {
            actor: &client.actor(),
            action: "webhook.registered",
            subject_kind: "webhook",
            subject_id: id.to_string(),
            details: json!({ "url": body.url, "events": body.events }),
        },
    )
    .await?;
    let Json(NewWebhook { url, events }) = body;
    let webhook = Webhook { id, url, events, secret: Some(secret), created_at };
    work.answer(&app.commits, StatusCode::CREATED, Some(&format!("/api/v1/webhooks/{id}")), &webhook).await
}

/// Stop a webhook. Deliveries that wait are dropped.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The webhook")), responses((status = 204), (status = 404, body = crate::error::Problem)))]
pub(super) async fn deactivate(app: web::Data<App>, client: Client, id: Path<Uuid>) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    let mut tx = app.db.begin().await?;
    let stopped =
        sqlx::query!("update webhooks set active = false where id = $1 and client_id = $2 and active", *id, client.id)
            .execute(&mut *tx)
            .await?
            .rows_affected();
    if stopped == 0 {
        return Err(AppError::NotFound("This webhook"));
    }
    audit::append(
        &mut tx,
        Entry {
            actor: &client.actor(),
            action: "webhook.stopped",
            subject_kind: "webhook",
            subject_id: id.to_string(),
            details: json!({}),
        },
    )
    .await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A delivery that was queued again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queued {
    webhook: Uuid,
    event: Uuid,
}

/// Deliver an event once more. The event's id is the `webhook-id` header of its first delivery.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/replay/{event}", tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The webhook"), ("event" = Uuid, Path, description = "The event"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 202, body = Queued), (status = 404, body = crate::error::Problem)))]
pub(super) async fn replay(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    path: Path<(Uuid, Uuid)>,
) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    let (webhook, event) = path.into_inner();
    let mut work = match idempotency::begin(&app.commits, &client, &request, &"").await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    sqlx::query!(
        r#"select e.id from webhook_events e join webhooks w on w.id = $1 and w.client_id = $3 and w.active
           where e.id = $2 and e.kind = any(w.events)"#,
        webhook,
        event,
        client.id,
    )
    .fetch_optional(&mut *work.tx)
    .await?
    .ok_or(AppError::NotFound("This event"))?;
    queue(&mut work.tx, webhook, event).await?;
    work.answer(&app.commits, StatusCode::ACCEPTED, None, &Queued { webhook, event }).await
}
