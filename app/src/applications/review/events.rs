//! What happens in the queue, told to the pages that show it.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures::stream;
use tokio::sync::broadcast::error::RecvError;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::live::CREDIT;

/// How often a line is sent when nothing happens, so that a lost connection is noticed.
const BEAT: Duration = Duration::from_secs(15);

/// Server-sent events of the topic `credit`. An event is a hint to read the page again.
pub(super) async fn stream(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let receiver = app.live.subscribe();
    let hello = stream::once(async { Ok::<Bytes, Infallible>(Bytes::from_static(b": connected\n\n")) });
    let events = stream::unfold(receiver, |mut receiver| async move {
        loop {
            let line = match tokio::time::timeout(BEAT, receiver.recv()).await {
                Err(_) => Bytes::from_static(b": still here\n\n"),
                Ok(Ok(event)) if event.topic == CREDIT => {
                    Bytes::from(format!("event: {}\ndata: {}\n\n", event.kind, event.data))
                }
                Ok(Ok(_)) => continue,
                // Too slow: one event stands for all that were missed.
                Ok(Err(RecvError::Lagged(_))) => Bytes::from_static(b"event: arrived\ndata: {}\n\n"),
                Ok(Err(RecvError::Closed)) => return None,
            };
            return Some((Ok(line), receiver));
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CONTENT_ENCODING, "identity"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(futures::StreamExt::chain(hello, events)))
}
