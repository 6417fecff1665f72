//! Embedding, norms, and linear maps.

use cudarc::driver::CudaSlice;

use super::launch::{Shape, launch};
use super::memory::{Buffer, Kind, Matrix, MatrixArgument, Planes};
use super::products::Product;
use super::step::Step;
use super::{Cuda, Pointer, int};
use crate::backend::Adapter;
use crate::models::causal::ForwardError;

/// Tokens up to which weights are read by our own kernels: beyond, the library's products are faster.
const FEW: usize = 8;
/// Threads of a block that share the inner places of 16 rows.
pub(super) const SHARING: usize = 256;

/// Bytes of shared memory in which `threads` bring together tiles of eight tokens.
pub(super) fn gathering(threads: usize, tiles: usize) -> usize {
    threads / 32 * tiles * 128 * size_of::<f32>()
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

/// Where a linear map writes: `f32` rows so wide, and planes.
#[derive(Clone, Copy)]
pub(super) struct Outputs {
    pub(super) values: Pointer,
    pub(super) width: usize,
    pub(super) planes: Planes,
}

impl Outputs {
    pub(super) fn values(values: Pointer, width: usize) -> Self {
        Self { values, width, planes: Planes { at: 0, pitch: 0, low: 0 } }
    }
}

impl Cuda {
    pub(super) fn embed_tokens(&self, step: &Step, table: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        out.parts.set(0);
        let shape = Shape { blocks: (step.n, 1, 1), threads: 128, shared: 0 };
        let (tokens, to) = (self.addresses(step).tokens, self.at(&out.values));
        launch!(self, self.kernel("embed")?, shape, self.argument(table), tokens, to, int(out.width))
    }

    /// Root-mean-square norm: see [`crate::backend::Backend::norm`].
    pub(super) fn normalise(
        &self,
        step: &Step,
        x: &mut Buffer,
        add: Option<&Buffer>,
        (weight, epsilon): (&CudaSlice<f32>, f32),
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        let planes = self.planes(out);
        self.norm_rows(step.n, (x, add, step.n), (weight, epsilon), (0, add.is_some()), planes)
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
            Some(add) => match add.parts.get() {
                0 => (self.at(&add.values), add.width, 1, 0),
                parts => {
                    (self.work.borrow().parts.as_ref().map_or(0, |all| self.at(all)), add.width, parts, n * add.width)
                }
            },
        };
        let width = weight.len();
        let threads = (width.div_ceil(4)).next_multiple_of(32).clamp(64, 512);
        let shape = Shape { blocks: (count, 1, 1), threads, shared: 4 * width };
        let stride = i64::try_from(stride).unwrap_or(i64::MAX);
        launch!(
            self,
            self.kernel("normalise")?,
            shape,
            self.at(&x.values),
            int(x.width),
            added,
            int(add_width),
            int(parts),
            stride,
            self.at(weight),
            int(width),
            epsilon,
            rows,
            i32::from(keep),
            out.at,
            out.pitch,
            out.low
        )
    }

    pub(super) fn map(&self, step: &Step, x: &Buffer, matrix: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        if step.replays() {
            return Ok(());
        }
        out.parts.set(0);
        let outputs = Outputs::values(self.at(&out.values), out.width);
        self.map_rows(step.n, self.planes(x), matrix, outputs)
    }

    /// `n` rows through a linear map.
    pub(super) fn map_rows(&self, n: usize, x: Planes, matrix: &Matrix, out: Outputs) -> Result<(), ForwardError> {
        match &self.products {
            Some(products) if n > FEW && out.planes.at == 0 => {
                let (w, pitch) = self.as_bf16(matrix)?;
                let x_pitch = usize::try_from(x.pitch).unwrap_or(0);
                let pitches = (x_pitch, pitch, out.width);
                products
                    .run(Product { n, rows: matrix.rows, columns: matrix.columns, pitches }, (w, x.at, out.values))?;
                match &matrix.bias {
                    None => Ok(()),
                    Some(bias) => {
                        let shape = Shape { blocks: (n, 1, 1), threads: 256, shared: 0 };
                        let (rows, bias) = (int(matrix.rows), self.at(bias));
                        launch!(self, self.kernel("add_bias")?, shape, out.values, int(out.width), bias, rows)
                    }
                }
            }
            _ => self.map_few(n, x, matrix, out, Heads::default()),
        }
    }

    /// `n` rows through a linear map by our own kernel; with `heads` as it says.
    pub(super) fn map_few(
        &self,
        n: usize,
        x: Planes,
        matrix: &Matrix,
        out: Outputs,
        heads: Heads,
    ) -> Result<(), ForwardError> {
        let tiles = tiles(n);
        let kernel = self.kernel_for("linear", matrix.kind, tiles)?;
        let rows = if heads.value == 0 { matrix.rows.div_ceil(16) } else { heads.heads * heads.value.div_ceil(16) };
        // Where there are few rows, more threads share each.
        let threads = if rows * n.div_ceil(8 * tiles) < 2 * self.processors { 2 * SHARING } else { SHARING };
        let shape = Shape { blocks: (rows, n.div_ceil(8 * tiles), 1), threads, shared: gathering(threads, tiles) };
        launch!(
            self,
            kernel,
            shape,
            self.argument(matrix),
            matrix.bias.as_ref().map_or(0, |bias| self.at(bias)),
            x.at,
            x.pitch,
            x.low,
            out.values,
            int(out.width),
            out.planes.at,
            out.planes.pitch,
            out.planes.low,
            int(n),
            int(heads.value),
            int(heads.each),
            int(heads.skip)
        )
    }

    /// Where a matrix lies as bfloat16, and how many numbers its rows are apart; it is made where it is of another format.
    fn as_bf16(&self, matrix: &Matrix) -> Result<(Pointer, usize), ForwardError> {
        let argument = self.argument(matrix);
        let pitch = matrix.columns.next_multiple_of(64);
        if matrix.kind == Kind::Bf16 {
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
