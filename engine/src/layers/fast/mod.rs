//! One layer of the encoder with int8 products: attention over each text, then the experts, normalising after each.
//!
//! Little is handed from thread to thread. A head's queries, keys and values are computed by the thread that attends
//! with them; what follows attention is done for a few tokens at a time, from the projection to the router's logits, while they
//! stay in the nearest cache; an expert raises and lowers a few dozen tokens without leaving it. Tokens are rounded once for
//! each product's input. Whoever computes, a token's numbers are the same to the last bit.
#![expect(unsafe_code, reason = "tasks write disjoint rows of shared buffers")]

mod attention;
mod experts;

use std::cell::RefCell;
use std::ops::Range;

use ndarray::{ErrorKind, ShapeError};

use self::attention::FastAttention;
use self::experts::FastExperts;
use super::{LayerNorm, Pairs};
use crate::backend::cpu::int8::{Activations, Places};
use crate::backend::cpu::{Cells, Crew, self_attention};
use crate::weights::{Error, Tensors};

/// Tokens that one task takes from one end of a sublayer to the other.
const FEW: usize = 8;

/// A layer's parameters.
pub(crate) struct FastLayer {
    attention: FastAttention,
    after_attention: LayerNorm,
    experts: FastExperts,
    after_experts: LayerNorm,
    width: usize,
}

/// The tokens between layers, and the memory that layers work in. It grows to the largest batch and is kept.
#[derive(Default)]
pub(crate) struct FastMemory {
    /// `x` as int8.
    rounded: Activations,
    /// What the heads say, `[n, width]`.
    mixed: Vec<f32>,
    logits: Vec<f32>,
    pairs: Pairs,
    /// What experts say, `[pairs, width]`.
    answers: Vec<f32>,
    /// Experts with some of their pairs.
    shares: Vec<(usize, Range<usize>)>,
}

/// What a thread works in while it computes a task.
#[derive(Default)]
struct Scratch {
    qkv: Vec<f32>,
    attention: self_attention::Memory,
    branch: Vec<f32>,
    inner: Vec<f32>,
    input: Activations,
    between: Activations,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl FastMemory {
    /// Rounds the tokens `x` `[n, width]` that enter the first layer.
    pub(crate) fn enter(&mut self, x: &[f32], width: usize) {
        self.rounded.reserve(x.len().checked_div(width).unwrap_or(0), width);
        self.rounded.rows_mut().quantise(x, width);
    }
}

impl FastLayer {
    /// Reads the tensors under `prefix`, `width` wide, with `heads` heads and (experts, groups of them, neurons of one).
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(
        tensors: &Tensors,
        prefix: &str,
        (width, heads, epsilon): (usize, usize, f32),
        experts: (usize, usize, usize),
    ) -> Result<Self, Error> {
        Ok(Self {
            attention: FastAttention::open(tensors, prefix, (width, heads))?,
            after_attention: LayerNorm::open(tensors, &format!("{prefix}.norm1"), width, epsilon)?,
            experts: FastExperts::open(tensors, &format!("{prefix}.ffn"), width, experts)?,
            after_experts: LayerNorm::open(tensors, &format!("{prefix}.norm2"), width, epsilon)?,
            width,
        })
    }

    /// Replaces the tokens `x` `[n, width]` of texts that begin at `starts` and, in the memory, their rounded form. `load`
    /// counts the tokens of each expert.
    ///
    /// # Errors
    /// When `x` is not what entered the memory.
    pub(crate) fn forward(
        &self,
        x: &mut [f32],
        starts: &[usize],
        (memory, crew): (&mut FastMemory, &mut Crew<'_>),
        load: &mut [u64],
    ) -> Result<(), ShapeError> {
        let (n, w, experts) = (x.len().checked_div(self.width).unwrap_or(0), self.width, self.experts.count());
        let FastMemory { rounded, mixed, logits, pairs, answers, shares } = memory;
        mixed.resize(n * w, 0.0);
        logits.resize(n * experts, 0.0);
        let mut fits = self.attention.forward(rounded.rows(), starts, crew, mixed);
        let x = Cells::new(x);
        let tasks = n.div_ceil(FEW);
        let share = |task: usize| task * n / tasks..(task + 1) * n / tasks;
        {
            let (places, logits, mixed) = (Places::of(rounded), Cells::new(logits), &*mixed);
            fits &= every(crew, tasks, &|task, scratch| {
                let range = share(task);
                // SAFETY: a task's tokens are its own.
                let (x, mut rounded, logits) = unsafe {
                    let logits = logits.at(range.start * experts, range.len() * experts);
                    (x.at(range.start * w, range.len() * w), places.rows(range.clone()), logits)
                };
                let fits = self.attention.project(mixed.get(range.start * w..range.end * w), scratch);
                self.after_attention.add_and_normalise(x, &scratch.branch);
                rounded.quantise(x, w);
                self.experts.router().score(x, logits);
                fits
            });
        }
        pairs.choose(self.experts.router(), logits, n, load)?;
        fits &= self.experts.forward(rounded.rows(), pairs, shares, crew, answers);
        let (places, pairs, answers) = (Places::of(rounded), &*pairs, &*answers);
        fits &= every(crew, tasks, &|task, scratch| {
            let range = share(task);
            // SAFETY: a task's tokens are its own.
            let (x, mut rounded) = unsafe { (x.at(range.start * w, range.len() * w), places.rows(range.clone())) };
            self.experts.add_up(range, pairs, answers, &mut scratch.branch);
            self.after_experts.add_and_normalise(x, &scratch.branch);
            rounded.quantise(x, w);
            true
        });
        if fits { Ok(()) } else { Err(ShapeError::from_kind(ErrorKind::IncompatibleShape)) }
    }
}

/// Calls `task` with each number below `tasks` and the thread's memory; whether all of them say that shapes fit.
fn every(crew: &mut Crew<'_>, tasks: usize, task: &(dyn Fn(usize, &mut Scratch) -> bool + Sync)) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let fits = AtomicBool::new(true);
    crew.run(tasks, &|number| {
        if !SCRATCH.with_borrow_mut(|scratch| task(number, scratch)) {
            fits.store(false, Relaxed);
        }
    });
    fits.load(Relaxed)
}
