//! Understanding of texts for a CRM that has its own channels.

use actix_web::http::StatusCode;
use actix_web::web::{self, Json};
use actix_web::{HttpRequest, HttpResponse};
use candor_engine::understanding::Understanding;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::{AppError, Result};

use super::Client;
use super::idempotency::{self, Attempt};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/understanding", web::post().to(understand));
}

/// Texts to understand.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    /// 1 to 64 texts of at most 2,000 characters.
    texts: Vec<String>,
}

/// What each text says, in the order sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Understood {
    #[schema(value_type = Vec<Object>)]
    data: Vec<Understanding>,
}

/// Intent, scope, sentiment and entities of texts.
#[utoipa::path(post, path = "/api/v1/understanding", tag = "Understanding", request_body = Texts,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 200, body = Understood), (status = 422, body = crate::error::Problem),
              (status = 503, body = crate::error::Problem)))]
pub(super) async fn understand(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    body: Json<Texts>,
) -> Result<HttpResponse> {
    client.require("understanding:read")?;
    if !(1..=64).contains(&body.texts.len()) {
        return Err(AppError::field("texts", "Send 1 to 64 texts."));
    }
    if let Some(index) = body.texts.iter().position(|text| text.trim().is_empty() || text.chars().count() > 2000) {
        return Err(AppError::field(format!("texts[{index}]"), "Must have 1 to 2,000 characters."));
    }
    let work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let data = try_join_all(body.texts.iter().map(|text| app.engine.understand(text)))
        .await
        .map_err(|error| AppError::Unavailable(error.to_string()))?;
    work.answer(&app.commits, StatusCode::OK, None, &Understood { data }).await
}
