//! The two threads of a generator: one owns the model and runs steps, the other plans them, draws tokens and says them.
//!
//! While step N runs, the second thread says the tokens of step N-1, prepares the masks that step N's tokens must obey, and
//! plans step N+1. When the logits come it only draws, fills the drawn tokens into the plan and hands it over; the model
//! waits for nothing else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::generation::{self, Error, Finish, Sampling, Usage};
use crate::models::causal::{AdapterError, AdapterId, Batch, CausalModel, ForwardError};
use crate::tokens::text::TextTokens;

use super::counters::Counters;
use super::grammar::Grammar;
use super::sampling::{Sampler, Scratch, Thought};
use super::scheduler::{Bounds, Scheduler};
use super::voice::Voice;

/// How often the experts' load is read from the model while it is busy.
const LOAD_EVERY: Duration = Duration::from_millis(250);

/// One generation, ready for the model.
pub(crate) struct Job {
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    /// Tokens generated at most; at least 1, and with the prompt at most what the cache holds.
    pub max_tokens: usize,
    pub stop: Vec<String>,
    pub logprobs: Option<usize>,
    pub grammar: Option<Box<dyn Grammar>>,
    /// Whether calls of tools are looked for, and whether the whole text is one.
    pub tools: crate::generation::tools::Listening,
    pub caller: Arc<str>,
    pub adapter: Option<AdapterId>,
    pub events: generation::Sender,
    pub arrived: Instant,
}

/// What can be asked of the model's thread.
pub(crate) enum Order {
    /// Run a step with these buffers.
    Step(Batch, Vec<f32>),
    /// Load an adapter.
    Adapter(PathBuf, oneshot::Sender<Result<AdapterId, AdapterError>>),
    /// Nothing is to do: a good time to read the experts' load.
    Idle,
}

/// A step that is done, with its buffers.
struct Done {
    batch: Batch,
    logits: Vec<f32>,
    result: Result<(), ForwardError>,
}

/// The parts that both threads and the facade share.
pub(crate) struct Shared {
    pub tokens: Arc<TextTokens>,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
    pub vocabulary: usize,
    pub counters: Counters,
}

/// Starts both threads. They end when the returned sender and all of its clones are dropped.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start(
    model: Box<dyn CausalModel>,
    blocks: u32,
    bounds: Bounds,
    shared: Arc<Shared>,
) -> std::io::Result<(Sender<Job>, Sender<Order>)> {
    let (jobs, incoming) = channel();
    let (orders, to_model) = channel();
    let (done, results) = channel();
    let counters = Arc::clone(&shared);
    thread::Builder::new()
        .name("model".into())
        .spawn(move || run_model(model, &to_model, &done, &counters.counters))?;
    let link = Link { orders: orders.clone(), results, spare: None };
    thread::Builder::new().name("decode".into()).spawn(move || {
        let scheduler = Scheduler::new(blocks, bounds);
        Decoder {
            scheduler,
            live: HashMap::new(),
            next: 0,
            rows: Vec::new(),
            said: Vec::new(),
            scratch: Scratch::default(),
            link,
            shared,
        }
        .run(&incoming);
    })?;
    Ok((jobs, orders))
}

fn run_model(mut model: Box<dyn CausalModel>, orders: &Receiver<Order>, done: &Sender<Done>, counters: &Counters) {
    let read_load = |model: &dyn CausalModel| {
        *counters.expert_load.lock().unwrap_or_else(PoisonError::into_inner) = model.expert_load();
    };
    let mut read = Instant::now();
    while let Ok(order) = orders.recv() {
        match order {
            Order::Step(batch, mut logits) => {
                let start = Instant::now();
                let result = model.forward(&batch, &mut logits);
                counters.step_time.observe(start.elapsed().as_secs_f64());
                // Read before anybody hears of the tokens where it is time; whoever has an answer finds it in the figures soon.
                if read.elapsed() >= LOAD_EVERY {
                    read_load(&*model);
                    read = Instant::now();
                }
                if done.send(Done { batch, logits, result }).is_err() {
                    return;
                }
            }
            Order::Adapter(folder, answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(model.load_adapter(&folder));
            }
            Order::Idle => read_load(&*model),
        }
    }
}

/// The way to the model's thread, with the buffers that are not on their way.
struct Link {
    orders: Sender<Order>,
    results: Receiver<Done>,
    spare: Option<(Batch, Vec<f32>)>,
}

/// What a running generation needs beside its tokens.
struct Live {
    sampler: Sampler,
    grammar: Option<Box<dyn Grammar>>,
    /// The mask of the token under way; kept between steps.
    mask: Vec<u32>,
    voice: Voice,
    logprobs: Option<usize>,
    arrived: Instant,
    last_token: Option<Instant>,
    started: bool,
    usage: Usage,
}

