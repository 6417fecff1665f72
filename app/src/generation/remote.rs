//! A generator on another server that speaks the OpenAI protocol: vLLM, SGLang, llama.cpp.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use candor_engine::generation::{
    Error, Event, Finish, Format, Generation, Generator, Message, Prompt, Request, Sender, TokenLogprob, ToolCall,
    ToolChoice, Usage, channel,
};
use futures::StreamExt;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::config::EngineConfig;

/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(120);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A line of a stream is never longer: one token with its alternatives.
const LONGEST_LINE: usize = 4 << 20;

/// The other server.
pub struct Remote {
    base: Url,
    name: String,
    key: Option<String>,
    http: reqwest::Client,
}

impl Remote {
    /// A client of the server at `base`, for instance `http://gpu.example:8000/v1`. Nothing is sent yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn connect(base: &Url, config: &EngineConfig) -> Result<Self, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("Candor/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Remote(error.to_string()))?;
        let mut base = base.clone();
        // Joining replaces what follows the last slash.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let name = config.model_name.clone().unwrap_or_else(|| "default".to_owned());
        Ok(Self { base, name, key: config.api_key.clone(), http })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response, Error> {
        let url = self.base.join(path).map_err(|error| Error::Remote(error.to_string()))?;
        let mut request = self.http.post(url).json(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.map_err(|error| Error::Remote(error.without_url().to_string()))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refusal(answer).await)
    }
}

/// What an answer that is no success means for whoever asked.
async fn refusal(answer: reqwest::Response) -> Error {
    let status = answer.status();
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return Error::Overloaded { retry_after: Duration::from_secs(wait.unwrap_or(2)) };
    }
    let body: Value = answer.json().await.unwrap_or_default();
    let said = body.pointer("/error/message").or_else(|| body.get("message")).and_then(Value::as_str);
    let message = said.map_or_else(|| status.to_string(), str::to_owned);
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Error::Invalid(message)
        }
        _ => Error::Remote(message),
    }
}

#[async_trait]
impl Generator for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Generation, Error> {
        request.sampling.check()?;
        let chat = matches!(request.prompt, Prompt::Chat(_));
        let body = body(&self.name, request);
        let answer = self.post(if chat { "chat/completions" } else { "completions" }, &body).await?;
        let (events, generation) = channel();
        tokio::spawn(async move {
            let failed = events.clone();
            // Reading ends with the listener: the connection is then closed, which ends the work over there.
            let read = tokio::select! {
                () = failed.closed() => Ok(()),
                read = read(answer, events) => read,
            };
            if let Err(error) = read {
                // Nobody may listen any more.
                let _ = failed.send(Event::Failed(error));
            }
        });
        Ok(generation)
    }
}

/// The request in the protocol's words. Settings that do nothing are left out: not every server knows all of them.
fn body(model: &str, request: Request) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| {
        body.insert(key.to_owned(), value);
    };
    put("model", json!(request.adapter.as_deref().unwrap_or(model)));
    put("stream", json!(true));
    put("stream_options", json!({ "include_usage": true }));
    let sampling = request.sampling;
    put("temperature", json!(sampling.temperature));
    for (key, value, neutral) in [
        ("top_p", sampling.top_p, 1.0),
        ("min_p", sampling.min_p, 0.0),
        ("repetition_penalty", sampling.repetition_penalty, 1.0),
        ("presence_penalty", sampling.presence_penalty, 0.0),
        ("frequency_penalty", sampling.frequency_penalty, 0.0),
    ] {
        if (value - neutral).abs() > f32::EPSILON {
            put(key, json!(value));
        }
    }
    if sampling.top_k > 0 {
        put("top_k", json!(sampling.top_k));
    }
    if !sampling.logit_bias.is_empty() {
        let bias = sampling.logit_bias.iter().map(|(token, bias)| (token.to_string(), json!(bias)));
        put("logit_bias", Value::Object(bias.collect()));
    }
    if let Some(seed) = sampling.seed {
        // The protocol's seeds are signed.
        put("seed", json!(seed & (u64::MAX >> 1)));
    }
    if let Some(most) = request.max_tokens {
        put("max_tokens", json!(most));
    }
    if !request.stop.is_empty() {
        put("stop", json!(request.stop));
    }
    match request.format {
        Format::Text => {}
        Format::JsonObject => put("response_format", json!({ "type": "json_object" })),
        Format::JsonSchema(schema) => put(
            "response_format",
            json!({ "type": "json_schema", "json_schema": { "name": "answer", "strict": true, "schema": schema } }),
        ),
    }
    match request.prompt {
        Prompt::Text(text) => put("prompt", json!(text)),
        Prompt::Tokens(tokens) => put("prompt", json!(tokens)),
        Prompt::Chat(chat) => {
            put("messages", chat.messages.iter().map(message).collect());
            if !chat.tools.is_empty() {
                let tools = chat.tools.iter().map(|tool| json!({ "type": "function", "function": tool }));
                put("tools", tools.collect());
                put(
                    "tool_choice",
                    match chat.tool_choice {
                        ToolChoice::Auto => json!("auto"),
                        ToolChoice::None => json!("none"),
                        ToolChoice::Required => json!("required"),
                        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
                    },
                );
            }
            if let Some(top) = request.logprobs {
                put("logprobs", json!(true));
                put("top_logprobs", json!(top));
            }
            return Value::Object(body);
        }
    }
    if let Some(top) = request.logprobs {
        put("logprobs", json!(top));
    }
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    let mut written = json!({ "role": message.role, "content": message.content });
    if let Some(fields) = written.as_object_mut() {
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(|call| {
                json!({ "id": call.id, "type": "function",
                        "function": { "name": call.name, "arguments": call.arguments } })
            });
            fields.insert("tool_calls".to_owned(), calls.collect());
        }
        if let Some(id) = &message.tool_call_id {
            fields.insert("tool_call_id".to_owned(), json!(id));
        }
    }
    written
}

