//! The thread that owns the encoder.
//!
//! Callers put texts into a bounded queue; while one batch runs the next one gathers, so that batches grow with the load
//! and a lone text never waits for company. A batch is what has arrived, up to a number of tokens. A caller that went away is
//! skipped. (The manner of `text-embeddings-inference`, without its timer.)

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::backend::cpu::{Crew, Pool};
use crate::backend::cuda;
use crate::models::causal::ForwardError;
use crate::models::moe_encoder::{Encoded, MoeEncoder, Workspace};
use crate::understanding::Error;

/// Tokens in one batch of the processor. Larger batches gain nothing on a CPU and make the next text wait longer.
const TOKEN_BUDGET: usize = 2048;

struct Request {
    ids: Vec<u32>,
    answer: oneshot::Sender<Encoded>,
}

/// What the worker counted since it started.
#[derive(Default)]
pub(crate) struct Counters {
    /// Requests refused because the queue was full.
    pub refused: AtomicU64,
    /// Requests whose caller had gone.
    pub abandoned: AtomicU64,
    /// Batches run.
    pub batches: AtomicU64,
    /// Texts in them.
    pub texts: AtomicU64,
    /// Tokens in them.
    pub tokens: AtomicU64,
    load: Mutex<Vec<Vec<u64>>>,
}

impl Counters {
    /// Tokens by layer and expert.
    #[must_use]
    pub(crate) fn load(&self) -> Vec<Vec<u64>> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add_load(&self, layers: &mut [Vec<u64>]) {
        let mut total = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        total.resize_with(layers.len(), Vec::new);
        for (total, layer) in total.iter_mut().zip(layers) {
            total.resize(layer.len(), 0);
            total.iter_mut().zip(layer).for_each(|(total, now)| *total += std::mem::take(now));
        }
    }
}

/// The queue in front of the encoder. The thread ends when the last handle is dropped.
pub(crate) struct Worker {
    queue: mpsc::Sender<Request>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Starts the thread. `threads` is how many parts a batch is computed in at once; a GPU takes what waits as a whole, and
    /// the processor goes on where it fails.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(
        model: Arc<MoeEncoder>,
        gpu: Option<cuda::Encoder>,
        capacity: usize,
        threads: usize,
    ) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel(capacity.max(1));
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        thread::Builder::new()
            .name("encoder".into())
            .spawn(move || serve((&model, gpu), requests, &shared, threads.max(1)))?;
        Ok(Self { queue, counters })
    }

    /// Puts a text's tokens into the queue.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full, [`Error::Stopped`] when the thread has ended.
    pub(crate) fn submit(&self, ids: Vec<u32>) -> Result<oneshot::Receiver<Encoded>, Error> {
        let (answer, receiver) = oneshot::channel();
        self.queue.try_send(Request { ids, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                self.counters.refused.fetch_add(1, Relaxed);
                Error::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })?;
        Ok(receiver)
    }

    /// Requests waiting now.
    #[must_use]
    pub(crate) fn queue_length(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Requests that may wait.
    #[must_use]
    pub(crate) fn queue_capacity(&self) -> usize {
        self.queue.max_capacity()
    }

    /// What was counted.
    #[must_use]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn serve(
    (model, mut gpu): (&MoeEncoder, Option<cuda::Encoder>),
    mut requests: mpsc::Receiver<Request>,
    counters: &Counters,
    threads: usize,
) {
    let workspaces: Vec<Mutex<Workspace>> = (0..threads).map(|_| Mutex::default()).collect();
    let mut pool = Pool::new(threads);
    let mut held = None;
    while let Some(first) = held.take().or_else(|| requests.blocking_recv()) {
        let (mut batch, mut tokens) = (Vec::new(), 0);
        let budget = if gpu.is_some() { cuda::Encoder::MOST } else { TOKEN_BUDGET };
        let mut next = Some(first);
        while let Some(request) = next.take() {
            if request.answer.is_closed() {
                counters.abandoned.fetch_add(1, Relaxed);
            } else if tokens > 0 && tokens + request.ids.len() > budget {
                held = Some(request);
                break;
            } else {
                tokens += request.ids.len();
                batch.push(request);
            }
            next = requests.try_recv().ok();
        }
        if batch.is_empty() {
            continue;
        }
        counters.batches.fetch_add(1, Relaxed);
        counters.texts.fetch_add(u64::try_from(batch.len()).unwrap_or(u64::MAX), Relaxed);
        counters.tokens.fetch_add(u64::try_from(tokens).unwrap_or(u64::MAX), Relaxed);
        if let Some(encoder) = &mut gpu {
            match answer_on(encoder, batch, counters) {
                Ok(()) => continue,
                Err((error, unanswered)) => {
                    tracing::error!(%error, "the GPU failed: the processor reads texts from now on");
                    (gpu, batch) = (None, unanswered);
                }
            }
        }
        run(model, (batch, tokens), &workspaces, &mut pool, counters);
    }
}

