//! Choosing experts, and running them.

use std::mem::size_of;

use cudarc::driver::CudaSlice;

use super::launch::{Shape, launch};
use super::linear::{SHARING, gathering, squares, streaming};
use super::memory::{Buffer, Held, Input, Kind, Matrix, MatrixArgument};
use super::step::Step;
use super::{Cuda, Pointer, device_failed, int};
use crate::backend::{Gated, Routing, Scoring};
use crate::models::causal::ForwardError;
use crate::weights::Stored;

/// Tokens up to which a block takes rows of all experts' second maps.
const AT_ONCE: usize = super::linear::FEW;
/// Tokens up to which one block chooses for all of them.
const CHOOSING: usize = 32;
/// Tokens that lists have room for at least, so that steps of few tokens find them where they were.
const ROOM: usize = 32;
/// Tokens up to which experts' weights are read by rows of 16; beyond, tokens are many enough for large tiles.
const FEW: usize = 128;
/// Bytes that a block keeps of each of its tasks, and of each place of the list: `Task` and `Second` in `experts.cu`.
const TASK: usize = 48;
const SECOND: usize = 32;
/// Inner places of a piece of `down`: `PIECE` in `experts.cu`.
const PIECE: usize = 256;
/// Pairs of a large tile.
const TILE: usize = 128;
/// Bytes of shared memory of the kernels with large tiles: four steps of 128 and 256 lines of 40 numbers.
const LARGE: usize = 4 * (128 + 256) * 40 * 2;
/// The same of those for Hopper: four steps of lines of 64, and what it takes to begin at a multiple of 1,024.
const WIDE: usize = 4 * (128 + 256) * 64 * 2 + 1024;

/// Tiles of eight pairs of an expert that are taken together by so many tokens, up to [`FEW`].
fn tiles_of(n: usize) -> usize {
    if n <= 32 { 1 } else { 2 }
}

/// Pairs of an expert that are taken together.
fn together(n: usize) -> usize {
    if n > FEW { TILE } else { 8 * tiles_of(n) }
}

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
pub(super) struct Pairs {
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
    /// [`CHOSEN`], [`ALL`] or [`SHARED`]; of many tokens, whether there is a shared block.
    shared: i32,
}

/// Which blocks a launch takes: chosen experts, all, or the shared one alone.
const CHOSEN: i32 = 0;
const ALL: i32 = 1;
const SHARED: i32 = 2;

/// What experts will say of up to eight tokens: the second maps, which wait until it is known what they are added to.
#[derive(Clone, Copy)]
pub(super) struct Falling {
    pairs: Pairs,
    inner: Input,
    n: usize,
    /// Chosen experts, and the shared block.
    routed: Option<Second>,
    alone: Option<Second>,
}

