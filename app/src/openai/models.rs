//! `GET /v1/models`: what can be asked.

use actix_web::HttpResponse;
use actix_web::web;
use serde_json::{Value, json};

use crate::app::App;
use crate::crm::Client;
use crate::{AppError, Result};

use super::SCOPE;

/// The name of the model that embeds.
pub(super) const ENCODER: &str = "candor-encoder";

fn models(app: &App) -> Vec<String> {
    let generator = app.generator.as_deref();
    let generative =
        generator.map(|generator| std::iter::once(generator.name().to_owned()).chain(generator.adapters()));
    generative.into_iter().flatten().chain(std::iter::once(ENCODER.to_owned())).collect()
}

fn model(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "candor" })
}

pub(super) async fn list(app: web::Data<App>, client: Client) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    let data: Vec<Value> = models(&app).iter().map(|name| model(name)).collect();
    Ok(HttpResponse::Ok().json(json!({ "object": "list", "data": data })))
}

pub(super) async fn one(app: web::Data<App>, client: Client, name: web::Path<String>) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    if models(&app).contains(&name) {
        return Ok(HttpResponse::Ok().json(model(&name)));
    }
    Err(AppError::NotFound("This model"))
}
