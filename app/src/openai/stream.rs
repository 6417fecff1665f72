//! Server-sent events of a generation. When the caller goes away the generation is dropped, which ends its work.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use candor_engine::generation::{Event, Generation};
use futures::stream::{self, StreamExt};
use serde_json::Value;

use super::errors::in_stream;

/// The generation as a stream; `say` makes each event's pieces.
pub(super) fn answer(
    generation: Generation,
    first: Option<Value>,
    mut say: impl FnMut(Event) -> Vec<Value> + 'static,
) -> HttpResponse {
    let events = stream::unfold(Some(generation), |generation| async move {
        let mut generation = generation?;
        let event = generation.next().await?;
        let over = matches!(event, Event::Done { .. } | Event::Failed(_));
        Some((event, (!over).then_some(generation)))
    });
    let pieces = events.map(move |event| match event {
        Event::Failed(error) => line(&in_stream(error)),
        Event::Done { .. } => {
            let mut lines: String = say(event).iter().map(line).collect();
            lines.push_str("data: [DONE]\n\n");
            lines
        }
        event => say(event).iter().map(line).collect(),
    });
    let all = stream::iter(first.map(|first| line(&first))).chain(pieces);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        // Compression would hold tokens back.
        .insert_header((CONTENT_ENCODING, HeaderValue::from_static("identity")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(all.map(|line| Ok::<Bytes, actix_web::Error>(Bytes::from(line))))
}

fn line(value: &Value) -> String {
    format!("data: {value}\n\n")
}
