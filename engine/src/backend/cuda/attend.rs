//! Attention: grouped heads, and latents.

use std::cell::RefMut;

use cudarc::driver::{CudaFunction, CudaSlice};
use cudarc::nvrtc::Ptx;

use super::launch::{self, launch};
use super::library::{self, ATTEND};
use super::linear::{Heads, Outputs};
use super::memory::{Buffer, Cache, Matrix, Planes};
use super::step::Step;
use super::{Cuda, Pointer, Work, device_failed, int};
use crate::backend::{Grouped, Latent};
use crate::models::causal::ForwardError;

/// What the kernel is compiled for: see `attend.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    size: usize,
    value: usize,
    /// Rows and columns of warps.
    rows: usize,
    parts: usize,
    tile: usize,
    shared: bool,
}

impl Shape {
    /// The shapes that may do for heads of `size` and values of `value`, the best first; `many` where sequences have more
    /// than a few tokens.
    pub(super) fn all(size: usize, value: usize, shared: bool, many: bool) -> Vec<Self> {
        let ways: &[(usize, usize, usize)] = match (shared, many) {
            (false, true) => &[(8, 1, 64), (4, 1, 64), (4, 1, 32), (1, 2, 32)],
            (false, false) => &[(1, 4, 64), (1, 2, 32)],
            (true, true) => &[(4, 2, 32), (2, 2, 32), (1, 2, 32)],
            (true, false) => &[(1, 4, 64), (1, 2, 32)],
        };
        ways.iter().map(|&(rows, parts, tile)| Self { size, value, rows, parts, tile, shared }).collect()
    }

    /// The compiler's options.
    pub(super) fn options(&self) -> Vec<String> {
        let Self { size, value, rows, parts, tile, shared } = *self;
        let all = [("SIZE", size), ("VALUE", value), ("ROWS", rows), ("PARTS", parts), ("TILE", tile)];
        let shared = ("SHARED", usize::from(shared));
        all.into_iter().chain([shared]).map(|(name, number)| format!("-D{name}={number}")).collect()
    }

    /// Rows of a block.
    fn heads(&self) -> usize {
        16 * self.rows
    }

    /// Bytes of shared memory.
    fn memory(&self) -> usize {
        let (key, wide) = (self.size.next_multiple_of(16), self.value.next_multiple_of(16 * self.parts));
        let key_line = 8 + if self.shared { key.max(wide) } else { key };
        let values = if self.shared { 0 } else { 2 * self.tile * (wide + 8) };
        let weights = if self.parts > 1 { self.heads() * (self.tile + 8) } else { 0 };
        2 * (self.heads() * (key + 8) + 2 * self.tile * key_line + values + weights) + 8 * self.parts * self.heads()
    }
}

/// The kernel's arguments: see `Attention` in `attend.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attention {
    queries: Pointer,
    cache: Pointer,
    sequences: Pointer,
    blocks: Pointer,
    tasks: Pointer,
    partial: Pointer,
    counters: Pointer,
    out: Pointer,
    low: i64,
    cache_width: i32,
    kv_heads: i32,
    group: i32,
    tiles: i32,
    values: i32,
    pitch: i32,
    splits: i32,
    scale: f32,
}

/// What heads are like.
#[derive(Clone, Copy)]
struct Attending {
    size: usize,
    value: usize,
    shared: bool,
    kv_heads: usize,
    group: usize,
    scale: f32,
}

impl Cuda {
    /// The kernel for heads, compiled when it is first needed.
    fn attention(&self, heads: Attending, many: bool) -> Result<(Shape, CudaFunction), ForwardError> {
        let fits = |shape: &Shape| shape.memory() <= self.shared;
        let shape = Shape::all(heads.size, heads.value, heads.shared, many).into_iter().find(fits);
        let shape = shape.ok_or_else(|| ForwardError::Device(format!("heads of {} are too large", heads.size)))?;
        if let Some(kernel) = self.attention.borrow().get(&shape) {
            return Ok((shape, kernel.clone()));
        }
        let failed = |error: library::Lack| ForwardError::Device(error.to_string());
        let image = library::image(ATTEND, &shape.options(), &self.architecture, self.driver).map_err(failed)?;
        let module = self.stream.context().load_module(Ptx::from_binary(image)).map_err(device_failed)?;
        let kernel = module.load_function("attend").map_err(device_failed)?;
        self.attention.borrow_mut().insert(shape, kernel.clone());
        Ok((shape, kernel))
    }

