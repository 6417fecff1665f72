//! Choosing experts, and running them.

use std::mem::size_of;

use cudarc::driver::CudaSlice;

use super::launch::{Shape, launch};
use super::linear::{SHARING, gathering, tiles};
use super::memory::{Buffer, Kind, Matrix, MatrixArgument};
use super::step::Step;
use super::{Cuda, Pointer, device_failed, int};
use crate::backend::{Gated, Routing, Scoring};
use crate::models::causal::ForwardError;
use crate::weights::Stored;

/// Tokens up to which one block chooses for all of them.
const AT_ONCE: usize = 8;
/// Tokens that lists have room for at least, so that steps of few tokens find them where they were.
const ROOM: usize = 32;
/// Times 16 rows of `down` that a block takes.
const EACH: usize = 2;
/// Tokens up to which experts' weights are read by blocks of 16 rows; beyond, tokens are many enough for large tiles.
const FEW: usize = 128;
/// Pairs of a large tile.
const TILE: usize = 128;
/// Bytes of shared memory of the kernels with large tiles: four steps of 128 and 256 lines of 40 numbers.
const LARGE: usize = 4 * (128 + 256) * 40 * 2;

/// A router.
pub(crate) struct Router {
    matrix: Matrix,
    /// What the matrix leaves; nothing where its numbers have 8 bits of fraction, as those of most checkpoints.
    low: Option<CudaSlice<u8>>,
    bias: Option<CudaSlice<f32>>,
    rule: Routing,
    /// Tokens that each expert ever got.
    pub(super) load: CudaSlice<u64>,
}

/// Pairs of tokens and experts by expert: see `Lists` in `route.cu`.
#[derive(Default)]
pub(super) struct Lists {
    order: Option<CudaSlice<i32>>,
    starts: Option<CudaSlice<i32>>,
    active: Option<CudaSlice<i32>>,
    tiles: Option<CudaSlice<i32>>,
    counts: Option<CudaSlice<i32>>,
}

/// The chosen experts of each token.
pub(crate) struct Choices {
    k: usize,
    chosen: Option<CudaSlice<i32>>,
    weights: Option<CudaSlice<f32>>,
    lists: Lists,
}

impl Choices {
    pub(super) fn new(k: usize) -> Self {
        Self { k, chosen: None, weights: None, lists: Lists::default() }
    }
}

