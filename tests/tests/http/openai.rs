//! The OpenAI protocol, served and used: a real runtime over a small model whose answer is written in its prompt.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candor::crm::create_client;
use candor_engine::dialogue::saying::{NotSaid, Saying, Spoken, Tone};
use candor_engine::dialogue::{Action, Choice, Line, Summary};
use candor_engine::generation::{Generator, Local, LocalOptions};
use candor_engine::models::causal::{AdapterError, AdapterId, BLOCK, Batch, CausalModel, ForwardError, Shape};
use candor_tests::{TestApp, spawn_generating, spawn_with};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

const END: usize = 256;

/// Says what stands between `[[` and `]]` in its prompt, byte by byte, then ends.
struct Parrot {
    shape: Shape,
    cache: Vec<u32>,
}

impl CausalModel for Parrot {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn allocate_cache(&mut self, blocks: usize) -> Result<(), ForwardError> {
        self.cache = vec![0; blocks * BLOCK];
        Ok(())
    }

    fn forward(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), ForwardError> {
        batch.check(&self.shape, self.cache.len() / BLOCK)?;
        logits.clear();
        for sequence in &batch.sequences {
            for index in sequence.tokens.clone() {
                self.cache[usize::try_from(batch.slots[index]).unwrap()] = batch.tokens[index];
            }
            if !sequence.wants_logits {
                continue;
            }
            let token = |position: usize| {
                let block = usize::try_from(sequence.blocks[position / BLOCK]).unwrap();
                u8::try_from(self.cache[block * BLOCK + position % BLOCK]).unwrap_or(b'?')
            };
            let text: Vec<u8> = (0..sequence.context).map(token).collect();
            if text.len() > 1000 {
                // Time enough for somebody to leave.
                std::thread::sleep(Duration::from_millis(3));
            }
            let find = |mark: &[u8]| text.windows(mark.len()).position(|window| window == mark);
            let script = &text[find(b"[[").map_or(0, |at| at + 2)..find(b"]]").unwrap_or(0)];
            let prompt = b"assistant:";
            let said = text.windows(prompt.len()).rposition(|window| window == prompt).unwrap() + prompt.len();
            let next = script.get(text.len() - said).map_or(END, |&byte| usize::from(byte));
            logits.extend((0..=END).map(|token| if token == next { 9.0 } else { 0.0 }));
        }
        Ok(())
    }

    fn expert_load(&self) -> Vec<Vec<u64>> {
        vec![vec![3, 1], Vec::new()]
    }

    fn load_adapter(&mut self, _: &Path) -> Result<AdapterId, AdapterError> {
        Ok(AdapterId(0))
    }

    fn unload_adapter(&mut self, _: AdapterId) {}
}

/// A tokenizer whose tokens are the bytes.
fn tokenizer() -> Value {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let vocabulary: serde_json::Map<String, Value> = (0..256)
        .map(|byte| {
            let code = if printable(byte) { byte } else { others.next().unwrap() };
            (char::from_u32(code).unwrap().to_string(), json!(byte))
        })
        .collect();
    json!({
        "version": "1.0",
        "added_tokens": [{ "id": 256, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        "model": { "type": "BPE", "vocab": vocabulary, "merges": [] }
    })
}

fn parrot(options: LocalOptions) -> Arc<dyn Generator> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer().to_string()).unwrap();
    std::fs::write(folder.path().join("generation_config.json"), json!({ "eos_token_id": [END] }).to_string()).unwrap();
    let shape = Shape { vocabulary: END + 1, layers: 2, experts: 2, longest_context: 2048, bytes_per_block: 1 << 20 };
    let model = Parrot { shape, cache: Vec::new() };
    Arc::new(Local::start(Box::new(model), folder.path(), &options).unwrap())
}

struct Caller {
    http: Client,
    address: String,
    token: String,
}

impl Caller {
    async fn post(&self, path: &str, body: &Value) -> Response {
        self.http.post(format!("{}/v1{path}", self.address)).bearer_auth(&self.token).json(body).send().await.unwrap()
    }

