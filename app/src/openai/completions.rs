//! `POST /v1/completions`.

use actix_web::HttpResponse;
use actix_web::web::{self, Json};
use candor_engine::generation::{Event, Generation, Prompt, Request, Text, TokenLogprob};
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::crm::Client;
use crate::{AppError, Result};

use super::answer::{Envelope, finish_reason, sum};
use super::errors::refused;
use super::settings::{Settings, alternatives};
use super::{generator, stream};

/// Prompts in one request at most.
const PROMPTS: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    #[serde(flatten)]
    settings: Settings,
    prompt: Prompts,
    logprobs: Option<u64>,
    #[serde(default)]
    echo: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompts {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

impl Body {
    fn requests(self, client: &Client, adapter: Option<&str>) -> Result<(Settings, Vec<Request>)> {
        if self.echo {
            return Err(AppError::field("echo", "The prompt is not repeated."));
        }
        let prompts: Vec<Prompt> = match self.prompt {
            Prompts::Text(text) => vec![Prompt::Text(text)],
            Prompts::Tokens(tokens) => vec![Prompt::Tokens(tokens)],
            Prompts::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Prompts::TokenLists(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
        };
        if !(1..=PROMPTS).contains(&prompts.len()) {
            return Err(AppError::field("prompt", format!("Send 1 to {PROMPTS} prompts.")));
        }
        let logprobs = self.logprobs.map(|number| alternatives("logprobs", number)).transpose()?;
        let requests = prompts.into_iter().map(|prompt| {
            let mut request = Request::new(prompt);
            self.settings.apply(&mut request)?;
            // The protocol's own default, unlike a chat's.
            request.max_tokens.get_or_insert(16);
            request.logprobs = logprobs;
            request.caller = client.id.to_string();
            request.adapter = adapter.map(str::to_owned);
            Ok(request)
        });
        let requests = requests.collect::<Result<_>>()?;
        Ok((self.settings, requests))
    }
}

pub(super) async fn complete(app: web::Data<App>, client: Client, body: Json<Body>) -> Result<HttpResponse> {
    let body = body.into_inner();
    let (generator, adapter) = generator(&app, &client, &body.settings.model)?;
    let (settings, mut requests) = body.requests(&client, adapter.as_deref())?;
    let envelope = Envelope::new("cmpl", &settings.model);
    if settings.stream {
        let Some(request) = requests.pop().filter(|_| requests.is_empty()) else {
            return Err(AppError::field("prompt", "A stream answers one prompt."));
        };
        let generation = generator.generate(request).await.map_err(refused)?;
        return Ok(streamed(generation, envelope, settings.wants_usage()));
    }
    let all = requests.into_iter().map(|request| async move { generator.generate(request).await?.collect().await });
    let texts = try_join_all(all).await.map_err(refused)?;
    let usage = sum(texts.iter().map(|text| text.usage));
    let choices = texts.iter().enumerate().map(|(index, text)| whole(index, text)).collect();
    Ok(HttpResponse::Ok().json(envelope.wrap("text_completion", choices, Some(usage))))
}

fn whole(index: usize, text: &Text) -> Value {
    json!({ "index": index, "text": text.text, "logprobs": logprobs(&text.logprobs),
            "finish_reason": finish_reason(text.finish) })
}

fn streamed(generation: Generation, envelope: Envelope, wants_usage: bool) -> HttpResponse {
    let piece = |envelope: &Envelope, text: &str, logprobs: Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish });
        envelope.wrap("text_completion", vec![choice], None)
    };
    stream::answer(generation, None, move |event| match event {
        Event::Text { text, logprobs: tokens } => vec![piece(&envelope, &text, logprobs(&tokens), None)],
        Event::Done { finish, usage } => {
            let mut pieces = vec![piece(&envelope, "", Value::Null, Some(finish_reason(finish)))];
            if wants_usage {
                pieces.push(envelope.wrap("text_completion", Vec::new(), Some(usage)));
            }
            pieces
        }
        Event::ToolCall(_) | Event::Failed(_) => Vec::new(),
    })
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let top = |token: &TokenLogprob| {
        token.top.iter().map(|(text, _, logprob)| (text.clone(), json!(logprob))).collect::<Map<_, _>>()
    };
    json!({
        "tokens": tokens.iter().map(|token| &token.token).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
    })
}
