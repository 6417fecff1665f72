//! What is live on the desk: hints that the list or the open conversation changed.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::live::{self, Event};

/// A comment this often keeps proxies from taking the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which conversation is open.
#[derive(Debug, Deserialize)]
pub(super) struct Open {
    conversation: Option<Uuid>,
}

/// `GET /desk/events`: `inbox` and `thread` events, each with what kind of thing happened.
pub(super) async fn stream(app: web::Data<App>, person: Person, open: web::Query<Open>) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let topic = open.conversation.map(live::conversation_topic);
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Says that nothing remains to be compressed, so that each event leaves at once.
        .insert_header((CONTENT_ENCODING, "identity"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(hints(app.live.subscribe(), topic)))
}

fn hints(events: Receiver<Event>, topic: Option<String>) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    let first = Bytes::from_static(b"retry: 2000\nevent: ready\ndata: {}\n\n");
    futures::stream::unfold((events, topic, Some(first)), |(mut events, topic, first)| async move {
        if let Some(first) = first {
            return Some((Ok(first), (events, topic, None)));
        }
        loop {
            let hint = match tokio::time::timeout(HEARTBEAT, events.recv()).await {
                Err(_) => Bytes::from_static(b": still here\n\n"),
                Ok(Err(RecvError::Closed)) => return None,
                // Too slow: what was missed is found by reading everything again.
                Ok(Err(RecvError::Lagged(_))) => Bytes::from_static(
                    b"event: inbox\ndata: {\"kind\":\"missed\"}\n\nevent: thread\ndata: {\"kind\":\"missed\"}\n\n",
                ),
                Ok(Ok(event)) => match hint(event, topic.as_deref()) {
                    Some(hint) => hint,
                    None => continue,
                },
            };
            return Some((Ok(hint), (events, topic, None)));
        }
    })
}

/// The event as this page needs it, if it does.
fn hint(event: Event, topic: Option<&str>) -> Option<Bytes> {
    let name = if event.topic == live::INBOX {
        "inbox"
    } else if topic == Some(event.topic.as_str()) {
        "thread"
    } else {
        return None;
    };
    let field = |key: &str| event.data.get(key).cloned().unwrap_or(Value::Null);
    let data = json!({
        "kind": event.kind,
        "conversation": field("conversation"),
        "author": field("author"),
        "name": field("name"),
        "typing": field("typing"),
    });
    Some(Bytes::from(format!("event: {name}\ndata: {data}\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, kind: &str) -> Event {
        Event {
            topic: topic.to_owned(),
            kind: kind.to_owned(),
            data: json!({ "author": "customer", "text": "secret" }),
        }
    }

    #[test]
    fn only_the_inbox_and_the_open_conversation_are_told() {
        assert!(hint(event("conversation:b", "message"), Some("conversation:a")).is_none());
        assert!(hint(event("credit", "message"), Some("conversation:a")).is_none());
        assert!(hint(event("inbox", "message"), None).is_some());
        let told = hint(event("conversation:a", "message"), Some("conversation:a")).unwrap();
        let told = std::str::from_utf8(&told).unwrap();
        assert!(told.starts_with("event: thread\ndata: {"), "{told}");
        assert!(!told.contains("secret"), "a hint carries no words: {told}");
    }
}