/// A piece of a stream, of either kind.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<usize>,
}

/// Collects a stream: calls of tools come in pieces, the usage after the end.
struct Reading {
    events: Sender,
    calls: BTreeMap<usize, ToolCall>,
    finish: Option<Finish>,
    usage: Usage,
}

async fn read(answer: reqwest::Response, events: Sender) -> Result<(), Error> {
    let mut reading = Reading { events, calls: BTreeMap::new(), finish: None, usage: Usage::default() };
    let mut bytes = answer.bytes_stream();
    let mut buffer = BytesMut::new();
    while let Some(piece) = bytes.next().await {
        buffer.extend_from_slice(&piece.map_err(|error| Error::Remote(error.without_url().to_string()))?);
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let line = String::from_utf8_lossy(&line);
            let Some(data) = line.trim().strip_prefix("data:") else { continue };
            if data.trim() == "[DONE]" {
                return reading.end();
            }
            reading.take(data)?;
        }
        if buffer.len() > LONGEST_LINE {
            return Err(Error::Remote("a line of its answer is too long".to_owned()));
        }
    }
    reading.end()
}

impl Reading {
    fn take(&mut self, data: &str) -> Result<(), Error> {
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| Error::Remote(format!("its answer is not of the protocol: {error}")))?;
        if let Some(error) = chunk.error {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("it gave no reason");
            return Err(Error::Remote(message.to_owned()));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
                completion_tokens: usage.completion_tokens,
            };
        }
        for choice in chunk.choices {
            let text = choice.delta.content.or(choice.text).unwrap_or_default();
            let logprobs = choice.logprobs.as_ref().map(logprobs).unwrap_or_default();
            if !text.is_empty() || !logprobs.is_empty() {
                // The select above notices when nobody listens.
                let _ = self.events.send(Event::Text { text, logprobs });
            }
            for piece in choice.delta.tool_calls.into_iter().flatten() {
                let call = self.calls.entry(piece.index).or_insert_with(|| ToolCall {
                    id: String::new(),
                    name: String::new(),
                    arguments: String::new(),
                });
                if let Some(id) = piece.id {
                    call.id = id;
                }
                if let Some(function) = piece.function {
                    call.name.push_str(function.name.as_deref().unwrap_or_default());
                    call.arguments.push_str(function.arguments.as_deref().unwrap_or_default());
                }
            }
            match choice.finish_reason.as_deref() {
                None => {}
                Some("length") => self.finish = Some(Finish::Length),
                Some("tool_calls") => self.finish = Some(Finish::ToolCalls),
                Some(_) => self.finish = Some(Finish::Stop),
            }
        }
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        let finish = self.finish.ok_or_else(|| Error::Remote("its answer broke off".to_owned()))?;
        for call in self.calls.into_values() {
            let _ = self.events.send(Event::ToolCall(call));
        }
        let _ = self.events.send(Event::Done { finish, usage: self.usage });
        Ok(())
    }
}

