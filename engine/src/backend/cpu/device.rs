//! The processor as a [`Backend`].
#![expect(unsafe_code, reason = "tasks write disjoint places of one buffer; each place is named where it is taken")]
#![expect(clippy::indexing_slicing, reason = "rows and columns follow from the step and from the widths of buffers")]

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attend::{self, Paged};
use super::cells::Cells;
use super::feed_forward::{Blocks, Grouping};
use super::isa::Isa;
use super::memory::{Buffer, Cache, Choices, Matrix, Router, Step, memory};
use super::pool::Pool;
use super::product::{Inputs, PANEL, Tokens};
use super::spans::Rounded;
use super::{dot, route};
use crate::backend::{Adapter, Backend, Chosen, Gated, Grouped, Latent, Rope, Routing};
use crate::models::causal::{BLOCK, Batch, ForwardError};
use crate::weights::stored::Format;
use crate::weights::{Bytes, Stored};

/// Tokens of one sequence that attention takes as one task.
const CHUNK: usize = 16;
/// Products below which an operation is not worth sharing among threads.
const SMALL: usize = 1 << 15;

thread_local! {
    /// What a task needs besides its own places; kept from task to task.
    pub(super) static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// All threads of the machine, and the memory that operations work in.
pub(crate) struct Cpu {
    isa: Isa,
    rounding: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct Work {
    rounded: Rounded,
    grouping: Grouping,
    logits: Vec<f32>,
    latents: Vec<f32>,
    mixed: Vec<f32>,
}

struct State {
    pool: Pool,
    work: Work,
}

impl Cpu {
    /// The processor with so many threads. With `rounding`, products with weights of 8 and 4 bits round activations to
    /// bytes, which is several times faster; without, every product is one of `f32`.
    #[must_use]
    pub(crate) fn new(threads: usize, rounding: bool) -> Self {
        let state = State { pool: Pool::new(threads), work: Work::default() };
        Self { isa: Isa::best(), rounding, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `out[n, rows] (+)= x · Wᵀ` with `out` as wide as given, from its column `first` on.
    fn product(
        &self,
        (pool, rounded): (&mut Pool, &mut Rounded),
        n: usize,
        (x, width): (&[f32], usize),
        matrix: &Matrix,
        (out, out_width): (&mut [f32], usize),
    ) {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let rounds = self.rounding && matrix.rounds();
        if rounds {
            rounded.reserve(n, columns);
            (0..n).for_each(|row| rounded.round(self.isa, row, &x[row * width..row * width + columns]));
        }
        let inputs = Inputs { x, stride: width, rounded: rounds.then_some(&*rounded) };
        let cells = Cells::new(out);
        let share = share(rows, n * rows * columns, pool.threads());
        pool.run(rows.div_ceil(share), &|task| {
            let range = task * share..rows.min((task + 1) * share);
            SCRATCH.with_borrow_mut(|(scratch, _)| {
                matrix.products(self.isa, range, inputs, &Tokens::Range(0..n), scratch, |token, row, values| {
                    // SAFETY: the rows of a task belong to no other task.
                    let out = unsafe { cells.at(token * out_width + row, values.len()) };
                    match &matrix.bias {
                        Some(bias) => out.iter_mut().zip(values).zip(&bias[row..]).for_each(|((o, v), b)| *o = v + b),
                        None => out.copy_from_slice(values),
                    }
                });
            });
        });
    }
}

/// How many rows a task takes: enough tasks that threads end together, whole panels, and one task for little work.
pub(super) fn share(rows: usize, products: usize, threads: usize) -> usize {
    if products < SMALL { rows.max(1) } else { rows.div_ceil(4 * threads).next_multiple_of(PANEL) }
}

impl Backend for Cpu {
    type Buffer = Buffer;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Cache = Cache;
    type Step = Step;
    type Router = Router;
    type Choices = Choices;

    fn name(&self) -> Option<&str> {
        None
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Buffer, ForwardError> {
        Ok(Buffer { values: memory(rows * width)?, width })
    }

    fn reserve(&self, buffer: &mut Buffer, rows: usize) -> Result<(), ForwardError> {
        if buffer.values.len() < rows * buffer.width {
            buffer.values = memory(rows * buffer.width)?;
        }
        Ok(())
    }

    fn matrix(&self, parts: Vec<Stored>, bias: Option<Vec<f32>>) -> Result<Matrix, ForwardError> {
        Ok(Matrix { parts, bias })
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>, ForwardError> {
        Ok(values)
    }

    fn cache(&self, blocks: usize, width: usize) -> Result<Cache, ForwardError> {
        let numbers = blocks.checked_mul(BLOCK * width);
        let numbers = numbers.ok_or_else(|| ForwardError::Memory(format!("{blocks} blocks can not be counted")))?;
        Ok(Cache { rows: memory(numbers)?, width })
    }

    fn cache_bytes(&self, width: usize) -> usize {
        width * size_of::<f32>()
    }

    fn router(&self, weight: Stored, bias: Option<Vec<f32>>, rule: Routing) -> Result<Router, ForwardError> {
        // Experts are chosen in full precision, whatever the format of their weights.
        let mut bytes = Vec::with_capacity(4 * weight.rows * weight.columns);
        let mut line = vec![0.0; weight.columns];
        for row in 0..weight.rows {
            weight.row(row, &mut line);
            bytes.extend(line.iter().flat_map(|value| value.to_le_bytes()));
        }
        let weight = Stored { format: Format::F32(Bytes::Made(bytes.into())), ..weight };
        let counts = vec![0; rule.experts];
        Ok(Router { matrix: Matrix { parts: vec![weight], bias: None }, bias, rule, counts })
    }

    fn choices(&self, experts_per_token: usize) -> Result<Choices, ForwardError> {
        Ok(Choices { chosen: Vec::new(), k: experts_per_token })
    }

    fn step(&self) -> Result<Step, ForwardError> {
        Ok(Step::default())
    }

    fn begin(&self, step: &mut Step, batch: &Batch, rope: &Rope) -> Result<(), ForwardError> {
        step.batch.clone_from(batch);
        step.pairs = rope.frequencies.len();
        step.neighbours = rope.neighbours;
        step.cosines.resize(step.n() * step.pairs, 0.0);
        step.sines.resize(step.n() * step.pairs, 0.0);
        let angles =
            step.cosines.chunks_exact_mut(step.pairs.max(1)).zip(step.sines.chunks_exact_mut(step.pairs.max(1)));
        for (&position, (cosines, sines)) in batch.positions.iter().zip(angles) {
            attend::angles(rope, position, cosines, sines);
        }
        step.chunks.clear();
        for (number, sequence) in batch.sequences.iter().enumerate() {
            let tokens = &sequence.tokens;
            step.chunks
                .extend(tokens.clone().step_by(CHUNK).map(|first| (number, first..tokens.end.min(first + CHUNK))));
        }
        Ok(())
    }

    fn embed(&self, step: &Step, table: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        for (&token, out) in step.batch.tokens.iter().zip(out.values.chunks_exact_mut(out.width)) {
            table.parts[0].row(token as usize, out);
        }
        Ok(())
    }

    fn norm(
        &self,
        step: &Step,
        x: &mut Buffer,
        add: Option<&Buffer>,
        (weight, epsilon): (&Vec<f32>, f32),
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        for token in 0..step.n() {
            let row = &mut x.values[token * x.width..(token + 1) * x.width];
            if let Some(add) = add {
                row.iter_mut().zip(add.row(token)).for_each(|(x, add)| *x += add);
            }
            let out = &mut out.values[token * out.width..][..weight.len()];
            attend::norm(&row[..weight.len()], weight, epsilon, out);
        }
        Ok(())
    }

    fn linear(&self, step: &Step, x: &Buffer, matrix: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        let State { pool, work } = &mut *self.state();
        let out_width = out.width;
        self.product((pool, &mut work.rounded), step.n(), (&x.values, x.width), matrix, (&mut out.values, out_width));
        Ok(())
    }

    fn adapt(
        &self,
        step: &Step,
        x: &Buffer,
        adapters: &[Adapter<Matrix>],
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        let mut scratch = Vec::new();
        for sequence in &step.batch.sequences {
            for adapter in adapters.iter().filter(|adapter| Some(adapter.id) == sequence.adapter) {
                let (tokens, rank) = (sequence.tokens.clone(), adapter.down.rows());
                let mut low = vec![0.0; tokens.len() * rank];
                let inputs = Inputs { x: &x.values, stride: x.width, rounded: None };
                let selected = Tokens::Range(tokens.clone());
                adapter.down.products(self.isa, 0..rank, inputs, &selected, &mut scratch, |token, row, values| {
                    low[token * rank + row..][..values.len()].copy_from_slice(values);
                });
                let inputs = Inputs { x: &low, stride: rank, rounded: None };
                let (rows, selected) = (adapter.up.rows(), Tokens::Range(0..tokens.len()));
                adapter.up.products(self.isa, 0..rows, inputs, &selected, &mut scratch, |token, row, values| {
                    let at = (tokens.start + token) * out.width + adapter.first + row;
                    out.values[at..].iter_mut().zip(values).for_each(|(o, v)| *o += adapter.scale * v);
                });
            }
        }
        Ok(())
    }

    fn attend_grouped(
        &self,
        step: &Step,
        qkv: &mut Buffer,
        rule: &Grouped<Vec<f32>>,
        cache: &mut Cache,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        let (heads, kv_heads, size) = (rule.heads, rule.kv_heads, rule.size);
        let kv = kv_heads * size;
        for token in 0..step.n() {
            let (cosines, sines) = step.angles(token);
            let row = &mut qkv.values[token * qkv.width..(token + 1) * qkv.width];
            for (head, part) in row.chunks_exact_mut(size).take(heads + kv_heads).enumerate() {
                let weight = if head < heads { &rule.norms.0 } else { &rule.norms.1 };
                attend::norm_in_place(part, weight, rule.epsilon);
                attend::rotate(part, cosines, sines, step.neighbours);
            }
            let slot = step.batch.slots[token] as usize;
            cache.rows[slot * cache.width..(slot + 1) * cache.width].copy_from_slice(&row[heads * size..][..2 * kv]);
        }
        let State { pool, .. } = &mut *self.state();
        let (group, out_width) = (heads / kv_heads, out.width);
        let (cells, qkv, cache) = (Cells::new(&mut out.values), &*qkv, &*cache);
        pool.run(step.chunks.len() * kv_heads, &|task| {
            let (chunk, kv_head) = (task / kv_heads, task % kv_heads);
            let (number, tokens) = &step.chunks[chunk];
            let cache = Paged { rows: &cache.rows, width: cache.width, blocks: &step.batch.sequences[*number].blocks };
            SCRATCH.with_borrow_mut(|(scores, _)| {
                for token in tokens.clone() {
                    let first = kv_head * group * size;
                    let mut queries: [&[f32]; MOST_HEADS] = [&[]; MOST_HEADS];
                    queries.iter_mut().zip(qkv.row(token)[first..].chunks_exact(size)).for_each(|(q, x)| *q = x);
                    // SAFETY: these heads of this token belong to this task alone.
                    let out = unsafe { cells.at(token * out_width + first, group * size) };
                    let length = step.batch.positions[token] as usize + 1;
                    let columns = (kv_head * size, kv + kv_head * size);
                    attend::attend(self.isa, cache, length, columns, (&queries[..group], rule.scale), scores, out);
                }
            });
        });
        Ok(())
    }

    fn attend_latent(
        &self,
        step: &Step,
        (q, kv): (&Buffer, &Buffer),
        kv_b: &Matrix,
        rule: &Latent<Vec<f32>>,
        cache: &mut Cache,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        let (heads, rank, n) = (rule.heads, rule.rank, step.n());
        for token in 0..n {
            let (cosines, sines) = step.angles(token);
            let latent = &kv.row(token)[rule.first..][..rank + rule.turned];
            let slot = step.batch.slots[token] as usize;
            let row = &mut cache.rows[slot * cache.width..(slot + 1) * cache.width];
            attend::norm(&latent[..rank], &rule.norm, rule.epsilon, &mut row[..rank]);
            row[rank..].copy_from_slice(&latent[rank..]);
            attend::rotate(&mut row[rank..], cosines, sines, step.neighbours);
        }
        let State { pool, work } = &mut *self.state();
        let (wide, out_width) = (rank + rule.turned, out.width);
        work.latents.resize(n * heads * wide, 0.0);
        work.mixed.resize(n * heads * rank, 0.0);
        let (latents, mixed) = (Cells::new(&mut work.latents), Cells::new(&mut work.mixed));
        let (cells, cache, kv_b) = (Cells::new(&mut out.values), &*cache, &kv_b.parts[0]);
        let each = rule.content + rule.value;
        // A head's query meets the latents themselves: what would turn latents into keys is multiplied into it.
        let absorb = |head: usize| {
            SCRATCH.with_borrow_mut(|(weights, _)| {
                weights.resize(rule.content * rank, 0.0);
                let rows = head * each..head * each + rule.content;
                rows.zip(weights.chunks_exact_mut(rank)).for_each(|(row, out)| kv_b.row(row, out));
                for token in 0..n {
                    let query = &q.row(token)[head * (rule.content + rule.turned)..][..rule.content + rule.turned];
                    // SAFETY: this head of this token belongs to this task alone.
                    let latent = unsafe { latents.at((token * heads + head) * wide, wide) };
                    let (content, turned) = latent.split_at_mut(rank);
                    content.fill(0.0);
                    dot::mix(self.isa, weights, rank, &query[..rule.content], content);
                    turned.copy_from_slice(&query[rule.content..]);
                    let (cosines, sines) = step.angles(token);
                    attend::rotate(turned, cosines, sines, step.neighbours);
                }
            });
        };
        let look = |chunk: usize, head: usize| {
            let (number, tokens) = &step.chunks[chunk];
            let cache = Paged { rows: &cache.rows, width: cache.width, blocks: &step.batch.sequences[*number].blocks };
            SCRATCH.with_borrow_mut(|(scores, _)| {
                for token in tokens.clone() {
                    // SAFETY: this head of this token belongs to this task alone, and was written before.
                    let (latent, mixed) = unsafe {
                        let place = token * heads + head;
                        (latents.at(place * wide, wide), mixed.at(place * rank, rank))
                    };
                    let length = step.batch.positions[token] as usize + 1;
                    attend::attend(self.isa, cache, length, (0, 0), (&[latent], rule.scale), scores, mixed);
                }
            });
        };
        let speak = |head: usize| {
            SCRATCH.with_borrow_mut(|(weights, values)| {
                weights.resize(rule.value * rank, 0.0);
                let rows = head * each + rule.content..(head + 1) * each;
                rows.zip(weights.chunks_exact_mut(rank)).for_each(|(row, out)| kv_b.row(row, out));
                values.resize(rule.value * CHUNK, 0.0);
                for first in (0..n).step_by(CHUNK) {
                    let count = CHUNK.min(n - first);
                    let mut xs: [&[f32]; CHUNK] = [&[]; CHUNK];
                    for (x, token) in xs.iter_mut().zip(first..first + count) {
                        // SAFETY: it was written before, and nobody writes it now.
                        *x = unsafe { mixed.at((token * heads + head) * rank, rank) };
                    }
                    dot::products(self.isa, weights, (rule.value, rank, rank), &xs[..count], values);
                    for (token, values) in (first..first + count).zip(values.chunks_exact(rule.value)) {
                        // SAFETY: this head of this token belongs to this task alone.
                        let out = unsafe { cells.at(token * out_width + head * rule.value, rule.value) };
                        out.copy_from_slice(values);
                    }
                }
            });
        };
        if n == 1 {
            pool.run(heads, &|head| {
                absorb(head);
                look(0, head);
                speak(head);
            });
        } else {
            pool.run(heads, &absorb);
            pool.run(step.chunks.len() * heads, &|task| look(task / heads, task % heads));
            pool.run(heads, &speak);
        }
        Ok(())
    }

    fn route(&self, step: &Step, x: &Buffer, router: &mut Router, choices: &mut Choices) -> Result<(), ForwardError> {
        let State { pool, work } = &mut *self.state();
        let (n, experts) = (step.n(), router.rule.experts);
        work.logits.resize(n * experts, 0.0);
        let logits = (&mut work.logits[..n * experts], experts);
        self.product((pool, &mut work.rounded), n, (&x.values, x.width), &router.matrix, logits);
        choices.chosen.resize(n * choices.k, (0, 0.0));
        SCRATCH.with_borrow_mut(|(scratch, _)| {
            let rows = work.logits.chunks_exact_mut(experts).zip(choices.chosen.chunks_exact_mut(choices.k));
            for (logits, chosen) in rows.take(n) {
                route::choose(&router.rule, router.bias.as_deref(), logits, scratch, chosen);
                chosen.iter().for_each(|(expert, _)| router.counts[*expert as usize] += 1);
            }
        });
        Ok(())
    }

    fn feed_forward(
        &self,
        step: &Step,
        x: &Buffer,
        chosen: Option<Chosen<'_, Self>>,
        shared: Option<&Gated<Matrix>>,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        let State { pool, work } = &mut *self.state();
        let (n, out_width) = (step.n(), out.width);
        let blocks = Blocks { chosen, shared };
        work.grouping.group(n, &blocks);
        let rounded = if self.rounding && blocks.rounds() {
            work.rounded.reserve(n, x.width);
            (0..n).for_each(|token| work.rounded.round(self.isa, token, x.row(token)));
            Some(&work.rounded)
        } else {
            None
        };
        let inputs = Inputs { x: &x.values, stride: x.width, rounded };
        work.grouping.run((self.isa, pool), n, &blocks, inputs, (&mut out.values, out_width));
        Ok(())
    }

    fn logits(
        &self,
        step: &mut Step,
        (x, add): (&Buffer, &Buffer),
        (weight, epsilon): (&Vec<f32>, f32),
        head: &Matrix,
        out: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        let State { pool, work } = &mut *self.state();
        let width = weight.len();
        let wanted = step.batch.sequences.iter().filter(|sequence| sequence.wants_logits);
        let mut rows = 0;
        work.mixed.clear();
        for token in wanted.filter_map(|sequence| sequence.tokens.end.checked_sub(1)) {
            let sum = x.row(token).iter().zip(add.row(token)).map(|(x, add)| x + add);
            work.logits.clear();
            work.logits.extend(sum);
            work.mixed.resize((rows + 1) * width, 0.0);
            attend::norm(&work.logits, weight, epsilon, &mut work.mixed[rows * width..]);
            rows += 1;
        }
        out.clear();
        out.resize(rows * head.rows(), 0.0);
        let vocabulary = head.rows();
        self.product((pool, &mut work.rounded), rows, (&work.mixed, width), head, (out, vocabulary));
        Ok(())
    }

    fn likeliest(
        &self,
        step: &mut Step,
        stream: (&Buffer, &Buffer),
        norm: (&Vec<f32>, f32),
        head: &Matrix,
        out: &mut Vec<u32>,
    ) -> Result<(), ForwardError> {
        let mut logits = Vec::new();
        self.logits(step, stream, norm, head, &mut logits)?;
        crate::models::causal::likeliest(&logits, head.rows(), out);
        Ok(())
    }

    fn load(&self, router: &Router) -> Vec<u64> {
        router.counts.clone()
    }
}

/// Heads of queries that may share one head of keys.
pub(crate) const MOST_HEADS: usize = 64;
