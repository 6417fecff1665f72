//! A generator that runs its model in this process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender as Channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::models::causal::{AdapterId, BLOCK, CausalModel, Shape};
use crate::models::{self, Device, LoadOptions, Progress};
use crate::runtime::counters::Counters;
use crate::runtime::decode::{self, Job, Order, Shared};
use crate::runtime::grammar::Grammar as Constraint;
use crate::runtime::scheduler::Bounds;
use crate::tokens::text::TextTokens;
use crate::weights::{Folder, generator_inside};

use super::json::{Grammar, JsonText, TokenTable};
use super::request::{Chat, TOP_LOGPROBS, ToolChoice};
use super::tools::Listening;
use super::{ChatTemplate, Error, Format, Generation, GenerationMetrics, Generator, Prompt, Request, Usage, channel};

/// How much a [`Local`] takes on.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The model's name.
    pub name: String,
    /// Bytes of the cache of keys and values.
    pub cache_bytes: usize,
    /// Sequences that run at once.
    pub running: usize,
    /// Tokens in one step.
    pub step_tokens: usize,
    /// Requests that may wait before [`Error::Overloaded`] is answered.
    pub queue_capacity: usize,
    /// What computes.
    pub device: Device,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            name: "candor".to_owned(),
            cache_bytes: 256 << 20,
            running: 32,
            step_tokens: 256,
            queue_capacity: 256,
            device: Device::Auto,
        }
    }
}

/// A model in this process. Its threads end when it is dropped; generations under way then fail with [`Error::Stopped`].
pub struct Local {
    name: String,
    shape: Shape,
    /// Tokens that the cache holds of one sequence.
    longest: usize,
    blocks: usize,
    queue_capacity: usize,
    shared: Arc<Shared>,
    template: Option<ChatTemplate>,
    adapters: Mutex<HashMap<String, AdapterId>>,
    /// Made when the first text must be JSON.
    table: OnceLock<Arc<TokenTable>>,
    jobs: Channel<Job>,
    orders: Channel<Order>,
}

/// Which tokens end a text, from `generation_config.json` or `config.json`.
#[derive(Debug, Default, Deserialize)]
struct Ends {
    #[serde(default)]
    eos_token_id: Option<OneOrMore>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

impl Ends {
    fn read(folder: &Folder) -> Vec<u32> {
        let read = |file: &str| folder.read_json::<Self>(file).ok()?.eos_token_id;
        match read("generation_config.json").or_else(|| read("config.json")) {
            None => Vec::new(),
            Some(OneOrMore::One(end)) => vec![end],
            Some(OneOrMore::More(ends)) => ends,
        }
    }
}

impl Local {
    /// Loads a checkpoint folder and starts it.
    ///
    /// # Errors
    /// [`EngineError::Model`] naming the file or the tensor that is wrong, or the memory that is missing.
    pub fn open(folder: &Path, options: &LocalOptions) -> Result<Self, EngineError> {
        Self::load(&Folder::Disk(folder.to_owned()), options)
    }

    /// Starts the generator that ships with the program.
    ///
    /// # Errors
    /// [`EngineError::Model`] when there is no memory for it, [`EngineError::Worker`] when no thread can start.
    pub fn shipped(options: &LocalOptions) -> Result<Self, EngineError> {
        Self::load(&generator_inside(), options)
    }

    fn load(folder: &Folder, options: &LocalOptions) -> Result<Self, EngineError> {
        let mut report = |progress: Progress| {
            tracing::debug!(tensors = progress.tensors, of = progress.of, bytes = progress.bytes, "loading");
        };
        let load = LoadOptions { device: options.device, ..LoadOptions::default() };
        let model = models::load_from(folder, load, &mut report)
            .map_err(|error| EngineError::Model { model: options.name.clone(), reason: error.to_string() })?;
        Self::start_from(model, folder, options)
    }

    /// Starts a model with the tokenizer, chat template and end marks of its folder.
    ///
    /// # Errors
    /// [`EngineError::Model`] when the folder's files or the memory for the cache are missing, [`EngineError::Worker`] when no
    /// thread can start.
    pub fn start(model: Box<dyn CausalModel>, folder: &Path, options: &LocalOptions) -> Result<Self, EngineError> {
        Self::start_from(model, &Folder::Disk(folder.to_owned()), options)
    }