/// Second maps: their format, the pieces of their inner places, and one of them without its numbers.
#[derive(Clone, Copy)]
struct Second {
    kind: Kind,
    pieces: usize,
    form: MatrixArgument,
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
            tiles: self.room(&mut lists.tiles, 2 * (pairs / together(n) + experts + 2))?,
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
        let finish = n <= CHOOSING;
        let parts = if finish { 4 } else { 1 };
        let planes = self.planes(x);
        let (buffer, mut x) = (x, self.input(x));
        let normed = x.normed();
        if normed {
            // What it reads of tokens is noted for the experts.
            (x.planes, x.low, x.pitch) = (planes.at, planes.low, planes.pitch);
        }
        let (form, tiles) = match (normed, n) {
            (true, _) => ("route_normed", 1),
            (false, 0..=8) => ("route_1", 1),
            _ => ("route_4", 4),
        };
        let mut work = self.work.borrow_mut();
        // Behind the scores lie each token's squares.
        let scores = self.room(&mut work.scores, parts * n.max(ROOM) * (experts + 1))?;
        if normed {
            let squares = scores + (4 * parts * n * experts) as Pointer;
            buffer.held.set(Held::Normed(Input { squares, parts: int(parts), ..x }));
        }
        let counter = self.room(&mut work.counters, 1 << 12)?;
        let bias = router.bias.as_ref().map_or(0, |bias| self.at(bias));
        let count = self.addresses(step).count;
        let choosing = SHARING / 32 * (2 * experts + rule.groups.0) * size_of::<f32>();
        let sorting = (2 * experts + 2) * size_of::<i32>();
        let blocks = (experts.div_ceil(16), parts, n.div_ceil(8 * tiles));
        let bringing = gathering(SHARING, tiles) + squares(SHARING);
        let shape = Shape { blocks, threads: SHARING, shared: bringing.max(choosing).max(sorting) };
        launch!(
            self,
            self.kernel(form)?,
            shape,
            self.argument(&router.matrix),
            router.low.as_ref().map_or(0, |low| self.at(low)),
            x,
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
        launch!(self, self.kernel("sort")?, shape, chosen, count, int(n), int(k), int(experts), int(together(n)), lists)
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
                launch!(self, self.kernel("sort")?, shape, 0u64, count, int(n), 0i32, 0i32, int(together(n)), lists)?;
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
        if matches!(x.held.get(), Held::Normed(input) if input.squares == 0) {
            self.settle_norm(n, x)?;
        }
        let input = self.input(x);
        out.held.set(Held::Parts(k + usize::from(shared.is_some())));
        if n > FEW {
            let quantised =
                blocks().any(|block| !block.gate.kind.begins_as_bf16() || !block.down.kind.begins_as_bf16());
            if quantised {
                pairs.experts = self.spread_table(experts, shared, table)?;
            }
            let most = n * k / TILE + n.div_ceil(TILE) + experts.len();
            let (up, down, shared) = match (self.kernel("wide_up"), self.kernel("wide_down")) {
                (Ok(up), Ok(down)) => (up, down, WIDE),
                _ => (self.kernel("grouped_up")?, self.kernel("grouped_down")?, LARGE),
            };
            let shape = |rows: usize| Shape { blocks: (most, rows, 1), threads: 256, shared };
            launch!(self, up, shape(inner.div_ceil(128)), pairs, input.planes, input.pitch, inner_at, int(pitch))?;
            let shape = shape(out.width.div_ceil(256));
            return launch!(self, down, shape, pairs, inner_at, int(pitch), parts, int(out.width));
        }
        // One launch where all blocks have one format; otherwise the shared one goes by itself.
        let same = routed.is_none() || alone.is_none() || routed == alone;
        let cap = together(n);
        let places = ((n * k).min(experts.len()) + n * k / cap, n.div_ceil(cap));
        let first =
            |blocks: &'_ [Gated<Matrix>]| blocks.first().map(|block| (self.form(&block.gate), self.form(&block.down)));
        let (of_routed, of_alone) = (first(experts), first(shared.map_or(&[][..], std::slice::from_ref)));
        let mut runs = Vec::new();
        match (routed.zip(of_routed), alone.zip(of_alone)) {
            (Some((kinds, forms)), None) => runs.push((kinds, forms, places.0, CHOSEN)),
            (None, Some((kinds, forms))) => runs.push((kinds, forms, places.1, SHARED)),
            (Some((kinds, forms)), Some(_)) if same => runs.push((kinds, forms, places.0 + places.1, ALL)),
            (Some((kinds, forms)), Some((others, form))) => {
                runs.extend([(kinds, forms, places.0, CHOSEN), (others, form, places.1, SHARED)]);
            }
            (None, None) => {}
        }
        let tiles = tiles_of(n);
        let over = inner.div_ceil(16);
        for &((kind, _), (first, _), places, which) in &runs {
            pairs.shared = which;
            let kernel = self.kernel_for("experts_up", kind, tiles)?;
            let fixed = streaming(SHARING) + 2 * gathering(SHARING, tiles) + 8 * tiles * size_of::<f32>();
            let blocks = (places * over).min(self.at_once(kind, tiles, fixed + (1 << 10)));
            let shape = Shape {
                blocks: (blocks, 1, 1),
                threads: SHARING,
                shared: fixed + TASK * (places * over).div_ceil(blocks.max(1)),
            };
            launch!(self, kernel, shape, pairs, input, inner_at, int(pitch), low, first, int(over))?;
        }
        let said = Input { planes: inner_at, low, pitch: int(pitch), ..Input::default() };
        if n <= AT_ONCE {
            let second = |blocks: &[Gated<Matrix>]| {
                blocks.first().map(|Gated { down, .. }| Second {
                    kind: down.kind,
                    pieces: down.columns.div_ceil(PIECE),
                    form: self.form(down),
                })
            };
            let alone = shared.map_or(&[][..], std::slice::from_ref);
            let falling = Falling { pairs, inner: said, n, routed: second(experts), alone: second(alone) };
            out.held.set(Held::Said(falling));
            return Ok(());
        }
        for ((_, kind), (_, first), places, which) in runs {
            pairs.shared = which;
            let kernel = self.kernel_for("experts_down", kind, tiles)?;
            let shared = streaming(SHARING) + SECOND * places;
            let tasks = (places * out.width.div_ceil(16)).div_ceil(SHARING / 32);
            let shape =
                Shape { blocks: (tasks.min(self.at_once(kind, tiles, shared)), 1, 1), threads: SHARING, shared };
            launch!(self, kernel, shape, pairs, said, parts, int(out.width), first)?;
        }
        Ok(())
    }