/// A token that was drawn and not said yet.
struct Drawn {
    sequence: u64,
    token: u32,
    thought: Option<Thought>,
    end: Option<Finish>,
}

struct Decoder {
    scheduler: Scheduler,
    live: HashMap<u64, Live>,
    next: u64,
    /// Whose logits the step under way answers.
    rows: Vec<u64>,
    said: Vec<Drawn>,
    scratch: Scratch,
    link: Link,
    shared: Arc<Shared>,
}

/// Nobody wants anything any more, or the model is gone.
struct Over;

impl Decoder {
    fn run(mut self, jobs: &Receiver<Job>) {
        while self.step(jobs).is_ok() {}
        self.fail_all(&Error::Stopped);
    }

    /// From an idle model to an idle model.
    fn step(&mut self, jobs: &Receiver<Job>) -> Result<(), Over> {
        if self.live.is_empty() {
            self.gauges();
            // The model's thread ends after this one, so it can always be told.
            let _ = self.link.orders.send(Order::Idle);
            let job = jobs.recv().map_err(|_| Over)?;
            self.take(job);
        }
        self.take_all(jobs)?;
        self.scheduler.plan();
        let mut rows = Vec::new();
        while let Some(batch) = self.build(&mut rows) {
            std::mem::swap(&mut self.rows, &mut rows);
            self.count_step(&batch.0);
            self.link.orders.send(Order::Step(batch.0, batch.1)).map_err(|_| Over)?;
            // The model runs. Everything up to `recv` costs no time as long as it is shorter.
            self.say();
            self.prepare_masks();
            self.take_all(jobs)?;
            self.scheduler.plan();
            self.gauges();
            let Ok(mut done) = self.link.results.recv() else {
                self.fail_all(&Error::Model("its thread has ended".to_owned()));
                return Err(Over);
            };
            match &done.result {
                Ok(()) if done.logits.len() == self.rows.len() * self.shared.vocabulary => self.draw(&mut done.logits),
                Ok(()) => self.fail_step(&ForwardError::Device("its logits have another size".to_owned())),
                Err(error) => self.fail_step(error),
            }
            self.link.spare = Some((done.batch, done.logits));
            self.take_all(jobs)?;
            self.scheduler.admit();
        }
        self.say();
        Ok(())
    }

    /// The planned step in buffers of its own, where there is anything to compute.
    fn build(&mut self, rows: &mut Vec<u64>) -> Option<(Batch, Vec<f32>)> {
        let (mut batch, logits) = self.link.spare.take().unwrap_or_default();
        self.scheduler.build(&mut batch, rows);
        if batch.tokens.is_empty() {
            self.link.spare = Some((batch, logits));
            return None;
        }
        Some((batch, logits))
    }