    fn start_from(model: Box<dyn CausalModel>, folder: &Folder, options: &LocalOptions) -> Result<Self, EngineError> {
        let failed = |reason: String| EngineError::Model { model: options.name.clone(), reason };
        let tokens = TextTokens::open(folder).map_err(|error| failed(error.to_string()))?;
        let template = ChatTemplate::open(folder).map_err(|error| failed(error.to_string()))?;
        Self::assemble(model, tokens, template, Ends::read(folder), options)
    }

    /// Starts a model with a tokenizer and a template.
    pub(crate) fn assemble(
        mut model: Box<dyn CausalModel>,
        tokens: TextTokens,
        template: Option<ChatTemplate>,
        ends: Vec<u32>,
        options: &LocalOptions,
    ) -> Result<Self, EngineError> {
        let shape = model.shape().clone();
        let whole_context = shape.longest_context.div_ceil(BLOCK);
        // More than all sequences at their longest is never needed.
        let blocks = (options.cache_bytes / shape.bytes_per_block.max(1))
            .clamp(1, whole_context.saturating_mul(options.running.max(1)).max(1));
        model
            .allocate_cache(blocks)
            .map_err(|error| EngineError::Model { model: options.name.clone(), reason: error.to_string() })?;
        let shared = Arc::new(Shared {
            tokens: Arc::new(tokens),
            ends,
            vocabulary: shape.vocabulary,
            counters: Counters::default(),
        });
        let bounds = Bounds { running: options.running, step_tokens: options.step_tokens };
        let count = u32::try_from(blocks).unwrap_or(u32::MAX);
        let (jobs, orders) = decode::start(model, count, bounds, Arc::clone(&shared))?;
        Ok(Self {
            name: options.name.clone(),
            longest: shape.longest_context.min(blocks * BLOCK),
            shape,
            blocks,
            queue_capacity: options.queue_capacity.max(1),
            shared,
            template,
            adapters: Mutex::default(),
            table: OnceLock::new(),
            jobs,
            orders,
        })
    }

    /// Loads an adapter in PEFT's format; requests name it from then on.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it does not fit the model, [`Error::Stopped`] when the model's thread has ended.
    pub async fn load_adapter(&self, name: &str, folder: &Path) -> Result<(), Error> {
        let (answer, loaded) = oneshot::channel();
        self.orders.send(Order::Adapter(folder.to_owned(), answer)).map_err(|_| Error::Stopped)?;
        let adapter = loaded.await.map_err(|_| Error::Stopped)?.map_err(|error| Error::Invalid(error.to_string()))?;
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), adapter);
        Ok(())
    }

    /// The model's measures.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many tokens a text has.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the tokenizer refuses the text.
    pub fn count_tokens(&self, text: &str) -> Result<usize, Error> {
        self.encode(text, true).map(|tokens| tokens.len())
    }

    fn encode(&self, text: &str, marks: bool) -> Result<Vec<u32>, Error> {
        self.shared.tokens.encode(text, marks).map_err(|error| Error::Invalid(error.to_string()))
    }

    fn prompt(&self, prompt: Prompt) -> Result<Vec<u32>, Error> {
        match prompt {
            Prompt::Text(text) => self.encode(&text, true),
            Prompt::Tokens(tokens) => {
                let unknown =
                    |token: &&u32| usize::try_from(**token).map_or(true, |token| token >= self.shape.vocabulary);
                match tokens.iter().find(unknown) {
                    Some(token) => Err(Error::Invalid(format!("the model has no token {token}"))),
                    None => Ok(tokens),
                }
            }
            Prompt::Chat(chat) => match &self.template {
                Some(template) => {
                    let text = template.render(&chat).map_err(|error| Error::Invalid(error.to_string()))?;
                    self.encode(&text, false)
                }
                None => self.encode(&ChatTemplate::plain(&chat), true),
            },
        }
    }

    fn grammar(&self, format: Format) -> Result<Option<Box<dyn Constraint>>, Error> {
        let grammar = match format {
            Format::Text => return Ok(None),
            Format::JsonObject => Grammar::object(),
            Format::JsonSchema(schema) => Grammar::new(&schema).map_err(|error| Error::Invalid(error.to_string()))?,
        };
        let shared = &self.shared;
        let table = self
            .table
            .get_or_init(|| Arc::new(TokenTable::new(Arc::clone(&shared.tokens), &shared.ends, shared.vocabulary)));
        Ok(Some(Box::new(JsonText::new(grammar, Arc::clone(table)))))
    }

    fn adapter(&self, name: Option<&str>) -> Result<Option<AdapterId>, Error> {
        let Some(name) = name else { return Ok(None) };
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.get(name).map(|&id| Some(id)).ok_or_else(|| Error::Invalid(format!("there is no adapter {name}")))
    }
}

