//! Embedding, norms, and linear maps.

use cudarc::driver::CudaSlice;

use super::launch::{Shape, launch};
use super::memory::{Buffer, Held, Input, Kind, Mapping, Matrix, MatrixArgument, Planes};
use super::products::Product;
use super::step::Step;
use super::{Cuda, Pointer, int};
use crate::backend::Adapter;
use crate::models::causal::ForwardError;

/// Tokens up to which weights are read by our own kernels, and norms and sums are part of products: beyond, the library's
/// products are faster.
pub(super) const FEW: usize = 8;
/// Tokens up to which exact and small matrices, of fewer than so many numbers, are read by our own kernels, which know both planes of
/// tokens and every format: it costs nothing there.
pub(super) const EXACT: usize = 128;
const SMALL: usize = 4 << 20;
/// Threads of a block that share the inner places of 16 rows.
pub(super) const SHARING: usize = 256;

/// Bytes of shared memory in which `threads` bring together tiles of eight tokens.
pub(super) fn gathering(threads: usize, tiles: usize) -> usize {
    threads / 32 * tiles * 128 * size_of::<f32>()
}

/// Bytes of shared memory in which `threads` bring together the squares of eight tokens.
pub(super) fn squares(threads: usize) -> usize {
    threads / 32 * 8 * size_of::<f32>()
}

/// Bytes of shared memory that weights take on their way to `threads`: `WAY` in `numbers.cu` for each warp.
pub(super) fn streaming(threads: usize) -> usize {
    threads / 32 * 8192
}

/// Tiles of eight tokens that a kernel takes at once.
pub(super) fn tiles(n: usize) -> usize {
    match n {
        0..=8 => 1,
        9..=16 => 2,
        _ => 4,
    }
}

/// Rows of a head in the matrix that makes values of latents: `value` of every `each` from `skip` on.
#[derive(Clone, Copy, Default)]
pub(super) struct Heads {
    pub(super) heads: usize,
    pub(super) value: usize,
    pub(super) each: usize,
    pub(super) skip: usize,
}

/// Where a linear map writes: see `Output` in `linear.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Output {
    values: Pointer,
    planes: Pointer,
    low: i64,
    width: i32,
    pitch: i32,
    add: i32,
    unused: i32,
}

impl Output {
    /// Rows of `f32` so wide.
    pub(super) fn values(values: Pointer, width: usize, add: bool) -> Self {
        Self { values, width: int(width), add: i32::from(add), ..Self::default() }
    }

    pub(super) fn planes(Planes { at, pitch, low }: Planes) -> Self {
        Self { planes: at, pitch, low, ..Self::default() }
    }
}

impl Cuda {
    pub(super) fn embed_tokens(&self, step: &Step, table: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        out.held.set(Held::Here);
        let shape = Shape { blocks: (step.n, 1, 1), threads: 128, shared: 0 };
        let (tokens, to) = (self.addresses(step).tokens, self.at(&out.values));
        launch!(self, self.kernel("embed")?, shape, self.argument(table), tokens, to, int(out.width))
    }

    /// Root-mean-square norm: see [`crate::backend::Backend::norm`]. Of few tokens whoever reads it takes it on the way.
    pub(super) fn normalise(
        &self,
        step: &Step,
        x: &Buffer,
        add: Option<&Buffer>,
        (weight, epsilon): (&CudaSlice<f32>, f32),
        out: &Buffer,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        self.settle(x)?;
        let add = self.add_to(x, add)?;
        out.held.set(Held::Here);
        if add.is_none() && step.n <= FEW && self.norm_may_wait(x, weight) {
            out.held.set(Held::Normed(self.normed(x, (weight, epsilon))));
            return Ok(());
        }
        self.norm_rows(step.n, (x, add, step.n), (weight, epsilon), (0, add.is_some()), self.planes(out))
    }

    /// Whether products can take the norm of a buffer's rows on their way: they read numbers by fours and eights.
    pub(super) fn norm_may_wait(&self, x: &Buffer, weight: &CudaSlice<f32>) -> bool {
        x.width.is_multiple_of(4) && weight.len().is_multiple_of(8)
    }

    /// The norm of a buffer's rows, for products to take on their way.
    pub(super) fn normed(&self, x: &Buffer, (weight, epsilon): (&CudaSlice<f32>, f32)) -> Input {
        let (values, weight) = (self.at(&x.values), self.at(weight));
        Input { values, weight, width: int(x.width), epsilon, ..Input::default() }
    }