    async fn chat(&self, said: &str, more: Value) -> Value {
        let mut body =
            json!({ "model": "parrot", "temperature": 0, "messages": [{ "role": "user", "content": said }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("/chat/completions", &body).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

async fn token(app: &TestApp, scope: &str) -> String {
    let mut connection = app.db.acquire().await.unwrap();
    let client = create_client(&mut connection, "Test", &[scope.to_owned()], None).await.unwrap();
    let answer = Client::new()
        .post(app.url("/api/v1/oauth/token"))
        .basic_auth(client.client_id, Some(client.secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

async fn caller(app: &TestApp) -> Caller {
    Caller { http: Client::new(), address: app.address.clone(), token: token(app, "generation:use").await }
}

async fn generating() -> TestApp {
    spawn_generating(parrot(LocalOptions { name: "parrot".into(), ..LocalOptions::default() })).await
}

/// The data of a stream of events; the last one must be the end.
fn data(stream: &str) -> Vec<Value> {
    let mut lines: Vec<&str> = stream.split("\n\n").filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(lines.pop(), Some("[DONE]"));
    lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn chats_are_answered_whole_and_as_a_stream() {
    let app = generating().await;
    let caller = caller(&app).await;
    let whole = caller.chat("[[Grüße, 世界!]]", json!({ "logprobs": true, "top_logprobs": 2 })).await;
    let choice = &whole["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("Grüße, 世界!"), &json!("stop")));
    assert_eq!(whole["usage"]["completion_tokens"], 17);
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(
        (tokens.len(), tokens[0]["token"].as_str(), tokens[0]["top_logprobs"].as_array().unwrap().len()),
        (17, Some("G"), 2)
    );
    assert!(tokens[0]["logprob"].as_f64().unwrap() < 0.0);

    let body = json!({ "model": "parrot", "temperature": 0, "stream": true, "stream_options": { "include_usage": true },
                       "messages": [{ "role": "user", "content": [{ "type": "text", "text": "[[Grüße, 世界!]]" }] }] });
    let answer = caller.post("/chat/completions", &body).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let pieces = data(&answer.text().await.unwrap());
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Grüße, 世界!");
    assert!(pieces.iter().all(|piece| !piece.to_string().contains('\u{FFFD}')));
    let last = &pieces[pieces.len() - 1];
    // The second time most of the prompt is in the cache.
    assert_eq!((last["choices"].as_array().unwrap().len(), last["usage"]["completion_tokens"].as_u64()), (0, Some(17)));
    assert!(last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() >= 16);

    let stopped = caller.chat("[[one two three]]", json!({ "stop": [" th"] })).await;
    assert_eq!(stopped["choices"][0]["message"]["content"], "one two");
    let cut = caller.chat("[[one two three]]", json!({ "max_completion_tokens": 5 })).await;
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["choices"][0]["message"]["content"]),
        (&json!("length"), &json!("one t"))
    );

    let metrics = app.visitor().get("/metrics").await.text().await.unwrap();
    for line in [
        "candor_generation_finished_total 4",
        "candor_generation_expert_max_violation{layer=\"0\"} 0.5",
        "candor_generation_first_token_seconds_count 4",
    ] {
        assert!(metrics.contains(line), "{line} is not in the metrics");
    }
}

#[tokio::test]
async fn tools_are_called_whole_and_in_a_stream() {
    let app = generating().await;
    let caller = caller(&app).await;
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "balance", "description": "Balance.",
                        "parameters": { "type": "object", "properties": { "account": { "type": "string" } } } } }] });
    let script = "[[Let me look.<tool_call>{\"name\": \"balance\", \"arguments\": {\"account\": \"7\"}}</tool_call>]]";
    let answer = caller.chat(script, tools.clone()).await;
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("Let me look."))
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&call["type"], &call["function"]),
        (&json!("function"), &json!({ "name": "balance", "arguments": "{\"account\":\"7\"}" }))
    );

