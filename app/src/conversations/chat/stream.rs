//! What is new: as a stream of server-sent events, or asked for every few seconds.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::app::App;
use crate::conversations::{Author, store};
use crate::live::{Event, conversation_topic};
use crate::{AppError, Result};

use super::view::{MessageJson, Standing};
use super::visitor::Visitor;

/// A line is sent at least this often, so that nobody in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that may wait for a slow browser.
const BACKLOG: usize = 32;

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: i64,
}

/// The customer's messages after `seq`, with buttons under those that nobody answered.
pub(super) async fn shown_after(app: &App, conversation: Uuid, seq: i64) -> Result<Vec<MessageJson>> {
    let messages = store::customer_messages_after(&app.db, conversation, seq).await?;
    let answered = messages.iter().rev().find(|message| message.author == Author::Customer).map_or(0, |last| last.seq);
    messages.iter().map(|message| MessageJson::new(message, message.seq > answered)).collect()
}

/// `GET /chat/messages?after=SEQ`
pub(super) async fn messages(
    app: web::Data<App>,
    request: HttpRequest,
    query: web::Query<After>,
) -> Result<HttpResponse> {
    let conversation = conversation(&app, &request).await?;
    let messages = shown_after(&app, conversation, query.after).await?;
    let now = store::find(&app.db, conversation).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "messages": messages, "standing": Standing::of(&app.db, &now).await? })))
}

async fn conversation(app: &App, request: &HttpRequest) -> Result<Uuid> {
    let visitor = Visitor::known(request).ok_or(AppError::NotFound("Your conversation"))?;
    let found = store::find_by_visitor(&app.db, visitor.hash()).await?;
    Ok(found.ok_or(AppError::NotFound("Your conversation"))?.id)
}

/// `GET /chat/events`: goes on after the message that the browser saw last.
pub(super) async fn events(
    app: web::Data<App>,
    request: HttpRequest,
    query: web::Query<After>,
) -> Result<HttpResponse> {
    let conversation = conversation(&app, &request).await?;
    let seen = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .unwrap_or(query.after);
    // Listens before it reads, so that nothing falls between.
    let receiver = app.live.subscribe();
    let (sender, lines) = mpsc::channel(BACKLOG);
    actix_web::rt::spawn(async move {
        let mut stream = Stream { app, conversation, seen, standing: None, sender };
        if let Err(error) = stream.run(receiver).await {
            tracing::warn!(%error, "a customer's stream ended early");
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CONTENT_ENCODING, HeaderValue::from_static("identity")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(ReceiverStream::new(lines).map(Ok::<Bytes, actix_web::Error>)))
}

/// One browser that listens.
struct Stream {
    app: web::Data<App>,
    conversation: Uuid,
    seen: i64,
    standing: Option<Standing>,
    sender: mpsc::Sender<Bytes>,
}

/// The browser went away, or the program stops.
struct Gone;

impl Stream {
    async fn run(&mut self, mut receiver: broadcast::Receiver<Event>) -> Result<()> {
        let topic = conversation_topic(self.conversation);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        if self.send(Bytes::from_static(b"retry: 2000\n\n")).await.is_err() || self.catch_up().await?.is_err() {
            return Ok(());
        }
        loop {
            let sent = tokio::select! {
                () = self.sender.closed() => Err(Gone),
                _ = heartbeat.tick() => self.send(Bytes::from_static(b": still here\n\n")).await,
                event = receiver.recv() => match event {
                    Ok(event) if event.topic != topic => Ok(()),
                    Ok(event) if event.kind == "typing" => self.typing(&event.data).await,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(broadcast::error::RecvError::Closed) => Err(Gone),
                },
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }

    /// Sends every message that the browser has not seen, and where the conversation stands if that changed.
    async fn catch_up(&mut self) -> Result<Result<(), Gone>> {
        for message in store::customer_messages_after(&self.app.db, self.conversation, self.seen).await? {
            self.seen = message.seq;
            let data = serde_json::to_string(&MessageJson::new(&message, true)?)?;
            let line = format!("id: {}\nevent: message\ndata: {data}\n\n", message.seq);
            if self.send(Bytes::from(line)).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        let now = store::find(&self.app.db, self.conversation).await?;
        let standing = Standing::of(&self.app.db, &now).await?;
        if self.standing.as_ref() == Some(&standing) {
            return Ok(Ok(()));
        }
        let line = format!("event: standing\ndata: {}\n\n", serde_json::to_string(&standing)?);
        self.standing = Some(standing);
        Ok(self.send(Bytes::from(line)).await)
    }

    /// Passes on that the assistant or a person is writing; not that the customer is.
    async fn typing(&self, data: &Value) -> Result<(), Gone> {
        if data.get("author").and_then(Value::as_str) == Some("customer") {
            return Ok(());
        }
        let shown = json!({ "author": data.get("author"), "name": data.get("name"), "typing": data.get("typing") });
        self.send(Bytes::from(format!("event: typing\ndata: {shown}\n\n"))).await
    }

    async fn send(&self, line: Bytes) -> Result<(), Gone> {
        self.sender.send(line).await.map_err(|_| Gone)
    }
}