    /// Takes in what has arrived, and lets go of what nobody waits for.
    fn take_all(&mut self, jobs: &Receiver<Job>) -> Result<(), Over> {
        loop {
            match jobs.try_recv() {
                Ok(job) => self.take(job),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Over),
            }
        }
        let gone: Vec<u64> = self.live.iter().filter(|(_, live)| live.voice.is_unheard()).map(|(&id, _)| id).collect();
        for id in gone {
            self.shared.counters.cancelled.fetch_add(1, Relaxed);
            drop(self.drop_sequence(id));
        }
        Ok(())
    }

    fn take(&mut self, job: Job) {
        let id = self.next;
        self.next += 1;
        let usage = Usage { prompt_tokens: job.prompt.len(), ..Usage::default() };
        self.shared.counters.prompt_tokens.fetch_add(u64::try_from(job.prompt.len()).unwrap_or(0), Relaxed);
        let live = Live {
            sampler: Sampler::new(job.sampling, &job.prompt),
            grammar: job.grammar,
            mask: Vec::new(),
            voice: Voice::new(Arc::clone(&self.shared.tokens), job.stop, job.tools, job.events),
            logprobs: job.logprobs,
            arrived: job.arrived,
            last_token: None,
            started: false,
            usage,
        };
        self.live.insert(id, live);
        let limit = job.prompt.len() + job.max_tokens;
        self.scheduler.add(id, job.caller, job.prompt, limit, job.adapter);
    }

    /// Asks the grammars which tokens may come next, while the model works on how likely these are.
    fn prepare_masks(&mut self) {
        let mut failed = Vec::new();
        for id in &self.rows {
            let Some(live) = self.live.get_mut(id) else { continue };
            let Some(grammar) = &mut live.grammar else { continue };
            match grammar.mask() {
                Ok(mask) => {
                    live.mask.clear();
                    live.mask.extend_from_slice(mask);
                }
                Err(reason) => failed.push((*id, reason)),
            }
        }
        for (id, reason) in failed {
            self.fail(id, Error::Invalid(reason));
        }
    }

    /// Draws a token for each row of logits.
    fn draw(&mut self, logits: &mut [f32]) {
        let shared = Arc::clone(&self.shared);
        let mut failed = Vec::new();
        for (id, row) in self.rows.iter().zip(logits.chunks_mut(shared.vocabulary.max(1))) {
            // It ended or was cancelled while the step ran.
            let Some(live) = self.live.get_mut(id) else { continue };
            let mask = live.grammar.is_some().then_some(live.mask.as_slice());
            let Some((token, thought)) = live.sampler.draw(row, mask, live.logprobs, &mut self.scratch) else {
                failed.push((*id, Error::Model("no token is possible here".to_owned())));
                continue;
            };
            let ended = match &mut live.grammar {
                None => false,
                Some(grammar) => match grammar.accept(token) {
                    Ok(ended) => ended,
                    Err(reason) => {
                        failed.push((*id, Error::Model(reason)));
                        continue;
                    }
                },
            };
            let last = self.scheduler.arrived(*id, token);
            let end =
                if ended || shared.ends.contains(&token) { Some(Finish::Stop) } else { last.then_some(Finish::Length) };
            live.usage.completion_tokens += 1;
            live.usage.cached_tokens = self.scheduler.cached(*id).unwrap_or(0);
            shared.counters.generated_tokens.fetch_add(1, Relaxed);
            observe_time(live, &shared.counters);
            if end.is_some() {
                // Its blocks are free for the next step already; what it says is not finished.
                self.scheduler.remove(*id);
            }
            self.said.push(Drawn { sequence: *id, token, thought, end });
        }
        for (id, error) in failed {
            self.fail(id, error);
        }
    }

    /// Says what was drawn, in the order it was drawn.
    fn say(&mut self) {
        for drawn in std::mem::take(&mut self.said) {
            let Some(live) = self.live.get_mut(&drawn.sequence) else { continue };
            let stopped = live.voice.say(drawn.token, drawn.thought, self.shared.ends.contains(&drawn.token));
            let finish = if stopped { Some(Finish::Stop) } else { drawn.end };
            if let Some(finish) = finish
                && let Some(live) = self.drop_sequence(drawn.sequence)
            {
                self.shared.counters.finished.fetch_add(1, Relaxed);
                self.gauges();
                live.voice.finish(finish, live.usage);
            }
        }
    }

    fn fail_step(&mut self, error: &ForwardError) {
        tracing::error!(%error, "the model refused a step");
        // The step's blocks do not hold what they were made known for.
        self.scheduler.forget();
        let all: Vec<u64> = self.live.keys().copied().collect();
        for id in all {
            // One that gave up its blocks meanwhile waits for a token of this step that never comes.
            if self.scheduler.is_running(id) || self.rows.contains(&id) {
                self.fail(id, Error::Model(error.to_string()));
            }
        }
    }

    fn fail_all(&mut self, error: &Error) {
        let all: Vec<u64> = self.live.keys().copied().collect();
        all.into_iter().for_each(|id| self.fail(id, error.clone()));
    }

    fn fail(&mut self, id: u64, error: Error) {
        self.shared.counters.failed.fetch_add(1, Relaxed);
        if let Some(live) = self.drop_sequence(id) {
            live.voice.fail(error);
        }
    }

    fn drop_sequence(&mut self, id: u64) -> Option<Live> {
        self.scheduler.remove(id);
        let live = self.live.remove(&id)?;
        if !live.started {
            self.shared.counters.waiting.fetch_sub(1, Relaxed);
        }
        Some(live)
    }

    fn count_step(&mut self, batch: &Batch) {
        let counters = &self.shared.counters;
        counters.steps.fetch_add(1, Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        counters.batch_size.observe(batch.sequences.len() as f64);
        for (&id, live) in &mut self.live {
            if !live.started
                && let Some(cached) = self.scheduler.cached(id)
            {
                live.started = true;
                counters.waiting.fetch_sub(1, Relaxed);
                counters.queue_time.observe(live.arrived.elapsed().as_secs_f64());
                counters.cached_tokens.fetch_add(u64::try_from(cached).unwrap_or(0), Relaxed);
            }
        }
    }

    fn gauges(&self) {
        let counters = &self.shared.counters;
        counters.running.store(self.scheduler.running(), Relaxed);
        counters.blocks_used.store(self.scheduler.blocks_used(), Relaxed);
        counters.preempted.store(self.scheduler.preempted(), Relaxed);
    }
}

fn observe_time(live: &mut Live, counters: &Counters) {
    let now = Instant::now();
    match live.last_token.replace(now) {
        None => counters.first_token_time.observe(now.duration_since(live.arrived).as_secs_f64()),
        Some(last) => counters.inter_token_time.observe(now.duration_since(last).as_secs_f64()),
    }
}