    // The conversation goes on with the tool's answer.
    let body = json!({ "model": "parrot", "temperature": 0, "messages": [
        { "role": "user", "content": "[[You have 5 EUR.]]" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": call["id"], "content": "5 EUR" }] });
    let answer: Value = caller.post("/chat/completions", &body).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "You have 5 EUR.");

    let mut body = json!({ "model": "parrot", "temperature": 0, "stream": true, "messages": [{ "role": "user", "content": script }] });
    body.as_object_mut().unwrap().extend(tools.as_object().unwrap().clone());
    let pieces = data(&caller.post("/chat/completions", &body).await.text().await.unwrap());
    let calls: Vec<&Value> =
        pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    assert_eq!((calls.len(), &calls[0]["function"]["name"], &calls[0]["index"]), (1, &json!("balance"), &json!(0)));
    let text: String = pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(
        (text.as_str(), &pieces[pieces.len() - 1]["choices"][0]["finish_reason"]),
        ("Let me look.", &json!("tool_calls"))
    );
}

#[tokio::test]
async fn completions_embeddings_and_models() {
    let app = generating().await;
    let caller = caller(&app).await;
    let body = json!({ "model": "parrot", "temperature": 0, "max_tokens": 40, "logprobs": 1,
                       "prompt": ["[[one]]assistant:", "[[two]]assistant:"] });
    let answer: Value = caller.post("/completions", &body).await.json().await.unwrap();
    let texts: Vec<_> =
        answer["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!((texts, &answer["usage"]["completion_tokens"]), (vec!["one", "two"], &json!(8)));
    assert_eq!(answer["choices"][1]["logprobs"]["tokens"], json!(["t", "w", "o", "<|end|>"]));

    let body = json!({ "model": "candor-encoder", "input": ["I lost my card", "my card is gone"] });
    let floats: Value = caller.post("/embeddings", &body).await.json().await.unwrap();
    let numbers: Vec<f64> =
        floats["data"][0]["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert_eq!(numbers.len(), 384);
    assert!((numbers.iter().map(|n| n * n).sum::<f64>() - 1.0).abs() < 1e-3);
    assert_eq!(floats["usage"]["prompt_tokens"], 12);
    let mut body = body;
    body["encoding_format"] = json!("base64");
    let packed: Value = caller.post("/embeddings", &body).await.json().await.unwrap();
    use base64::Engine as _;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let first = f32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert!((f64::from(first) - numbers[0]).abs() < 1e-6 && bytes.len() == 4 * 384);

    let get = |path: &'static str| caller.http.get(app.url(path)).bearer_auth(&caller.token).send();
    let models: Value = get("/v1/models").await.unwrap().json().await.unwrap();
    let names: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["parrot", "candor-encoder"]);
    assert_eq!(get("/v1/models/parrot").await.unwrap().json::<Value>().await.unwrap()["object"], "model");
    assert_eq!(get("/v1/models/gpt-9").await.unwrap().status(), 404);
}

async fn error(answer: Response) -> (StatusCode, String, Value) {
    let status = answer.status();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: Value = answer.json().await.unwrap();
    (status, body["error"]["type"].as_str().unwrap().to_owned(), body["error"]["param"].clone())
}

#[tokio::test]
async fn errors_have_the_protocols_shape() {
    let app = generating().await;
    let caller = caller(&app).await;
    let message = json!([{ "role": "user", "content": "[[x]]" }]);
    let ask = |change: Value| {
        let mut body = json!({ "model": "parrot", "messages": message });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (body, param) in [
        (ask(json!({ "n": 2 })), json!("n")),
        (ask(json!({ "messages": [] })), json!("messages")),
        (ask(json!({ "stop": [""] })), json!("stop")),
        (ask(json!({ "messages": [{ "role": "user", "content": "x".repeat(5000) }] })), json!("messages")),
    ] {
        let found = error(caller.post("/chat/completions", &body).await).await;
        assert_eq!(found, (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error".into(), param));
    }
    let bad = error(caller.post("/chat/completions", &ask(json!({ "temperature": -1 }))).await).await;
    assert_eq!(bad.0, StatusCode::BAD_REQUEST);
    assert_eq!(error(caller.post("/chat/completions", &json!("?")).await).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        error(caller.post("/chat/completions", &ask(json!({ "model": "gpt-9" }))).await).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(error(caller.post("/nothing", &json!({})).await).await.0, StatusCode::NOT_FOUND);
    let nobody = Caller { token: "wrong".into(), ..self::caller(&app).await };
    let found = error(nobody.post("/chat/completions", &ask(json!({}))).await).await;
    assert_eq!((found.0, found.1.as_str()), (StatusCode::UNAUTHORIZED, "authentication_error"));
    let other = Caller { token: token(&app, "contacts:read").await, ..nobody };
    assert_eq!(error(other.post("/chat/completions", &ask(json!({}))).await).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_shipped_model_answers_until_there_are_too_many_requests() {
    let app = spawn_with(|config| config.api_requests_per_minute = 2).await;
    let caller = caller(&app).await;
    let body = json!({ "model": "candor-generator", "max_tokens": 8,
                       "messages": [{ "role": "user", "content": "I lost my card" }] });
    let answer: Value = caller.post("/chat/completions", &body).await.json().await.unwrap();
    assert!(!answer["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{answer}");
    caller.post("/chat/completions", &body).await;
    let answer = caller.post("/chat/completions", &body).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(error(answer).await.1, "rate_limit_error");
}

#[tokio::test]
async fn a_second_candor_uses_the_first_as_its_model() {
    let first = generating().await;
    let key = token(&first, "generation:use").await;
    let url = format!("{}/v1", first.address);
    let second = spawn_with(move |config| {
        config.engine.model = Some(url);
        config.engine.model_name = Some("parrot".into());
        config.engine.api_key = Some(key);
    })
    .await;
    let caller = caller(&second).await;
    let answer = caller.chat("[[Grüße, 世界!]]", json!({ "logprobs": true, "top_logprobs": 1 })).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Grüße, 世界!");
    assert_eq!(answer["choices"][0]["logprobs"]["content"].as_array().unwrap().len(), 17);
    assert_eq!(answer["usage"]["completion_tokens"], 17);
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "now" } }] });
    let called = caller.chat("[[<tool_call>{\"name\": \"now\"}</tool_call>]]", tools).await;
    assert_eq!(called["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "now");
    let body = json!({ "model": "parrot", "prompt": "[[two]]assistant:", "temperature": 0 });
    let answer: Value = caller.post("/completions", &body).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"], "two");
    let long = json!({ "model": "parrot", "prompt": "x".repeat(5000) });
    assert_eq!(error(caller.post("/completions", &long).await).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_work() {
    let script = "very long ".repeat(150);
    let app = generating().await;
    let caller = caller(&app).await;
    let body = json!({ "model": "parrot", "temperature": 0, "stream": true,
                       "messages": [{ "role": "user", "content": format!("[[{script}]]") }] });
    let mut answer = caller.post("/chat/completions", &body).await;
    answer.chunk().await.unwrap().unwrap();
    drop(answer);
    let generator = app.state.generator.as_ref().unwrap();
    for _ in 0..200 {
        let metrics = generator.metrics().unwrap();
        if metrics.running == 0 && metrics.cancelled == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the work goes on: {:?}", generator.metrics());
}

/// The official client, where Python has it: `CANDOR_TEST_PYTHON` names an interpreter with the package `openai`.
#[tokio::test]
async fn the_official_client_is_served() {
    let Ok(python) = std::env::var("CANDOR_TEST_PYTHON") else {
        eprintln!("skipped: CANDOR_TEST_PYTHON is not set");
        return;
    };
    let app = generating().await;
    let key = token(&app, "generation:use").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/openai/client.py");
    let output = tokio::process::Command::new(python)
        .args([script, &format!("{}/v1", app.address), &key, "parrot"])
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A server that is not Candor: `CANDOR_TEST_OPENAI_SERVER` is its address with `/v1`, `CANDOR_TEST_OPENAI_MODEL` its model.
#[tokio::test]
async fn a_foreign_server_is_used() {
    let Ok(url) = std::env::var("CANDOR_TEST_OPENAI_SERVER") else {
        eprintln!("skipped: CANDOR_TEST_OPENAI_SERVER is not set");
        return;
    };
    let model = std::env::var("CANDOR_TEST_OPENAI_MODEL").unwrap_or_else(|_| "default".to_owned());
    let name = model.clone();
    let app = spawn_with(move |config| {
        config.engine.model = Some(url);
        config.engine.model_name = Some(name);
    })
    .await;
    let caller = caller(&app).await;
    let ask = json!({ "model": model, "max_tokens": 4, "seed": 3 });
    let (one, two) = (caller.chat("Hello", ask.clone()).await, caller.chat("Hello", ask.clone()).await);
    let said = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!((said(&one), said(&one).is_empty()), (said(&two), false));
    let (choice, usage) = (&one["choices"][0], &one["usage"]);
    assert_eq!((&choice["finish_reason"], &usage["completion_tokens"]), (&json!("length"), &json!(4)));
    let body = json!({ "model": model, "prompt": "Hello", "max_tokens": 4, "stream": true });
    let pieces = data(&caller.post("/completions", &body).await.text().await.unwrap());
    assert_eq!(pieces[pieces.len() - 1]["choices"][0]["finish_reason"], "length");
}

/// What a foreign server writes is said to a customer only when it passes the check; so is its summary.
#[tokio::test]
async fn a_foreign_servers_words_are_checked() {
    let Ok(url) = std::env::var("CANDOR_TEST_OPENAI_SERVER") else {
        eprintln!("skipped: CANDOR_TEST_OPENAI_SERVER is not set");
        return;
    };
    let app = spawn_with(move |config| {
        config.engine.model = Some(url);
        config.engine.model_name = std::env::var("CANDOR_TEST_OPENAI_MODEL").ok();
    })
    .await;
    // A processor that many share has no four seconds for it.
    let generator = app.state.generator.clone().unwrap();
    let saying = Saying::new(generator, Tone::Warm).with_patience(Duration::from_secs(120));
    let said = [
        Spoken { by_customer: true, text: "I lost my debit card" },
        Spoken { by_customer: false, text: "Which card is it?" },
        Spoken { by_customer: true, text: "the one ending 4821" },
    ];
    let words = "Shall I block the debit card ending 4821? This can not be undone.";
    let action = Action::Ask {
        slot: "confirm".into(),
        text: words.into(),
        choices: vec![Choice { label: "Yes".into(), value: "yes".into() }],
        summary: None,
    };
    let reply = saying.reply(&said, &action, Some("Block a lost or stolen card"), false).await;
    let line = |text: &str| Line { text: text.into(), seq: 1, about: String::new() };
    let notes = Summary { problem: vec![line("Block a lost or stolen card")], ..Summary::default() };
    let summary = saying.summary(&said, &notes).await;
    println!("reply: {reply:?}\nsummary: {summary:?}");
    // The server answered in time; whether its words pass is the model's affair, and what passes keeps the value.
    assert!(!matches!(reply, Err(NotSaid::Silent(_) | NotSaid::NotAsked)), "{reply:?}");
    assert!(!matches!(summary, Err(NotSaid::Silent(_) | NotSaid::NotAsked)), "{summary:?}");
    assert!(reply.as_ref().is_err() || reply.is_ok_and(|text| text.contains("4821")));
    assert_eq!((saying.figures().asked, saying.summary_figures().asked), (1, 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_clear_answer() {
    let app = spawn_with(|config| config.engine.model = Some("http://127.0.0.1:9/v1".into())).await;
    let caller = caller(&app).await;
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "x" }] });
    let found = error(caller.post("/chat/completions", &body).await).await;
    assert_eq!(found.0, StatusCode::SERVICE_UNAVAILABLE);
}