/// A layer's blocks as kernels take them: `[experts and the shared one]`.
pub(super) struct Table {
    /// What is in `own`: weights that took the place of others have another table.
    bytes: Vec<u8>,
    own: CudaSlice<u8>,
    /// The same as bfloat16 in [`super::Work::spread`], from where on it was made for.
    spread: Option<(Pointer, CudaSlice<u8>)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ListsArgument {
    order: Pointer,
    starts: Pointer,
    active: Pointer,
    tiles: Pointer,
    counts: Pointer,
    load: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RoutingArgument {
    experts: i32,
    chosen: i32,
    groups: i32,
    allowed: i32,
    sigmoid: i32,
    normalised: i32,
    factor: f32,
    unused: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Pairs {
    experts: Pointer,
    order: Pointer,
    starts: Pointer,
    active: Pointer,
    tiles: Pointer,
    counts: Pointer,
    weights: Pointer,
    n: i32,
    chosen: i32,
    number: i32,
    shared: i32,
}

impl Cuda {
    pub(super) fn new_router(
        &self,
        weight: &Stored,
        bias: Option<&[f32]>,
        rule: Routing,
    ) -> Result<Router, ForwardError> {
        if rule.experts > 512 || rule.chosen > 32 {
            let what = format!("{} of {} experts, where at most 32 of 512 are supported", rule.chosen, rule.experts);
            return Err(ForwardError::Device(what));
        }
        let (matrix, low) = self.upload_exactly(weight)?;
        let bias = bias.map(|bias| self.copied(bias)).transpose()?;
        let load = self.zeros(rule.experts)?;
        self.stream.synchronize().map_err(device_failed)?;
        Ok(Router { matrix, low, bias, rule, load })
    }

    /// Lists with room for `n` tokens that go to `k` of `experts`.
    fn lists(
        &self,
        lists: &mut Lists,
        n: usize,
        k: usize,
        experts: usize,
        load: Pointer,
    ) -> Result<ListsArgument, ForwardError> {
        let pairs = n * (k + 1);
        Ok(ListsArgument {
            order: self.room(&mut lists.order, pairs)?,
            starts: self.room(&mut lists.starts, experts + 2)?,
            active: self.room(&mut lists.active, experts + 1)?,
            tiles: self.room(&mut lists.tiles, 2 * (pairs / TILE + experts + 2))?,
            counts: self.room(&mut lists.counts, 2)?,
            load,
        })
    }

    pub(super) fn choose_experts(
        &self,
        step: &Step,
        x: &Buffer,
        router: &mut Router,
        choices: &mut Choices,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let (n, rule) = (step.n, &router.rule);
        let (k, experts) = (rule.chosen, rule.experts);
        choices.k = k;
        let chosen = self.room(&mut choices.chosen, n.max(ROOM) * k)?;
        let weights = self.room(&mut choices.weights, n.max(ROOM) * k)?;
        let lists = self.lists(&mut choices.lists, n.max(ROOM), k, experts, self.at(&router.load))?;
        let argument = RoutingArgument {
            experts: int(experts),
            chosen: int(k),
            groups: int(rule.groups.0),
            allowed: int(rule.groups.1),
            sigmoid: i32::from(rule.scoring == Scoring::Sigmoid),
            normalised: i32::from(rule.normalised),
            factor: rule.factor,
            unused: 0,
        };
        let finish = n <= AT_ONCE;
        let parts = if finish { 4 } else { 1 };
        let tiles = if n <= 8 { 1 } else { 4 };
        let mut work = self.work.borrow_mut();
        let scores = self.room(&mut work.scores, parts * n.max(ROOM) * experts)?;
        let counter = self.room(&mut work.counters, 1 << 12)?;
        let (planes, bias) = (self.planes(x), router.bias.as_ref().map_or(0, |bias| self.at(bias)));
        let count = self.addresses(step).count;
        let choosing = SHARING / 32 * (2 * experts + rule.groups.0) * size_of::<f32>();
        let sorting = (2 * experts + 2) * size_of::<i32>();
        let blocks = (experts.div_ceil(16), parts, n.div_ceil(8 * tiles));
        let shape = Shape { blocks, threads: SHARING, shared: gathering(SHARING, tiles).max(choosing).max(sorting) };
        launch!(
            self,
            self.kernel(&format!("route_{tiles}"))?,
            shape,
            self.argument(&router.matrix),
            router.low.as_ref().map_or(0, |low| self.at(low)),
            planes.at,
            planes.pitch,
            planes.low,
            int(n),
            scores,
            argument,
            bias,
            chosen,
            weights,
            count,
            lists,
            counter,
            i32::from(finish)
        )?;
        if finish {
            return Ok(());
        }
        let shape = Shape { blocks: (n.div_ceil(SHARING / 32), 1, 1), threads: SHARING, shared: choosing };
        launch!(self, self.kernel("choose_many")?, shape, argument, scores, int(n), bias, chosen, weights)?;
        let shape = Shape { blocks: (1, 1, 1), threads: 1024, shared: sorting };
        launch!(self, self.kernel("sort")?, shape, chosen, count, int(n), int(k), int(experts), lists)
    }

    /// See [`crate::backend::Backend::feed_forward`].
    pub(super) fn run_experts(
        &self,
        step: &Step,
        x: &Buffer,
        chosen: Option<(&Choices, &[Gated<Matrix>])>,
        shared: Option<&Gated<Matrix>>,
        out: &Buffer,
    ) -> Result<(), ForwardError> {
        let experts = chosen.map_or(&[][..], |(_, experts)| experts);
        let k = chosen.map_or(0, |(choices, _)| choices.k);
        out.parts.set(k + usize::from(shared.is_some()));
        if step.replays() {
            return Ok(());
        }
        let n = step.n;
        let blocks = || experts.iter().chain(shared);
        let inner = blocks().map(|block| block.gate.rows).max().unwrap_or(0);
        let pitch = inner.next_multiple_of(64);
        let routed = same_kinds(experts)?;
        let alone = same_kinds(shared.map_or(&[][..], std::slice::from_ref))?;
        let table = self.table(experts, shared)?;
        let (order, starts, active, tile_list, counts, weights) = match chosen {
            Some((choices, _)) => {
                let of = |list: &Option<CudaSlice<i32>>| list.as_ref().map_or(0, |list| self.at(list));
                let lists = &choices.lists;
                let weights = choices.weights.as_ref().map_or(0, |weights| self.at(weights));
                (of(&lists.order), of(&lists.starts), of(&lists.active), of(&lists.tiles), of(&lists.counts), weights)
            }
            None => {
                let mut work = self.work.borrow_mut();
                let lists = self.lists(&mut work.lists, n.max(ROOM), 0, 0, 0)?;
                let shape = Shape { blocks: (1, 1, 1), threads: 256, shared: 64 };
                let count = self.addresses(step).count;
                launch!(self, self.kernel("sort")?, shape, 0u64, count, int(n), 0i32, 0i32, lists)?;
                (lists.order, lists.starts, lists.active, lists.tiles, lists.counts, 0)
            }
        };
        let mut pairs = Pairs {
            experts: table,
            order,
            starts,
            active,
            tiles: tile_list,
            counts,
            weights,
            n: int(n),
            chosen: int(k),
            number: int(experts.len()),
            shared: i32::from(shared.is_some()),
        };
        let all = n * (k + 1);
        let (inner_at, parts) = {
            let mut work = self.work.borrow_mut();
            let inner = self.room(&mut work.inner, 2 * all.max(ROOM * (k + 1)) * pitch + 64)?;
            (inner, self.room(&mut work.parts, (k + 1) * n.max(ROOM) * out.width)?)
        };
        let low = i64::try_from(all * pitch).unwrap_or(i64::MAX);
        let planes = self.planes(x);
        if n > FEW {
            let quantised = blocks().any(|block| block.gate.kind != Kind::Bf16 || block.down.kind != Kind::Bf16);
            if quantised {
                pairs.experts = self.spread_table(experts, shared, table)?;
            }
            let most = n * k / TILE + n.div_ceil(TILE) + experts.len();
            let shape = |rows: usize| Shape { blocks: (most, rows, 1), threads: 256, shared: LARGE };
            let (up, down) = (self.kernel("grouped_up")?, self.kernel("grouped_down")?);
            launch!(self, up, shape(inner.div_ceil(128)), pairs, planes.at, planes.pitch, inner_at, int(pitch))?;
            let shape = shape(out.width.div_ceil(256));
            return launch!(self, down, shape, pairs, inner_at, int(pitch), parts, int(out.width));
        }
        let tiles = tiles(n).min(2);
        // One launch where all blocks have one format; otherwise the shared one goes by itself.
        let together = routed.is_none() || alone.is_none() || routed == alone;
        let places = (n * k).min(experts.len());
        let mut runs = Vec::new();
        match (routed.or(alone), alone) {
            (Some(kinds), _) if together => {
                runs.push((kinds, places + usize::from(shared.is_some()), shared.is_some()))
            }
            (Some(kinds), Some(others)) => runs.extend([(kinds, places, false), (others, 1, true)]),
            _ => {}
        }
        for &((kind, _), places, with_shared) in &runs {
            pairs.shared = i32::from(with_shared);
            let kernel = self.kernel_for("experts_up", kind, tiles)?;
            let shape = Shape {
                blocks: (inner.div_ceil(16), places, 1),
                threads: SHARING,
                shared: 2 * gathering(SHARING, tiles),
            };
            launch!(self, kernel, shape, pairs, planes.at, planes.pitch, planes.low, inner_at, int(pitch), low)?;
        }
        for ((_, kind), places, with_shared) in runs {
            pairs.shared = i32::from(with_shared);
            let kernel = self.kernel_for("experts_down", kind, tiles)?;
            let shape = Shape {
                blocks: (out.width.div_ceil(16 * EACH), places, 1),
                threads: SHARING,
                shared: gathering(SHARING, tiles),
            };
            launch!(self, kernel, shape, pairs, inner_at, int(pitch), low, parts, int(out.width), int(EACH))?;
        }
        Ok(())
    }

    /// The table of a layer's blocks, made when they first run. The place of the first weights names the layer.
    fn table(&self, experts: &[Gated<Matrix>], shared: Option<&Gated<Matrix>>) -> Result<Pointer, ForwardError> {
        let key = key(self, experts, shared);
        let mut tables = self.tables.borrow_mut();
        let mut bytes = Vec::with_capacity(3 * (experts.len() + 1) * size_of::<MatrixArgument>());
        for block in experts.iter().chain(shared) {
            [&block.gate, &block.up, &block.down]
                .iter()
                .for_each(|matrix| add_bytes(&self.argument(matrix), &mut bytes));
        }
        if let Some(table) = tables.get(&key).filter(|table| table.bytes == bytes) {
            return Ok(self.at(&table.own));
        }
        let own = self.copied(&bytes)?;
        self.stream.synchronize().map_err(device_failed)?;
        let at = self.at(&own);
        self.moved();
        tables.insert(key, Table { bytes, own, spread: None });
        Ok(at)
    }

    /// A table of the same blocks as bfloat16, which this fills.
    fn spread_table(
        &self,
        experts: &[Gated<Matrix>],
        shared: Option<&Gated<Matrix>>,
        own: Pointer,
    ) -> Result<Pointer, ForwardError> {
        let blocks = || experts.iter().chain(shared).flat_map(|block| [&block.gate, &block.up, &block.down]);
        let pitch = |matrix: &Matrix| matrix.columns.next_multiple_of(64);
        let numbers = blocks().map(|matrix| matrix.rows * pitch(matrix)).sum();
        let base = self.room(&mut self.work.borrow_mut().spread, numbers)?;
        let mut tables = self.tables.borrow_mut();
        let table = tables.get_mut(&key(self, experts, shared));
        let table = table.ok_or_else(|| ForwardError::Device("a layer has no table".to_owned()))?;
        let to = match &table.spread {
            Some((known, spread)) if *known == base => self.at(spread),
            _ => {
                let mut place = base;
                let mut bytes = Vec::new();
                for matrix in blocks() {
                    let size = 2 * pitch(matrix);
                    let wide = i64::try_from(size).unwrap_or(i64::MAX);
                    let argument = MatrixArgument {
                        codes: place,
                        scales: 0,
                        zeros: 0,
                        pitch: wide,
                        format: 0,
                        ..self.argument(matrix)
                    };
                    add_bytes(&argument, &mut bytes);
                    place += (matrix.rows * size) as Pointer;
                }
                let spread = self.copied(&bytes)?;
                self.stream.synchronize().map_err(device_failed)?;
                let at = self.at(&spread);
                table.spread = Some((base, spread));
                at
            }
        };
        let rows = blocks().map(|matrix| matrix.rows).max().unwrap_or(0);
        let count = experts.len() + usize::from(shared.is_some());
        let shape = Shape { blocks: (rows, count, 3), threads: 128, shared: 0 };
        launch!(self, self.kernel("spread_experts")?, shape, own, to)?;
        Ok(to)
    }
}

fn key(device: &Cuda, experts: &[Gated<Matrix>], shared: Option<&Gated<Matrix>>) -> Pointer {
    experts.first().or(shared).map_or(0, |block| device.argument(&block.gate).codes)
}

/// The formats of `gate` with `up`, and of `down`, which all blocks must have in common.
fn same_kinds(blocks: &[Gated<Matrix>]) -> Result<Option<(Kind, Kind)>, ForwardError> {
    let Some(first) = blocks.first() else { return Ok(None) };
    let kinds = (first.gate.kind, first.down.kind);
    let same = |block: &Gated<Matrix>| (block.gate.kind, block.down.kind) == kinds && block.up.kind == kinds.0;
    if blocks.iter().all(same) {
        Ok(Some(kinds))
    } else {
        Err(ForwardError::Device("experts with weights of different formats".to_owned()))
    }
}

fn add_bytes(matrix: &MatrixArgument, bytes: &mut Vec<u8>) {
    let MatrixArgument { codes, scales, zeros, rows, columns, pitch, format, unused } = *matrix;
    [codes, scales, zeros].iter().for_each(|address| bytes.extend(address.to_ne_bytes()));
    [rows, columns].iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
    bytes.extend(pitch.to_ne_bytes());
    [format, unused].iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
}