    /// A matrix without its numbers.
    fn form(&self, matrix: &Matrix) -> MatrixArgument {
        MatrixArgument { codes: 0, scales: 0, ..self.argument(matrix) }
    }

    /// Blocks with so many bytes of shared memory that stay on the GPU: as many as run at once. `experts.cu` says how many
    /// registers they leave each other.
    fn at_once(&self, kind: Kind, tiles: usize, shared: usize) -> usize {
        let most = if tiles == 1 && matches!(kind, Kind::Bf16 | Kind::Int8) { 3 } else { 2 };
        self.processors * (self.shared / (shared + (1 << 10))).clamp(1, most)
    }

    /// Runs the second maps of experts that waited: to rows so wide, or added to them.
    pub(super) fn fall(
        &self,
        falling: &Falling,
        (out, width): (Pointer, usize),
        add: bool,
    ) -> Result<(), ForwardError> {
        let &Falling { pairs, inner, n, routed, alone } = falling;
        let places = usize::try_from(pairs.chosen).unwrap_or(0) + 1;
        // One launch where both have one format.
        let runs = match (routed, alone) {
            (Some(routed), Some(alone)) if routed.kind != alone.kind => {
                vec![(Some(routed), None, add), (None, Some(alone), true)]
            }
            _ => vec![(routed, alone, add)],
        };
        for (routed, alone, add) in runs {
            let Some(Second { kind, form, .. }) = routed.or(alone) else { continue };
            let pieces = |which: Option<Second>| which.map_or(0, |second| second.pieces);
            let form_of = |which: Option<Second>| which.map_or(form, |second| second.form);
            let (of_routed, of_alone) = (form_of(routed), form_of(alone));
            let (routed, alone) = (pieces(routed), pieces(alone));
            // What pieces say, pairs and their weights, and the experts.
            let room = n * places * (routed.max(alone) * 16 + 2) * size_of::<f32>() + (n * places + 1) * SECOND;
            let fits = |threads: &usize| streaming(*threads) + room <= self.shared;
            let threads = [3 * SHARING, 2 * SHARING, SHARING].into_iter().find(fits).unwrap_or(SHARING / 2);
            let shape = Shape { blocks: (width.div_ceil(16), 1, 1), threads, shared: streaming(threads) + room };
            let kernel = self.kernel_for("experts_down", kind, "few")?;
            let (add, routed, alone) = (i32::from(add), int(routed), int(alone));
            launch!(self, kernel, shape, pairs, inner, out, int(width), add, routed, alone, of_routed, of_alone)?;
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
                    let argument =
                        MatrixArgument { codes: place, scales: 0, pitch: wide, format: 0, ..self.argument(matrix) };
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
    let MatrixArgument { codes, scales, rows, columns, pitch, format, unused } = *matrix;
    [codes, scales].iter().for_each(|address| bytes.extend(address.to_ne_bytes()));
    [rows, columns].iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
    bytes.extend(pitch.to_ne_bytes());
    [format, unused].iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
}
