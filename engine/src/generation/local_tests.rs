//! The runtime's promises, shown with a model small enough to be known completely: its next token is a hash of every token
//! that it finds in the cache through the block table it was given.

use std::sync::mpsc;

use futures::StreamExt as _;

use super::*;
use crate::generation::{Event, Finish, Message, Sampling, Text, Tool};
use crate::models::Device;
use crate::models::causal::{AdapterError, Batch, ForwardError};
use crate::tokens::text::tests::byte_tokenizer;

const VOCABULARY: usize = 257;
const END: u32 = 256;

/// Called before each step.
type Gate = Box<dyn FnMut(&Batch) -> Result<(), ForwardError> + Send>;

struct HashModel {
    shape: Shape,
    /// What each slot of the cache holds.
    cache: Vec<Option<(u32, u32, Option<AdapterId>)>>,
    gate: Gate,
}

impl HashModel {
    fn new(longest_context: usize) -> Self {
        let shape = Shape { vocabulary: VOCABULARY, layers: 1, experts: 2, longest_context, bytes_per_block: 1 };
        Self { shape, cache: Vec::new(), gate: Box::new(|_| Ok(())) }
    }
}

impl CausalModel for HashModel {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn allocate_cache(&mut self, blocks: usize) -> Result<(), ForwardError> {
        self.cache = vec![None; blocks * BLOCK];
        Ok(())
    }

