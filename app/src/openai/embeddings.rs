//! `POST /v1/embeddings`: the encoder's sentence embeddings.

use actix_web::HttpResponse;
use actix_web::web::{self, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::crm::Client;
use crate::{AppError, Result};

use super::SCOPE;
use super::models::ENCODER;

/// Texts in one request at most.
const TEXTS: usize = 256;

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

impl Encoding {
    fn write(self, embedding: &[f32]) -> Value {
        match self {
            Self::Float => json!(embedding),
            Self::Base64 => {
                let bytes: Vec<u8> = embedding.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }
        }
    }
}

pub(super) async fn embed(app: web::Data<App>, client: Client, body: Json<Body>) -> Result<HttpResponse> {
    client.require(SCOPE)?;
    let body = body.into_inner();
    if body.model != ENCODER {
        return Err(AppError::NotFound("This model"));
    }
    let texts = match body.input {
        Input::Text(text) => vec![text],
        Input::Texts(texts) => texts,
    };
    if !(1..=TEXTS).contains(&texts.len()) || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(AppError::field("input", format!("Send 1 to {TEXTS} texts that are not empty.")));
    }
    let embeddings = try_join_all(texts.iter().map(|text| app.engine.embed(text)))
        .await
        .map_err(|error| AppError::Unavailable(error.to_string()))?;
    let size = embeddings.first().map_or(0, Vec::len);
    if body.dimensions.is_some_and(|asked| asked != size) {
        return Err(AppError::field("dimensions", format!("This model has {size} dimensions.")));
    }
    let tokens: usize = texts.iter().map(|text| app.engine.count_tokens(text)).sum();
    let data = embeddings.iter().enumerate().map(|(index, embedding)| {
        json!({ "object": "embedding", "index": index, "embedding": body.encoding_format.write(embedding) })
    });
    Ok(HttpResponse::Ok().json(json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": ENCODER,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}
