//! Attention: grouped heads, and latents.

use std::cell::RefMut;

use cudarc::driver::{CudaFunction, CudaSlice};
use cudarc::nvrtc::Ptx;

use super::launch::{self, launch};
use super::library::{self, ATTEND};
use super::linear::{EXACT, Heads, Output};
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
    /// Planes of queries and of the weights of the mix.
    planes: usize,
    /// Planes of the cache.
    cached: usize,
    /// Whether the kernel makes the new token's heads ready.
    fresh: bool,
}

impl Shape {
    /// The shapes that may do for heads of `size` and values of `value`, the best first; `many` where sequences have more
    /// than one new token, `exact` where queries and weights are to be kept in two planes, `cached` planes of the cache.
    pub(super) fn all(
        (size, value, shared): (usize, usize, bool),
        (many, exact): (bool, bool),
        cached: usize,
    ) -> Vec<Self> {
        let (planes, fresh) = (1 + usize::from(exact), !many && !shared);
        let ways: &[(usize, usize, usize)] = match (shared, many) {
            (false, true) => &[(8, 1, 64), (4, 1, 64), (4, 1, 32), (1, 2, 32)],
            (false, false) => &[(1, 4, 64), (1, 2, 32)],
            (true, true) => &[(4, 2, 32), (2, 2, 32), (1, 2, 32)],
            (true, false) => &[(1, 4, 64), (1, 2, 32)],
        };
        ways.iter()
            .map(|&(rows, parts, tile)| Self { size, value, rows, parts, tile, shared, planes, cached, fresh })
            .collect()
    }

    /// The compiler's options.
    pub(super) fn options(&self) -> Vec<String> {
        let Self { size, value, rows, parts, tile, shared, planes, cached, fresh } = *self;
        let all = [("SIZE", size), ("VALUE", value), ("ROWS", rows), ("PARTS", parts), ("TILE", tile)];
        let ways =
            [("SHARED", usize::from(shared)), ("PLANES", planes), ("CACHED", cached), ("FRESH", usize::from(fresh))];
        all.into_iter().chain(ways).map(|(name, number)| format!("-D{name}={number}")).collect()
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
        let planes = self.planes * (self.heads() * (key + 8) + weights);
        2 * (planes + self.cached * (2 * self.tile * key_line + values)) + 8 * self.parts * self.heads()
    }
}

/// New heads as a product left them: see `Fresh` in `attend.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Fresh {
    qkv: Pointer,
    q_weight: Pointer,
    k_weight: Pointer,
    angles: Pointer,
    slots: Pointer,
    width: i32,
    neighbours: i32,
    epsilon: f32,
    unused: i32,
}