    pub(super) fn attend_with_groups(
        &self,
        step: &Step,
        qkv: &Buffer,
        rule: &Grouped<CudaSlice<f32>>,
        cache: &Cache,
        out: &Buffer,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let (heads, kv_heads, size) = (rule.heads, rule.kv_heads, rule.size);
        if !size.is_multiple_of(8) {
            return Err(ForwardError::Device(format!("heads of {size} numbers, where multiples of 8 are supported")));
        }
        let mut work = self.work.borrow_mut();
        let queries = self.room(&mut work.queries, step.n * heads * size)?;
        let shape = launch::Shape { blocks: (step.n, (heads + 2 * kv_heads).div_ceil(4), 1), threads: 128, shared: 0 };
        let (slots, angles) = (self.addresses(step).slots, step.angles.as_ref().map_or(0, |angles| self.at(angles)));
        launch!(
            self,
            self.kernel("turn_grouped")?,
            shape,
            self.at(&qkv.values),
            int(qkv.width),
            int(heads),
            int(kv_heads),
            int(size),
            self.at(&rule.norms.0),
            self.at(&rule.norms.1),
            rule.epsilon,
            angles,
            step.neighbours,
            slots,
            queries,
            self.at(&cache.rows),
            int(cache.width)
        )?;
        let group = heads / kv_heads;
        let attending = Attending { size, value: size, shared: false, kv_heads, group, scale: rule.scale };
        self.attend(step, work, attending, cache, self.planes(out))
    }

    pub(super) fn attend_to_latents(
        &self,
        step: &Step,
        (q, kv): (&Buffer, &Buffer),
        kv_b: &Matrix,
        rule: &Latent<CudaSlice<f32>>,
        cache: &Cache,
        out: &Buffer,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let Latent { heads, content, turned, value, rank, first, epsilon, scale, .. } = *rule;
        let (n, wide, each) = (step.n, rank + turned, content + value);
        if !wide.is_multiple_of(8) || !rank.is_multiple_of(8) {
            return Err(ForwardError::Device(format!(
                "latents of {rank} and {turned} numbers, where multiples of 8 are"
            )));
        }
        let mut work = self.work.borrow_mut();
        let queries = self.room(&mut work.queries, n * heads * wide)?;
        let (slots, angles) = (self.addresses(step).slots, step.angles.as_ref().map_or(0, |angles| self.at(angles)));
        let shape = launch::Shape { blocks: (n, 1, 1), threads: 256, shared: 0 };
        launch!(
            self,
            self.kernel("turn_latent")?,
            shape,
            self.at(&q.values),
            int(q.width),
            self.at(&kv.values),
            int(kv.width),
            int(first),
            int(heads),
            int(content),
            int(turned),
            int(rank),
            self.at(&rule.norm),
            epsilon,
            angles,
            step.neighbours,
            slots,
            queries,
            self.at(&cache.rows),
            int(cache.width)
        )?;
        let shape = launch::Shape {
            blocks: (heads, rank.div_ceil(128), n.div_ceil(4)),
            threads: 128,
            shared: 4 * (128 * 32 + 4 * content),
        };
        launch!(
            self,
            self.kernel("absorb")?,
            shape,
            self.argument(kv_b),
            self.at(&q.values),
            int(q.width),
            int(n),
            int(content),
            int(turned),
            int(each),
            int(heads),
            queries
        )?;
        let pitch = (heads * rank).next_multiple_of(64);
        // Products read whole chunks, past the end of the last head too.
        let mixed = self.room(&mut work.mixed, 2 * n * pitch + 64)?;
        let mixed = Planes { at: mixed, pitch: int(pitch), low: i64::try_from(n * pitch).unwrap_or(i64::MAX) };
        let attending = Attending { size: wide, value: rank, shared: true, kv_heads: 1, group: heads, scale };
        self.attend(step, work, attending, cache, mixed)?;
        let heads = Heads { heads, value, each, skip: content };
        let outputs = Outputs { values: 0, width: 0, planes: self.planes(out) };
        self.map_few(n, mixed, kv_b, outputs, heads)
    }

    /// Attends with the queries that lie ready.
    fn attend(
        &self,
        step: &Step,
        mut work: RefMut<'_, Work>,
        heads: Attending,
        cache: &Cache,
        out: Planes,
    ) -> Result<(), ForwardError> {
        let Attending { value, kv_heads, group, scale, .. } = heads;
        let (shape, kernel) = self.attention(heads, !step.single)?;
        let tiles = group.div_ceil(shape.heads());
        let (tasks, count) = if step.single { (0, step.n * tiles) } else { self.tasks(step, shape.heads(), group)? };
        // Few sequences: their contexts are shared among the multiprocessors.
        let blocks = count * kv_heads;
        let splits = if step.single { (2 * self.processors).div_ceil(blocks.max(1)).clamp(1, 64) } else { 1 };
        let partial = self.room(&mut work.partial, blocks * splits * shape.heads() * (value + 2))?;
        let counters = self.room(&mut work.counters, blocks.max(1 << 12))?;
        let addresses = self.addresses(step);
        let queries = work.queries.as_ref().map_or(0, |queries| self.at(queries));
        let arguments = Attention {
            queries,
            cache: self.at(&cache.rows),
            sequences: addresses.sequences,
            blocks: addresses.blocks,
            tasks,
            partial: if splits > 1 { partial } else { 0 },
            counters,
            out: out.at,
            low: out.low,
            cache_width: int(cache.width),
            kv_heads: int(kv_heads),
            group: int(group),
            tiles: int(tiles),
            values: int(kv_heads * value),
            pitch: out.pitch,
            splits: int(splits),
            scale,
        };
        let threads = 32 * shape.rows * shape.parts;
        let launched = launch::Shape { blocks: (count, kv_heads, splits), threads, shared: shape.memory() };
        launch!(self, &kernel, launched, arguments)
    }
}
