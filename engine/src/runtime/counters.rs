//! What the runtime counts while it works.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::generation::GenerationMetrics;

use super::histogram::{Histogram, SIZES, TIMES};

/// Written by the runtime's threads, read by whoever watches.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Requests that never ran yet; counted up where they arrive, so that a burst can not pass the door unseen.
    pub waiting: AtomicUsize,
    pub running: AtomicUsize,
    pub blocks_used: AtomicUsize,
    pub finished: AtomicU64,
    pub cancelled: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
    pub preempted: AtomicU64,
    pub steps: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    pub queue_time: Histogram,
    pub first_token_time: Histogram,
    pub inter_token_time: Histogram,
    pub step_time: Histogram,
    pub batch_size: Histogram,
    pub expert_load: Mutex<Vec<Vec<u64>>>,
}

impl Default for Counters {
    fn default() -> Self {
        let times = || Histogram::new(TIMES);
        Self {
            waiting: AtomicUsize::default(),
            running: AtomicUsize::default(),
            blocks_used: AtomicUsize::default(),
            finished: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            refused: AtomicU64::default(),
            failed: AtomicU64::default(),
            preempted: AtomicU64::default(),
            steps: AtomicU64::default(),
            prompt_tokens: AtomicU64::default(),
            cached_tokens: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
            queue_time: times(),
            first_token_time: times(),
            inter_token_time: times(),
            step_time: times(),
            batch_size: Histogram::new(SIZES),
            expert_load: Mutex::default(),
        }
    }
}

impl Counters {
    /// Everything as it stands.
    pub(crate) fn snapshot(&self, queue_capacity: usize, blocks: usize) -> GenerationMetrics {
        GenerationMetrics {
            waiting: self.waiting.load(Relaxed),
            queue_capacity,
            running: self.running.load(Relaxed),
            blocks_used: self.blocks_used.load(Relaxed),
            blocks,
            finished: self.finished.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            preempted: self.preempted.load(Relaxed),
            steps: self.steps.load(Relaxed),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            cached_tokens: self.cached_tokens.load(Relaxed),
            generated_tokens: self.generated_tokens.load(Relaxed),
            queue_time: self.queue_time.snapshot(),
            first_token_time: self.first_token_time.snapshot(),
            inter_token_time: self.inter_token_time.snapshot(),
            step_time: self.step_time.snapshot(),
            batch_size: self.batch_size.snapshot(),
            expert_load: self.expert_load.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