/// What is to be listened for, and the form that a required call is forced into.
fn tools(chat: &Chat, format: Format) -> Result<(Listening, Format), Error> {
    let call_of = |tool: &super::Tool| {
        let parameters =
            if tool.parameters.is_object() { tool.parameters.clone() } else { json!({ "type": "object" }) };
        json!({ "type": "object", "additionalProperties": false, "required": ["name", "arguments"],
                "properties": { "name": { "const": tool.name }, "arguments": parameters } })
    };
    if chat.tools.is_empty() {
        return match chat.tool_choice {
            ToolChoice::Required | ToolChoice::Named(_) => {
                Err(Error::Invalid("a tool can only be required where tools are given".to_owned()))
            }
            ToolChoice::Auto | ToolChoice::None => Ok((Listening::No, format)),
        };
    }
    match &chat.tool_choice {
        ToolChoice::None => Ok((Listening::No, format)),
        ToolChoice::Auto => Ok((Listening::Marked, format)),
        ToolChoice::Required => {
            let calls: Vec<Value> = chat.tools.iter().map(call_of).collect();
            let schema = if let [only] = calls.as_slice() { only.clone() } else { json!({ "anyOf": calls }) };
            Ok((Listening::Whole, Format::JsonSchema(schema)))
        }
        ToolChoice::Named(name) => {
            let tool = chat.tools.iter().find(|tool| tool.name == *name);
            let tool = tool.ok_or_else(|| Error::Invalid(format!("there is no tool {name}")))?;
            Ok((Listening::Whole, Format::JsonSchema(call_of(tool))))
        }
    }
}

#[async_trait]
impl Generator for Local {
    fn name(&self) -> &str {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Generation, Error> {
        let arrived = Instant::now();
        let counters = &self.shared.counters;
        // Refused before any work is done on it.
        let waiting = counters.waiting.load(Relaxed);
        if waiting >= self.queue_capacity {
            counters.refused.fetch_add(1, Relaxed);
            return Err(Error::Overloaded { retry_after: self.patience(waiting) });
        }
        request.sampling.check()?;
        let logprobs = request.logprobs.map(|top| top.min(TOP_LOGPROBS));
        let (tools, format) = match &request.prompt {
            Prompt::Chat(chat) => tools(chat, request.format)?,
            Prompt::Text(_) | Prompt::Tokens(_) => (Listening::No, request.format),
        };
        let grammar = self.grammar(format)?;
        let adapter = self.adapter(request.adapter.as_deref())?;
        let prompt = self.prompt(request.prompt)?;
        if prompt.is_empty() {
            return Err(Error::Invalid("the prompt is empty".to_owned()));
        }
        if prompt.len() >= self.longest {
            return Err(Error::TooLong { tokens: prompt.len(), longest: self.longest - 1 });
        }
        let room = self.longest - prompt.len();
        let max_tokens = request.max_tokens.map_or(room, |asked| asked.min(room));
        let (events, generation) = channel();
        if max_tokens == 0 {
            let usage = Usage { prompt_tokens: prompt.len(), ..Usage::default() };
            // The receiving end is in our hands.
            let _ = events.send(super::Event::Done { finish: super::Finish::Length, usage });
            return Ok(generation);
        }
        let job = Job {
            prompt,
            sampling: request.sampling,
            max_tokens,
            stop: request.stop,
            logprobs,
            grammar,
            tools,
            caller: request.caller.into(),
            adapter,
            events,
            arrived,
        };
        counters.waiting.fetch_add(1, Relaxed);
        self.jobs.send(job).map_err(|_| Error::Stopped)?;
        Ok(generation)
    }

    fn adapters(&self) -> Vec<String> {
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = adapters.keys().cloned().collect();
        names.sort();
        names
    }

    fn metrics(&self) -> Option<GenerationMetrics> {
        Some(self.shared.counters.snapshot(self.queue_capacity, self.blocks))
    }
}

impl Local {
    /// When a place in the queue is likely free: what the waiting ones take at the pace of those before, at least a second.
    fn patience(&self, waiting: usize) -> Duration {
        let step = self.shared.counters.step_time.snapshot();
        let finished = self.shared.counters.finished.load(Relaxed).max(1);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let seconds = step.sum / finished as f64 * waiting as f64 / 2.0;
        Duration::from_secs_f64(seconds.clamp(1.0, 60.0))
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