    fn forward(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), ForwardError> {
        batch.check(&self.shape, self.cache.len() / BLOCK)?;
        (self.gate)(batch)?;
        logits.clear();
        for sequence in &batch.sequences {
            for index in sequence.tokens.clone() {
                let slot = usize::try_from(batch.slots[index]).unwrap();
                self.cache[slot] = Some((batch.tokens[index], batch.positions[index], sequence.adapter));
            }
        }
        for sequence in batch.sequences.iter().filter(|sequence| sequence.wants_logits) {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for position in 0..sequence.context {
                let block = usize::try_from(sequence.blocks[position / BLOCK]).unwrap();
                let (token, written, adapter) =
                    self.cache[block * BLOCK + position % BLOCK].expect("a slot that was written");
                assert_eq!((usize::try_from(written).unwrap(), adapter), (position, sequence.adapter));
                hash = (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01b3);
            }
            hash ^= sequence.adapter.map_or(0, |adapter| u64::from(adapter.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // Never the end by itself: lengths are the tests' business.
            logits.extend((0..VOCABULARY).map(|token| {
                let mixed = (hash ^ u64::try_from(token).unwrap()).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 40;
                if token == usize::try_from(END).unwrap() { -20.0 } else { mixed as f32 / 4e6 }
            }));
        }
        Ok(())
    }

    fn expert_load(&self) -> Vec<Vec<u64>> {
        vec![vec![3, 1]]
    }

    fn load_adapter(&mut self, folder: &Path) -> Result<AdapterId, AdapterError> {
        folder
            .to_str()
            .and_then(|name| name.parse().ok())
            .map(AdapterId)
            .ok_or_else(|| AdapterError("no number".into()))
    }

    fn unload_adapter(&mut self, _: AdapterId) {}
}

fn start(model: HashModel, options: LocalOptions) -> Local {
    Local::assemble(Box::new(model), byte_tokenizer(), None, vec![END], &options).unwrap()
}

/// Blocks are one byte each in this model.
fn options(blocks: usize, running: usize, step_tokens: usize) -> LocalOptions {
    LocalOptions { cache_bytes: blocks, running, step_tokens, ..LocalOptions::default() }
}

fn request(number: u32, prompt_tokens: usize, max_tokens: usize) -> Request {
    let prompt = (0..prompt_tokens).map(|place| (u32::try_from(place).unwrap() * 7 + number * 31) % 256).collect();
    let mut request = Request::new(Prompt::Tokens(prompt));
    request.max_tokens = Some(max_tokens);
    request.sampling = if number.is_multiple_of(3) {
        Sampling::greedy()
    } else {
        Sampling { seed: Some(u64::from(number)), top_p: 0.9, repetition_penalty: 1.1, ..Sampling::default() }
    };
    request.logprobs = Some(1);
    request
}

async fn text(local: &Local, request: Request) -> Text {
    local.generate(request).await.unwrap().collect().await.unwrap()
}

async fn together(local: &Local, requests: Vec<Request>) -> Vec<Text> {
    futures::stream::iter(requests).map(|request| text(local, request)).buffered(64).collect().await
}

/// Everything but how many tokens came from the cache.
fn said(text: &Text) -> (&str, Vec<Vec<u8>>, Vec<f32>, Finish, usize) {
    let tokens = text.logprobs.iter().map(|one| one.bytes.clone()).collect();
    let logprobs = text.logprobs.iter().map(|one| one.logprob).collect();
    (&text.text, tokens, logprobs, text.finish, text.usage.completion_tokens)
}

fn mixed() -> Vec<Request> {
    (0..24_u32)
        .map(|number| {
            request(number, 5 + 13 * usize::try_from(number % 7).unwrap(), 20 + usize::try_from(number).unwrap())
        })
        .collect()
}

async fn alone() -> Vec<Text> {
    let local = start(HashModel::new(512), options(1000, 1, 512));
    let mut texts = Vec::new();
    for request in mixed() {
        texts.push(text(&local, request).await);
    }
    texts
}

fn same(found: &[Text], expected: &[Text]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(said(found), said(expected));
        assert_eq!(found.usage.completion_tokens, found.logprobs.len());
    }
}

#[tokio::test]
async fn together_in_pieces_and_preempted_give_what_each_gives_alone() {
    let expected = alone().await;
    assert!(expected.iter().all(|text| text.finish == Finish::Length));
    // (blocks, sequences at once, tokens in a step)
    for (blocks, running, step_tokens) in [(1000, 24, 4096), (1000, 24, 24), (1000, 3, 7), (14, 24, 64), (9, 4, 16)] {
        let local = start(HashModel::new(512), options(blocks, running, step_tokens));
        same(&together(&local, mixed()).await, &expected);
        let metrics = local.metrics().unwrap();
        assert_eq!((metrics.finished, metrics.blocks_used, metrics.running, metrics.waiting), (24, 0, 0, 0));
        assert_eq!(metrics.preempted > 0, blocks < 20, "{} preempted of {blocks} blocks", metrics.preempted);
        assert_eq!(metrics.batch_size.counts.iter().sum::<u64>(), metrics.steps);
    }
}

#[tokio::test]
async fn a_beginning_that_is_still_in_the_cache_is_not_computed_again() {
    let local = start(HashModel::new(512), options(100, 4, 512));
    let first = text(&local, request(1, 100, 40)).await;
    let again = text(&local, request(1, 100, 40)).await;
    assert_eq!(said(&first), said(&again));
    assert_eq!((first.usage.cached_tokens, again.usage.cached_tokens), (0, 96));
    assert_eq!(local.metrics().unwrap().cached_tokens, 96);
}

#[tokio::test]
async fn whoever_goes_frees_the_blocks() {
    let local = start(HashModel::new(4096), options(1000, 4, 512));
    let mut generation = local.generate(request(1, 50, 4000)).await.unwrap();
    assert!(matches!(generation.next().await, Some(Event::Text { .. })));
    assert!(local.metrics().unwrap().blocks_used > 0);
    drop(generation);
    // The next one is served after what was left behind is cleared away.
    text(&local, request(2, 5, 1)).await;
    let metrics = local.metrics().unwrap();
    assert_eq!((metrics.cancelled, metrics.blocks_used, metrics.running), (1, 0, 0));
}

#[tokio::test]
async fn a_crowd_does_not_keep_a_single_caller_waiting() {
    let local = start(HashModel::new(512), options(1000, 4, 512));
    let mut crowd = Vec::new();
    for number in 0..40 {
        crowd.push(local.generate(Request { caller: "crowd".into(), ..request(number, 10, 200) }).await.unwrap());
    }
    let single = text(&local, Request { caller: "single".into(), ..request(50, 10, 20) }).await;
    assert_eq!(single.usage.completion_tokens, 20);
    // Served beside the crowd's first ones, long before the last.
    assert!(local.metrics().unwrap().finished < 8, "{}", local.metrics().unwrap().finished);
    for generation in crowd {
        generation.collect().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_says_so_and_when_to_come_back() {
    let (open, wait) = mpsc::channel::<()>();
    let mut model = HashModel::new(512);
    model.gate = Box::new(move |_| {
        let _ = wait.recv();
        Ok(())
    });
    let local = start(model, LocalOptions { queue_capacity: 3, ..options(1000, 1, 512) });
    let running = local.generate(request(0, 5, 1)).await.unwrap();
    // Until the first one runs it waits as well.
    while local.metrics().unwrap().running == 0 {
        tokio::task::yield_now().await;
    }
    let mut waiting = Vec::new();
    for number in 1..4 {
        waiting.push(local.generate(request(number, 5, 1)).await.unwrap());
    }
    let refused = local.generate(request(4, 5, 1)).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { retry_after } if retry_after >= Duration::from_secs(1)));
    drop(open);
    running.collect().await.unwrap();
    for generation in waiting {
        generation.collect().await.unwrap();
    }
    assert_eq!(local.metrics().unwrap().refused, 1);
}

#[tokio::test]
async fn a_token_is_said_while_the_next_one_is_computed() {
    // Each step from the third on waits until the token of the step before the last was heard.
    let (heard, hear) = mpsc::channel::<()>();
    let mut model = HashModel::new(512);
    let mut step = 0;
    model.gate = Box::new(move |_| {
        step += 1;
        if step > 1 {
            hear.recv_timeout(Duration::from_secs(20)).map_err(|_| ForwardError::Device("nobody heard".into()))?;
        }
        Ok(())
    });
    let local = start(model, options(1000, 4, 512));
    let mut generation = local.generate(request(3, 5, 6)).await.unwrap();
    let mut tokens = 0;
    loop {
        match generation.next().await.unwrap() {
            Event::Text { logprobs, .. } => {
                tokens += logprobs.len();
                heard.send(()).ok();
            }
            Event::Done { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tokens, 6);
}

#[tokio::test]
async fn a_failed_step_fails_its_requests_and_the_next_ones_are_served() {
    let expected = text(&start(HashModel::new(512), options(1000, 4, 512)), request(3, 40, 10)).await;
    let mut model = HashModel::new(512);
    let mut step = 0;
    model.gate = Box::new(move |_| {
        step += 1;
        if step == 4 { Err(ForwardError::Device("unplugged".into())) } else { Ok(()) }
    });
    let local = start(model, options(1000, 4, 512));
    let error = local.generate(request(3, 40, 10)).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error, Error::Model("the device failed: unplugged".into()));
    let after = text(&local, request(3, 40, 10)).await;
    assert_eq!((said(&after), after.usage.cached_tokens), (said(&expected), 0));
    assert_eq!(local.metrics().unwrap().failed, 1);
}

#[tokio::test]
async fn stops_end_the_text_before_them_and_bytes_become_characters() {
    let local = start(HashModel::new(512), options(1000, 4, 512));
    let whole = text(&local, request(3, 5, 60)).await;
    let bytes: Vec<u8> = whole.logprobs.iter().flat_map(|one| one.bytes.clone()).collect();
    assert_eq!(whole.text, String::from_utf8_lossy(&bytes));
    let characters: Vec<char> = whole.text.chars().collect();
    let stop: String = characters[20..23].iter().collect();
    let at = whole.text.find(&stop).unwrap();
    let stopped = text(&local, Request { stop: vec!["never there".into(), stop], ..request(3, 5, 60) }).await;
    assert_eq!((stopped.text.as_str(), stopped.finish), (&whole.text[..at], Finish::Stop));
    assert!(stopped.usage.completion_tokens < 60);
    assert_eq!(local.metrics().unwrap().blocks_used, 0);
}

#[tokio::test]
async fn adapters_change_the_text_and_never_share_a_cache() {
    let local = start(HashModel::new(512), options(1000, 4, 512));
    local.load_adapter("formal", Path::new("4")).await.unwrap();
    assert!(matches!(local.load_adapter("broken", Path::new("x")).await, Err(Error::Invalid(_))));
    let plain = text(&local, request(3, 60, 10)).await;
    let formal = || Request { adapter: Some("formal".into()), ..request(3, 60, 10) };
    let (adapted, again) = (text(&local, formal()).await, text(&local, formal()).await);
    assert_ne!(adapted.text, plain.text);
    assert_eq!((adapted.usage.cached_tokens, again.usage.cached_tokens, &again.text), (0, 48, &adapted.text));
    let missing = Request { adapter: Some("gone".into()), ..request(3, 5, 5) };
    assert!(matches!(local.generate(missing).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn impossible_requests_are_refused_at_the_door() {
    let local = start(HashModel::new(64), options(1000, 4, 512));
    let refused = |request: Request| async { local.generate(request).await.unwrap_err() };
    assert_eq!(refused(request(0, 64, 5)).await, Error::TooLong { tokens: 64, longest: 63 });
    assert!(matches!(refused(Request::text("")).await, Error::Invalid(_)));
    assert!(matches!(refused(Request::new(Prompt::Tokens(vec![257]))).await, Error::Invalid(_)));
    let mut hot = request(0, 5, 5);
    hot.sampling.top_p = 1.5;
    assert_eq!(refused(hot).await, Error::Invalid("top_p must be between 0 and 1".into()));
    // What does not fit is cut, not refused.
    let full = text(&local, request(0, 60, 50)).await;
    assert_eq!((full.usage.completion_tokens, full.finish), (4, Finish::Length));
    assert_eq!(text(&local, request(0, 5, 0)).await.usage.completion_tokens, 0);
}

#[tokio::test]
async fn the_end_mark_ends_and_a_dropped_generator_says_so() {
    let local = start(HashModel::new(100_000), options(10_000, 4, 512));
    let mut ends = request(3, 5, 50);
    ends.sampling.logit_bias = vec![(END, 1000.0)];
    let ended = text(&local, ends).await;
    assert_eq!((ended.text.as_str(), ended.finish, ended.usage.completion_tokens), ("", Finish::Stop, 1));
    let generation = local.generate(request(1, 5, 90_000)).await.unwrap();
    drop(local);
    assert_eq!(generation.collect().await.unwrap_err(), Error::Stopped);
}

#[tokio::test]
async fn a_required_tool_needs_tools() {
    let local = start(HashModel::new(512), options(100, 4, 512));
    let chat = Chat { messages: vec![Message::user("Hi")], tool_choice: ToolChoice::Required, ..Chat::default() };
    assert!(matches!(local.generate(Request::new(Prompt::Chat(chat.clone()))).await, Err(Error::Invalid(_))));
    let other = Tool { name: "a".into(), description: String::new(), parameters: Value::Null };
    let chat = Chat { tools: vec![other], tool_choice: ToolChoice::Named("b".into()), ..chat };
    let error = local.generate(Request::new(Prompt::Chat(chat))).await.unwrap_err();
    assert_eq!(error, Error::Invalid("there is no tool b".into()));
}

#[tokio::test]
async fn a_text_that_must_be_json_is() {
    let local = start(HashModel::new(2048), options(1000, 8, 512));
    let schema = serde_json::json!({ "type": "object", "required": ["kind", "sum"], "properties": {
        "kind": { "enum": ["card", "loan"] }, "sum": { "type": "integer" }, "urgent": { "type": "boolean" } } });
    let requests: Vec<Request> = (0..12)
        .map(|number| Request {
            format: if number % 2 == 0 { Format::JsonSchema(schema.clone()) } else { Format::Text },
            // Digits would go on for ever in a model that thinks nothing of it.
            ..request(number, 20, 400)
        })
        .map(|mut request| {
            request.sampling.logit_bias = (0..10).map(|digit| (byte_number(b'0' + digit), -1.5)).collect();
            request
        })
        .collect();
    let texts = together(&local, requests).await;
    for text in texts.iter().step_by(2) {
        let value: Value = serde_json::from_str(&text.text).unwrap_or_else(|error| panic!("{error}: {}", text.text));
        assert!(["card", "loan"].contains(&value["kind"].as_str().unwrap()) && value["sum"].is_number());
        assert_eq!(text.finish, Finish::Stop);
    }
    let wrong = Request { format: Format::JsonSchema(serde_json::json!({ "pattern": "x" })), ..request(0, 5, 5) };
    assert!(matches!(local.generate(wrong).await, Err(Error::Invalid(reason)) if reason.contains("pattern")));
}

fn byte_number(byte: u8) -> u32 {
    let tokens = byte_tokenizer();
    (0..256).find(|&token| tokens.bytes(token) == [byte]).unwrap()
}

#[tokio::test]
async fn the_shipped_generator_answers_a_chat() {
    let local = Local::shipped(&options(64 << 20, 4, 256)).unwrap();
    let mut request = Request::chat(vec![Message::user("Hello, I lost my card.")]);
    request.max_tokens = Some(24);
    request.sampling = Sampling::greedy();
    let (one, two) = (text(&local, request.clone()).await, text(&local, request).await);
    assert_eq!(one.text, two.text);
    assert!(!one.text.trim().is_empty() && one.usage.completion_tokens <= 24);
}

/// Real models too: the backend computes the same bits whatever else is in the batch.
#[tokio::test]
async fn real_checkpoints_say_the_same_together_as_alone() {
    for name in ["qwen3-moe", "deepseek-v3"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generative").join(name);
        let start = |blocks: usize, running: usize, step_tokens: usize| {
            let on_cpu = LoadOptions { device: Device::Cpu, ..LoadOptions::default() };
            let model = models::load(&folder, on_cpu, &mut |_| {}).unwrap();
            let options = options(blocks * model.shape().bytes_per_block, running, step_tokens);
            Local::assemble(model, byte_tokenizer(), None, vec![END], &options).unwrap()
        };
        let (one, many) = (start(100, 1, 512), start(16, 12, 24));
        let mut alone = Vec::new();
        for request in mixed().into_iter().take(12) {
            alone.push(text(&one, request).await);
        }
        let together = together(&many, mixed().into_iter().take(12).collect()).await;
        for (found, expected) in together.iter().zip(&alone) {
            assert_eq!((&found.text, found.finish), (&expected.text, expected.finish), "{name}");
        }
        let metrics = many.metrics().unwrap();
        assert!(metrics.preempted > 0 && metrics.steps < one.metrics().unwrap().steps);
    }
}
