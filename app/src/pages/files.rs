//! The stylesheet, the scripts and the icons, compiled into the binary.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::Embed;

use crate::{AppError, Result};

#[derive(Embed)]
#[folder = "../static"]
struct Files;

/// `/static/…`
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/static/{path:.*}", web::get().to(file));
}

async fn file(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse> {
    let file = Files::get(&path).ok_or(AppError::NotFound("This file"))?;
    let etag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash().get(..8).unwrap_or_default()));
    let seen = request.headers().get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let mut answer = if seen { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((ETAG, etag))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .content_type(file.metadata.mimetype());
    Ok(if seen { answer.finish() } else { answer.body(file.data.into_owned()) })
}