    /// Adds to `x` what waits in `add` to be computed; answers what is left to be added.
    pub(super) fn add_to<'a>(&self, x: &Buffer, add: Option<&'a Buffer>) -> Result<Option<&'a Buffer>, ForwardError> {
        match add {
            Some(add) if matches!(add.held.get(), Held::Mapped(_) | Held::Said(_)) => {
                self.finish_product(add.held.replace(Held::Here), (self.at(&x.values), x.width), true)?;
                Ok(None)
            }
            add => Ok(add),
        }
    }

    /// Computes what waits to be computed, so that the numbers are in the buffer.
    pub(super) fn settle(&self, buffer: &Buffer) -> Result<(), ForwardError> {
        match buffer.held.get() {
            Held::Here | Held::Parts(_) | Held::Normed(_) => Ok(()),
            product => {
                buffer.held.set(Held::Here);
                self.finish_product(product, (self.at(&buffer.values), buffer.width), false)
            }
        }
    }

    fn finish_product(&self, product: Held, (values, width): (Pointer, usize), add: bool) -> Result<(), ForwardError> {
        match product {
            Held::Mapped(mapping) => self.run_mapping(mapping, Output::values(values, width, add)),
            Held::Said(falling) => self.fall(&falling, (values, width), add),
            Held::Here | Held::Parts(_) | Held::Normed(_) => Ok(()),
        }
    }

    /// Norms of `count` rows of `x` plus `add`, which hold `n` tokens; `rows` names them, or is 0 where they are the first
    /// ones. With `keep` the sum is written back.
    pub(super) fn norm_rows(
        &self,
        count: usize,
        (x, add, n): (&Buffer, Option<&Buffer>, usize),
        (weight, epsilon): (&CudaSlice<f32>, f32),
        (rows, keep): (Pointer, bool),
        out: Planes,
    ) -> Result<(), ForwardError> {
        let (added, add_width, parts, stride) = match add {
            None => (0, 0, 0, 0),
            Some(add) => match add.held.get() {
                Held::Parts(parts) => {
                    (self.work.borrow().parts.as_ref().map_or(0, |all| self.at(all)), add.width, parts, n * add.width)
                }
                _ => (self.at(&add.values), add.width, 1, 0),
            },
        };
        let width = weight.len();
        let input = Input {
            values: self.at(&x.values),
            weight: self.at(weight),
            width: int(x.width),
            epsilon,
            ..Input::default()
        };
        let stride = i64::try_from(stride).unwrap_or(i64::MAX);
        self.run_norm(count, (input, width), (added, int(add_width), int(parts), stride), (rows, keep), out)
    }

    fn run_norm(
        &self,
        count: usize,
        (x, width): (Input, usize),
        (added, add_width, parts, stride): (Pointer, i32, i32, i64),
        (rows, keep): (Pointer, bool),
        out: Planes,
    ) -> Result<(), ForwardError> {
        let threads = (width.div_ceil(4)).next_multiple_of(32).clamp(64, 512);
        let shape = Shape { blocks: (count, 1, 1), threads, shared: 4 * width };
        launch!(
            self,
            self.kernel("normalise")?,
            shape,
            x.values,
            x.width,
            added,
            add_width,
            parts,
            stride,
            x.weight,
            int(width),
            x.epsilon,
            rows,
            i32::from(keep),
            out.at,
            out.pitch,
            out.low
        )
    }

    /// Computes a norm that waits, for whoever reads planes.
    pub(super) fn settle_norm(&self, n: usize, buffer: &Buffer) -> Result<(), ForwardError> {
        let Held::Normed(input) = buffer.held.get() else { return self.settle(buffer) };
        buffer.held.set(Held::Here);
        self.run_norm(n, (input, buffer.width), (0, 0, 0, 0), (0, false), self.planes(buffer))
    }

    pub(super) fn map(&self, step: &Step, x: &Buffer, matrix: &Matrix, out: &Buffer) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let (n, input) = (step.n, self.input(x));
        if n <= FEW {
            let bias = matrix.bias.as_ref().map_or(0, |bias| self.at(bias));
            let mapping = Mapping { kind: matrix.kind, matrix: self.argument(matrix), bias, x: input, n };
            out.held.set(Held::Mapped(mapping));
            return Ok(());
        }
        out.held.set(Held::Here);
        self.map_rows(n, input, matrix, (self.at(&out.values), out.width))
    }

    /// `n` rows through a linear map, to rows of `f32` so wide.
    pub(super) fn map_rows(
        &self,
        n: usize,
        x: Input,
        matrix: &Matrix,
        (out, width): (Pointer, usize),
    ) -> Result<(), ForwardError> {
        let exact = matrix.kind == Kind::Exact || matrix.rows * matrix.columns < SMALL;
        match &self.products {
            Some(products) if n > if exact { EXACT } else { FEW } => {
                let (w, pitch) = self.as_bf16(matrix)?;
                let pitches = (usize::try_from(x.pitch).unwrap_or(0), pitch, width);
                let product = Product { n, rows: matrix.rows, columns: matrix.columns, pitches };
                products.run(product, (w, x.planes, out))?;
                match &matrix.bias {
                    None => Ok(()),
                    Some(bias) => {
                        let shape = Shape { blocks: (n, 1, 1), threads: 256, shared: 0 };
                        let (rows, bias) = (int(matrix.rows), self.at(bias));
                        launch!(self, self.kernel("add_bias")?, shape, out, int(width), bias, rows)
                    }
                }
            }
            _ => self.map_few(n, x, matrix, Output::values(out, width, false), Heads::default()),
        }
    }

    /// Runs a map that waited.
    fn run_mapping(&self, mapping: Mapping, out: Output) -> Result<(), ForwardError> {
        let Mapping { kind, matrix, bias, x, n } = mapping;
        let rows = usize::try_from(matrix.rows).unwrap_or(0).div_ceil(16);
        self.run_linear((kind, rows), (matrix, bias), (n, x), out, Heads::default())
    }

    /// `n` rows through a linear map by our own kernel; with `heads` as it says.
    pub(super) fn map_few(
        &self,
        n: usize,
        x: Input,
        matrix: &Matrix,
        out: Output,
        heads: Heads,
    ) -> Result<(), ForwardError> {
        let rows = if heads.value == 0 { matrix.rows.div_ceil(16) } else { heads.heads * heads.value.div_ceil(16) };
        let bias = matrix.bias.as_ref().map_or(0, |bias| self.at(bias));
        self.run_linear((matrix.kind, rows), (self.argument(matrix), bias), (n, x), out, heads)
    }

    /// Starts the kernel with so many blocks of 16 rows.
    fn run_linear(
        &self,
        (kind, rows): (Kind, usize),
        (matrix, bias): (MatrixArgument, Pointer),
        (n, x): (usize, Input),
        out: Output,
        heads: Heads,
    ) -> Result<(), ForwardError> {
        let tiles = tiles(n);
        let kernel = match x.normed() {
            true => self.kernel_for("linear", kind, "normed")?,
            false => self.kernel_for("linear", kind, tiles)?,
        };
        // Where there are few rows, more threads share each.
        let memory =
            |threads| gathering(threads, tiles) + if tiles == 1 { squares(threads) + streaming(threads) } else { 0 };
        let few = rows * n.div_ceil(8 * tiles) < 2 * self.processors && memory(2 * SHARING) <= self.shared;
        let threads = if few { 2 * SHARING } else { SHARING };
        let shared = memory(threads);
        let shape = Shape { blocks: (rows, n.div_ceil(8 * tiles), 1), threads, shared };
        let (value, each, skip) = (int(heads.value), int(heads.each), int(heads.skip));
        launch!(self, kernel, shape, matrix, bias, x, out, int(n), value, each, skip)
    }

    /// Where a matrix lies as bfloat16, and how many numbers its rows are apart; it is made where it is of another format.
    fn as_bf16(&self, matrix: &Matrix) -> Result<(Pointer, usize), ForwardError> {
        let argument = self.argument(matrix);
        let pitch = matrix.columns.next_multiple_of(64);
        if matrix.kind.begins_as_bf16() {
            return Ok((argument.codes, pitch));
        }
        let to = self.room(&mut self.work.borrow_mut().spread, matrix.rows * pitch)?;
        let shape = Shape { blocks: (matrix.rows, 1, 1), threads: 128, shared: 0 };
        launch!(self, self.kernel("spread")?, shape, argument, to, int(pitch))?;
        Ok((to, pitch))
    }

    pub(super) fn add_adapters(
        &self,
        step: &Step,
        x: &Buffer,
        adapters: &[Adapter<Matrix>],
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let asked = |adapter: &Adapter<Matrix>| step.batch.sequences.iter().any(|it| it.adapter == Some(adapter.id));
        if !adapters.iter().any(asked) {
            return Ok(());
        }
        self.settle_norm(step.n, x)?;
        self.settle(out)?;
        let (planes, to) = (self.planes(x), self.at(&out.values));
        for sequence in &step.batch.sequences {
            for adapter in adapters.iter().filter(|adapter| Some(adapter.id) == sequence.adapter) {
                let (down, up): (MatrixArgument, MatrixArgument) =
                    (self.argument(&adapter.down), self.argument(&adapter.up));
                let shared = 4 * adapter.down.rows.next_multiple_of(8);
                let shape = Shape { blocks: (sequence.tokens.len(), 1, 1), threads: 256, shared };
                let (start, first) = (int(sequence.tokens.start), int(adapter.first));
                launch!(
                    self,
                    self.kernel("adapt")?,
                    shape,
                    down,
                    up,
                    planes.at,
                    planes.pitch,
                    planes.low,
                    to,
                    int(out.width),
                    start,
                    first,
                    adapter.scale
                )?;
            }
        }
        Ok(())
    }

    /// Fills rows with weights that are drawn from a seed.
    pub(super) fn draw(
        &self,
        to: Pointer,
        rows: usize,
        pitch: usize,
        columns: usize,
        (kind, size, seed): (Kind, f32, u64),
    ) -> Result<(), ForwardError> {
        let words = crate::weights::random::words(kind.random(), columns);
        let shape = Shape { blocks: (rows, 1, 1), threads: 256, shared: 0 };
        let pitch = i64::try_from(pitch).unwrap_or(i64::MAX);
        let reach = crate::weights::random::reach(size);
        launch!(self, self.kernel("draw")?, shape, to, int(words), pitch, kind.number(), reach, seed)
    }
}