/// The kernel's arguments: see `Attention` in `attend.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attention {
    queries: Pointer,
    queries_low: i64,
    cache: Pointer,
    sequences: Pointer,
    blocks: Pointer,
    tasks: Pointer,
    partial: Pointer,
    counters: Pointer,
    out: Pointer,
    low: i64,
    cache_width: i32,
    cache_low: i32,
    kv_heads: i32,
    group: i32,
    tiles: i32,
    values: i32,
    pitch: i32,
    splits: i32,
    scale: f32,
    unused: i32,
    fresh: Fresh,
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
    fn attention(
        &self,
        heads: Attending,
        ways: (bool, bool),
        cached: usize,
    ) -> Result<(Shape, CudaFunction), ForwardError> {
        // The kernel has a little of its own.
        let fits = |shape: &Shape| shape.memory() + (4 << 10) <= self.shared;
        let shape = Shape::all((heads.size, heads.value, heads.shared), ways, cached).into_iter().find(fits);
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
        self.settle(qkv)?;
        let (slots, angles) = (self.addresses(step).slots, step.angles.as_ref().map_or(0, |angles| self.at(angles)));
        let fresh = Fresh {
            qkv: self.at(&qkv.values),
            q_weight: self.at(&rule.norms.0),
            k_weight: self.at(&rule.norms.1),
            angles,
            slots,
            width: int(qkv.width),
            neighbours: step.neighbours,
            epsilon: rule.epsilon,
            unused: 0,
        };
        let group = heads / kv_heads;
        let attending = Attending { size, value: size, shared: false, kv_heads, group, scale: rule.scale };
        let mut work = self.work.borrow_mut();
        if step.single {
            return self.attend(step, work, (attending, fresh), cache, self.planes(out));
        }
        let (cache_width, cache_low) = cache.strides();
        let numbers = step.n * heads * size;
        let queries = self.room(&mut work.queries, 2 * numbers)?;
        let shape = launch::Shape { blocks: (step.n, (heads + 2 * kv_heads).div_ceil(4), 1), threads: 128, shared: 0 };
        launch!(
            self,
            self.kernel("turn_grouped")?,
            shape,
            fresh.qkv,
            fresh.width,
            int(heads),
            int(kv_heads),
            int(size),
            fresh.q_weight,
            fresh.k_weight,
            fresh.epsilon,
            angles,
            step.neighbours,
            slots,
            queries,
            low_plane(numbers),
            self.at(&cache.rows),
            cache_width,
            cache_low
        )?;
        self.attend(step, work, (attending, Fresh::default()), cache, self.planes(out))
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
        self.settle(q)?;
        self.settle(kv)?;
        let mut work = self.work.borrow_mut();
        let (cache_width, cache_low) = cache.strides();
        let low = low_plane(n * heads * wide);
        let queries = self.room(&mut work.queries, 2 * n * heads * wide)?;
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
            low,
            self.at(&cache.rows),
            cache_width,
            cache_low
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
            queries,
            low
        )?;
        let pitch = (heads * rank).next_multiple_of(64);
        // Products read whole chunks, past the end of the last head too.
        let mixed = self.room(&mut work.mixed, 2 * n * pitch + 64)?;
        let mixed = Planes { at: mixed, pitch: int(pitch), low: i64::try_from(n * pitch).unwrap_or(i64::MAX) };
        let attending = Attending { size: wide, value: rank, shared: true, kv_heads: 1, group: heads, scale };
        self.attend(step, work, (attending, Fresh::default()), cache, mixed)?;
        let heads = Heads { heads, value, each, skip: content };
        self.map_few(n, mixed.into(), kv_b, Output::planes(self.planes(out)), heads)
    }

    /// Attends with the queries that lie ready, or with fresh heads.
    fn attend(
        &self,
        step: &Step,
        mut work: RefMut<'_, Work>,
        (heads, fresh): (Attending, Fresh),
        cache: &Cache,
        out: Planes,
    ) -> Result<(), ForwardError> {
        let Attending { size, value, kv_heads, group, scale, .. } = heads;
        let (shape, kernel) = self.attention(heads, (!step.single, step.single || step.n <= EXACT), cache.planes)?;
        let (cache_width, cache_low) = cache.strides();
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
            queries_low: low_plane(step.n * kv_heads * group * size),
            cache: self.at(&cache.rows),
            sequences: addresses.sequences,
            blocks: addresses.blocks,
            tasks,
            partial: if splits > 1 { partial } else { 0 },
            counters,
            out: out.at,
            low: out.low,
            cache_width,
            cache_low,
            kv_heads: int(kv_heads),
            group: int(group),
            tiles: int(tiles),
            values: int(kv_heads * value),
            pitch: out.pitch,
            splits: int(splits),
            scale,
            unused: 0,
            fresh,
        };
        let threads = 32 * shape.rows * shape.parts;
        let launched = launch::Shape { blocks: (count, kv_heads, splits), threads, shared: shape.memory() };
        launch!(self, &kernel, launched, arguments)
    }
}

/// Numbers from a query of so many numbers to its low plane.
fn low_plane(numbers: usize) -> i64 {
    i64::try_from(numbers).unwrap_or(i64::MAX)
}