/// Logarithms in the form of chats (`content`) or of completions (`tokens`, `token_logprobs`).
fn logprobs(wire: &Value) -> Vec<TokenLogprob> {
    #[expect(clippy::cast_possible_truncation, reason = "logarithms of probabilities are kept in single precision")]
    let number = |value: Option<&Value>| value.and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY) as f32;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let bytes_of = |entry: &Value, token: &str| {
        let bytes = entry.get("bytes").and_then(Value::as_array);
        let bytes = bytes.map(|all| all.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect());
        bytes.unwrap_or_else(|| token.as_bytes().to_vec())
    };
    let spelt = |entry: &Value| {
        let token = text(entry.get("token"));
        let bytes = bytes_of(entry, &token);
        (token, bytes, number(entry.get("logprob")))
    };
    if let Some(content) = wire.get("content").and_then(Value::as_array) {
        let tokens = content.iter().map(|entry| {
            let (token, bytes, logprob) = spelt(entry);
            let top = entry.get("top_logprobs").and_then(Value::as_array);
            TokenLogprob { token, bytes, logprob, top: top.into_iter().flatten().map(spelt).collect() }
        });
        return tokens.collect();
    }
    let list = |key: &str| wire.get(key).and_then(Value::as_array).into_iter().flatten();
    let tops = list("top_logprobs").map(Some).chain(std::iter::repeat(None));
    list("tokens")
        .zip(list("token_logprobs"))
        .zip(tops)
        .map(|((token, logprob), top)| {
            let token = text(Some(token));
            let top = top.and_then(Value::as_object).into_iter().flatten();
            let mut top: Vec<_> =
                top.map(|(token, value)| (token.clone(), token.as_bytes().to_vec(), number(Some(value)))).collect();
            top.sort_by(|a, b| b.2.total_cmp(&a.2));
            TokenLogprob { bytes: token.as_bytes().to_vec(), token, logprob: number(Some(logprob)), top }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use candor_engine::generation::{Chat, Sampling, Tool};

    use super::*;

    #[test]
    fn settings_that_do_nothing_are_not_sent() {
        let mut request = Request::text("Hello");
        assert_eq!(
            body("m", request.clone()),
            json!({ "model": "m", "prompt": "Hello", "stream": true, "temperature": 1.0,
                    "stream_options": { "include_usage": true } })
        );
        request.sampling = Sampling { top_k: 5, seed: Some(u64::MAX), ..Sampling::greedy() };
        request.logprobs = Some(2);
        let chat = Chat {
            messages: vec![Message::user("Hi")],
            tools: vec![Tool { name: "f".into(), description: String::new(), parameters: json!({}) }],
            tool_choice: ToolChoice::Named("f".into()),
        };
        request.prompt = Prompt::Chat(chat);
        let body = body("m", request);
        assert_eq!((&body["top_k"], &body["seed"], &body["top_logprobs"]), (&json!(5), &json!(i64::MAX), &json!(2)));
        assert_eq!(body["tool_choice"]["function"]["name"], "f");
        assert_eq!((body.get("top_p"), body["messages"][0]["content"].as_str()), (None, Some("Hi")));
    }

    #[tokio::test]
    async fn a_stream_becomes_events() {
        let (events, generation) = channel();
        let mut reading = Reading { events, calls: BTreeMap::new(), finish: None, usage: Usage::default() };
        for data in [
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"content":"He"},"logprobs":{"content":[{"token":"He","logprob":-0.5,"bytes":[72,101],"top_logprobs":[{"token":"He","logprob":-0.5}]}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        ] {
            reading.take(data).unwrap();
        }
        reading.end().unwrap();
        let text = generation.collect().await.unwrap();
        assert_eq!((text.text.as_str(), text.finish), ("He", Finish::ToolCalls));
        assert_eq!((text.logprobs[0].logprob, &text.logprobs[0].top[0].1[..]), (-0.5, &b"He"[..]));
        assert_eq!((text.tool_calls[0].name.as_str(), text.tool_calls[0].arguments.as_str()), ("f", "{\"a\":1}"));
        assert_eq!(text.usage, Usage { prompt_tokens: 7, cached_tokens: 2, completion_tokens: 3 });
    }

    #[test]
    fn a_stream_that_breaks_off_or_fails_is_an_error() {
        let reading = |events| Reading { events, calls: BTreeMap::new(), finish: None, usage: Usage::default() };
        assert!(matches!(reading(channel().0).end(), Err(Error::Remote(_))));
        let failed = reading(channel().0).take(r#"{"error":{"message":"out of memory"}}"#);
        assert_eq!(failed, Err(Error::Remote("out of memory".into())));
        assert!(reading(channel().0).take("not json").is_err());
    }
}
