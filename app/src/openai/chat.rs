//! `POST /v1/chat/completions`.

use actix_web::HttpResponse;
use actix_web::web::{self, Json};
use candor_engine::generation::{
    Chat, Event, Generation, Message, Prompt, Request, Role, TokenLogprob, Tool, ToolCall, ToolChoice,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::crm::Client;
use crate::{AppError, Result};

use super::answer::{Envelope, finish_reason, tool_call};
use super::errors::refused;
use super::settings::{Settings, alternatives};
use super::{generator, stream};

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    #[serde(flatten)]
    settings: Settings,
    messages: Vec<WireMessage>,
    #[serde(default)]
    tools: Vec<WireTool>,
    tool_choice: Option<WireChoice>,
    #[serde(default)]
    logprobs: Option<bool>,
    top_logprobs: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    role: WireRole,
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
    tool_call_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireRole {
    #[serde(alias = "developer")]
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    id: String,
    function: WireFunction,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

#[derive(Debug, Deserialize)]
struct WireTool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Tool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WireChoice {
    Word(String),
    Named { function: NamedTool },
}

#[derive(Debug, Deserialize)]
struct NamedTool {
    name: String,
}

impl Body {
    fn request(self, client: &Client, adapter: Option<String>) -> Result<(Settings, Request)> {
        if self.messages.is_empty() {
            return Err(AppError::field("messages", "There must be at least one message."));
        }
        let messages = self.messages.into_iter().enumerate().map(|(index, message)| message.read(index));
        let tools = self.tools.into_iter().map(|tool| match tool.function {
            Some(function) if tool.kind == "function" => Ok(function),
            _ => Err(AppError::field("tools", "Only tools of the type function are known.")),
        });
        let tool_choice = match self.tool_choice {
            None => ToolChoice::Auto,
            Some(WireChoice::Named { function }) => ToolChoice::Named(function.name),
            Some(WireChoice::Word(word)) => match word.as_str() {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                _ => return Err(AppError::field("tool_choice", "Must be auto, none, required or a function.")),
            },
        };
        let chat =
            Chat { messages: messages.collect::<Result<_>>()?, tools: tools.collect::<Result<_>>()?, tool_choice };
        let mut request = Request::new(Prompt::Chat(chat));
        self.settings.apply(&mut request)?;
        if self.logprobs == Some(true) {
            request.logprobs = Some(alternatives("top_logprobs", self.top_logprobs.unwrap_or(0))?);
        }
        request.caller = client.id.to_string();
        request.adapter = adapter;
        Ok((self.settings, request))
    }
}

impl WireMessage {
    fn read(self, index: usize) -> Result<Message> {
        let role = match self.role {
            WireRole::System => Role::System,
            WireRole::User => Role::User,
            WireRole::Assistant => Role::Assistant,
            WireRole::Tool => Role::Tool,
        };
        let content = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts = parts.into_iter().map(|part| part.text.filter(|_| part.kind == "text"));
                texts.collect::<Option<String>>().ok_or_else(|| {
                    AppError::field(format!("messages[{index}].content"), "Only parts of the type text are known.")
                })?
            }
        };
        let calls = self.tool_calls.into_iter().flatten();
        let tool_calls = calls
            .map(|call| ToolCall { id: call.id, name: call.function.name, arguments: call.function.arguments })
            .collect();
        Ok(Message { role, content, tool_calls, tool_call_id: self.tool_call_id })
    }
}

pub(super) async fn complete(app: web::Data<App>, client: Client, body: Json<Body>) -> Result<HttpResponse> {
    let body = body.into_inner();
    let (generator, adapter) = generator(&app, &client, &body.settings.model)?;
    let (settings, request) = body.request(&client, adapter)?;
    let envelope = Envelope::new("chatcmpl", &settings.model);
    let generation = generator.generate(request).await.map_err(refused)?;
    if settings.stream {
        return Ok(streamed(generation, envelope, settings.wants_usage()));
    }
    let text = generation.collect().await.map_err(refused)?;
    let mut message = json!({ "role": "assistant", "content": text.text, "refusal": null });
    if let Some(fields) = message.as_object_mut().filter(|_| !text.tool_calls.is_empty()) {
        fields.insert("tool_calls".to_owned(), text.tool_calls.iter().map(tool_call).collect());
        if text.text.is_empty() {
            fields.insert("content".to_owned(), Value::Null);
        }
    }
    let choice = json!({ "index": 0, "message": message, "logprobs": logprobs(&text.logprobs),
                         "finish_reason": finish_reason(text.finish) });
    Ok(HttpResponse::Ok().json(envelope.wrap("chat.completion", vec![choice], Some(text.usage))))
}

fn streamed(generation: Generation, envelope: Envelope, wants_usage: bool) -> HttpResponse {
    let piece = |envelope: &Envelope, delta: Value, logprobs: Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish });
        envelope.wrap("chat.completion.chunk", vec![choice], None)
    };
    let first = piece(&envelope, json!({ "role": "assistant", "content": "" }), Value::Null, None);
    let mut calls = 0;
    stream::answer(generation, Some(first), move |event| match event {
        Event::Text { text, logprobs: tokens } => {
            vec![piece(&envelope, json!({ "content": text }), logprobs(&tokens), None)]
        }
        Event::ToolCall(call) => {
            let mut written = tool_call(&call);
            if let Some(fields) = written.as_object_mut() {
                fields.insert("index".to_owned(), json!(calls));
            }
            calls += 1;
            vec![piece(&envelope, json!({ "tool_calls": [written] }), Value::Null, None)]
        }
        Event::Done { finish, usage } => {
            let mut pieces = vec![piece(&envelope, json!({}), Value::Null, Some(finish_reason(finish)))];
            if wants_usage {
                pieces.push(envelope.wrap("chat.completion.chunk", Vec::new(), Some(usage)));
            }
            pieces
        }
        Event::Failed(_) => Vec::new(),
    })
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let one = |token: &str, bytes: &[u8], logprob: f32| json!({ "token": token, "bytes": bytes, "logprob": logprob });
    let content = tokens.iter().map(|token| {
        let mut written = one(&token.token, &token.bytes, token.logprob);
        if let Some(fields) = written.as_object_mut() {
            let top = token.top.iter().map(|(token, bytes, logprob)| one(token, bytes, *logprob));
            fields.insert("top_logprobs".to_owned(), top.collect());
        }
        written
    });
    json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
}