/// Answers every caller of a batch from the GPU; where that fails, gives the batch back.
fn answer_on(
    encoder: &mut cuda::Encoder,
    batch: Vec<Request>,
    counters: &Counters,
) -> Result<(), (ForwardError, Vec<Request>)> {
    let (mut load, ids) = (Vec::new(), batch.iter().map(|request| request.ids.as_slice()).collect::<Vec<_>>());
    let encoded = encoder.forward(&ids, &mut load);
    counters.add_load(&mut load);
    match encoded {
        Ok(encoded) => send(batch, encoded),
        Err(error @ ForwardError::Batch(_)) => refused(&error, batch.len()),
        Err(error) => return Err((error, batch)),
    }
    Ok(())
}

fn send(batch: Vec<Request>, encoded: Vec<Encoded>) {
    for (request, encoded) in batch.into_iter().zip(encoded) {
        // A caller that went away meanwhile needs no answer.
        let _ = request.answer.send(encoded);
    }
}

/// Dropping the requests tells the callers; the tokenizer never makes such a batch.
fn refused(error: &dyn std::error::Error, texts: usize) {
    tracing::error!(%error, texts, "the encoder refused a batch");
}

/// Answers every caller of a batch. Several texts are split into parts of about the same number of tokens, one for each
/// workspace; on a single one, all threads work together.
fn run(
    model: &MoeEncoder,
    (batch, tokens): (Vec<Request>, usize),
    workspaces: &[Mutex<Workspace>],
    pool: &mut Pool,
    counters: &Counters,
) {
    let share = tokens.div_ceil(workspaces.len().max(1));
    let mut parts: Vec<Vec<Request>> = vec![Vec::new()];
    let mut filled = 0;
    for request in batch {
        if filled >= share && parts.len() < workspaces.len() {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += request.ids.len();
        if let Some(part) = parts.last_mut() {
            part.push(request);
        }
    }
    if let [part] = parts.as_mut_slice() {
        return answer(model, std::mem::take(part), workspaces.first(), &mut Crew::of(pool), counters);
    }
    let parts: Vec<_> = parts.into_iter().zip(workspaces).map(|(part, space)| (Mutex::new(part), space)).collect();
    pool.run(parts.len(), &|number| {
        if let Some((part, workspace)) = parts.get(number) {
            let part = std::mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner));
            answer(model, part, Some(*workspace), &mut Crew::alone(), counters);
        }
    });
}

fn answer(
    model: &MoeEncoder,
    part: Vec<Request>,
    workspace: Option<&Mutex<Workspace>>,
    crew: &mut Crew<'_>,
    counters: &Counters,
) {
    let Some(workspace) = workspace else { return };
    let workspace = &mut *workspace.lock().unwrap_or_else(PoisonError::into_inner);
    let ids: Vec<&[u32]> = part.iter().map(|request| request.ids.as_slice()).collect();
    let encoded = model.forward(&ids, workspace, crew);
    // Counted before anybody hears: who has an answer finds it in the figures.
    counters.add_load(&mut workspace.load);
    match encoded {
        Ok(encoded) => send(part, encoded),
        Err(error) => refused(&error, part.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Precision;
    use crate::weights;

    #[test]
    fn a_full_queue_refuses_and_a_stopped_one_says_so() {
        let (queue, requests) = mpsc::channel(1);
        let worker = Worker { queue, counters: Arc::default() };
        let _waits = worker.submit(vec![101, 102]).unwrap();
        assert_eq!(worker.submit(vec![101, 102]).unwrap_err(), Error::Overloaded);
        assert_eq!((worker.queue_length(), worker.counters().refused.load(Relaxed)), (1, 1));
        drop(requests);
        assert_eq!(worker.submit(vec![101, 102]).unwrap_err(), Error::Stopped);
    }

    #[test]
    fn batches_fill_up_to_the_budget_and_skip_callers_that_left() {
        let model = MoeEncoder::open(&weights::encoder_inside(), Precision::Int8, None).unwrap();
        let (queue, requests) = mpsc::channel(64);
        let worker = Worker { queue, counters: Arc::default() };
        let long: Vec<u32> = std::iter::repeat_n(2000, 200).collect();
        let mut answers: Vec<_> = (0..12).map(|_| worker.submit(long.clone()).unwrap()).collect();
        drop(answers.remove(3));
        let counters = Arc::clone(&worker.counters);
        drop(worker);
        serve((&model, None), requests, &counters, 2);
        // 10 texts of 200 tokens fit into 2,048.
        assert_eq!((counters.batches.load(Relaxed), counters.texts.load(Relaxed)), (2, 11));
        assert_eq!((counters.abandoned.load(Relaxed), counters.tokens.load(Relaxed)), (1, 2200));
        assert!(counters.load().iter().all(|layer| layer.iter().sum::<u64>() == 4 * 2200));
        for answer in &mut answers {
            assert_eq!(answer.try_recv().unwrap().embedding().len(), 384);
        }
    }
}
