//! What lies in the GPU's memory: activations, weights, caches, and room to work in.
#![expect(unsafe_code, reason = "memory of the GPU is filled right after it was asked for")]

use std::cell::Cell;

use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, ValidAsZeroBits};

use super::mixture::Falling;
use super::{Cuda, Pointer, device_failed, int};
use crate::models::causal::ForwardError;
use crate::weights::Stored;
use crate::weights::random::{self, RandomFormat};
use crate::weights::stored::{Format, GROUP};

/// Columns that rows of weights and activations are filled up to, with zeros.
const FULL: usize = 64;
/// Rows that every buffer has room for, so that steps of few tokens find their memory where it was.
const FEW: usize = 32;

/// Activations: as `f32`, and as the two planes of bfloat16 that products read.
pub(crate) struct Buffer {
    pub(super) values: CudaSlice<f32>,
    pub(super) planes: CudaSlice<u16>,
    pub(super) width: usize,
    pub(super) pitch: usize,
    pub(super) rows: usize,
    pub(super) held: Cell<Held>,
}

/// Where a buffer's numbers are. Of few tokens a kernel does what the one after it can do on its way: norms wait for the
/// products that read them, and products for the sum that they become part of.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// In the buffer.
    Here,
    /// They are the sum of so many parts in [`super::Work::parts`].
    Parts(usize),
    /// They are the norm of these rows, which nobody has computed.
    Normed(Input),
    /// They are a product that has not begun.
    Mapped(Mapping),
    /// They are what experts will say of what their first maps said.
    Said(Falling),
}

/// A linear map of up to eight tokens.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) kind: Kind,
    pub(super) matrix: MatrixArgument,
    pub(super) bias: Pointer,
    pub(super) x: Input,
    pub(super) n: usize,
}

/// What kernels are told of tokens: see `Input` in `products.cu`. `weight` is nothing where planes are read; where `squares` are
/// there, planes wait for nothing but the norm's factor.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Input {
    pub(super) planes: Pointer,
    pub(super) low: i64,
    pub(super) values: Pointer,
    pub(super) weight: Pointer,
    pub(super) squares: Pointer,
    pub(super) pitch: i32,
    pub(super) width: i32,
    pub(super) epsilon: f32,
    pub(super) parts: i32,
}

impl Input {
    pub(super) fn normed(&self) -> bool {
        self.weight != 0
    }
}

impl From<Planes> for Input {
    fn from(Planes { at, pitch, low }: Planes) -> Self {
        Self { planes: at, low, pitch, ..Self::default() }
    }
}

/// Planes of a buffer as kernels take them.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) at: Pointer,
    /// Numbers from row to row.
    pub(super) pitch: i32,
    /// Numbers from a number to its low part.
    pub(super) low: i64,
}

/// A matrix as kernels take it: see `Matrix` in `numbers.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct MatrixArgument {
    pub(super) codes: Pointer,
    pub(super) scales: Pointer,
    pub(super) rows: i32,
    pub(super) columns: i32,
    pub(super) pitch: i64,
    pub(super) format: i32,
    pub(super) unused: i32,
}

/// Number formats of weights on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Bf16,
    Int8,
    Int4,
    /// Two planes of bfloat16, for what was stored in 32 bits.
    Exact,
}

impl Kind {
    /// Its number in the kernels.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Bf16 => 0,
            Self::Int8 => 1,
            Self::Int4 => 2,
            Self::Exact => 3,
        }
    }

    /// Its name in the kernels' names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Exact => "exact",
        }
    }

    /// The same of random weights.
    pub(super) fn random(self) -> RandomFormat {
        match self {
            Self::Bf16 | Self::Exact => RandomFormat::Bf16,
            Self::Int8 => RandomFormat::Int8,
            Self::Int4 => RandomFormat::Int4,
        }
    }

    /// Whether its first plane is a matrix of bfloat16.
    pub(super) fn begins_as_bf16(self) -> bool {
        matches!(self, Self::Bf16 | Self::Exact)
    }

    /// Planes that lie one after the other.
    fn planes(self) -> usize {
        if self == Self::Exact { 2 } else { 1 }
    }

    /// Bytes of a row of so many columns.
    fn pitch(self, columns: usize) -> usize {
        match self {
            Self::Bf16 | Self::Exact => 2 * columns.next_multiple_of(FULL),
            Self::Int8 => columns.next_multiple_of(FULL),
            Self::Int4 => columns / 2,
        }
    }

    fn of(stored: &Stored) -> Self {
        match &stored.format {
            Format::I8 { .. } => Self::Int8,
            Format::I4 { .. } => Self::Int4,
            Format::Drawn { kind, .. } => match kind {
                RandomFormat::Bf16 => Self::Bf16,
                RandomFormat::Int8 => Self::Int8,
                RandomFormat::Int4 => Self::Int4,
            },
            Format::F32(_) => Self::Exact,
            Format::F16(_) | Format::Bf16(_) | Format::F8 { .. } => Self::Bf16,
        }
    }
}

/// The weights of a linear map.
pub(crate) struct Matrix {
    pub(super) kind: Kind,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pitch: usize,
    codes: CudaSlice<u8>,
    scales: Option<CudaSlice<f32>>,
    pub(super) bias: Option<CudaSlice<f32>>,
}

/// One layer's keys and values as bfloat16, in two planes where a token has few numbers.
pub(crate) struct Cache {
    pub(super) rows: CudaSlice<u16>,
    /// Numbers of a token in one plane.
    pub(super) width: usize,
    pub(super) planes: usize,
}

impl Cache {
    /// Planes of a cache of `width` numbers a token: the second costs little where there are few.
    pub(super) fn planes(width: usize) -> usize {
        if width <= 512 { 2 } else { 1 }
    }

    /// Numbers from a token to the next, and from a number to its low part, 0 where there is none.
    pub(super) fn strides(&self) -> (i32, i32) {
        (int(self.planes * self.width), if self.planes > 1 { int(self.width) } else { 0 })
    }
}

impl Cuda {
    /// Memory of so many numbers, all zero.
    pub(super) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, numbers: usize) -> Result<CudaSlice<T>, ForwardError> {
        self.stream.alloc_zeros(numbers.max(1)).map_err(|error| {
            ForwardError::Memory(format!("the GPU has no {} MB left ({error})", numbers * size_of::<T>() / 1_000_000))
        })
    }

    /// A copy of numbers.
    pub(super) fn copied<T: DeviceRepr>(&self, numbers: &[T]) -> Result<CudaSlice<T>, ForwardError> {
        let mb = size_of_val(numbers) / 1_000_000;
        let memory = |error| ForwardError::Memory(format!("the GPU has no {mb} MB left ({error})"));
        // SAFETY: it is filled before anybody reads it, as the stream does one thing after another.
        let mut copy = unsafe { self.stream.alloc(numbers.len().max(1)) }.map_err(memory)?;
        if !numbers.is_empty() {
            self.stream.memcpy_htod(numbers, &mut copy).map_err(device_failed)?;
        }
        Ok(copy)
    }

    /// Says that memory was given back or took another place: recorded steps may name it.
    pub(super) fn moved(&self) {
        self.epoch.set(self.epoch.get() + 1);
    }

    /// Where memory begins.
    pub(super) fn at<T>(&self, memory: &CudaSlice<T>) -> Pointer {
        memory.device_ptr(&self.stream).0
    }

    /// Room of at least so many numbers; what was in it is lost when it grows.
    pub(super) fn room<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        slot: &mut Option<CudaSlice<T>>,
        numbers: usize,
    ) -> Result<Pointer, ForwardError> {
        match slot {
            Some(memory) if memory.len() >= numbers => Ok(self.at(memory)),
            _ => {
                // Given back first: the new one may need its place.
                *slot = None;
                self.moved();
                let memory = self.zeros(numbers)?;
                let at = self.at(&memory);
                *slot = Some(memory);
                Ok(at)
            }
        }
    }

    pub(super) fn new_buffer(&self, rows: usize, width: usize) -> Result<Buffer, ForwardError> {
        let (rows, pitch) = (rows.max(FEW), width.next_multiple_of(FULL));
        // Products read whole chunks, past the end of the last row too.
        let (values, planes) = (self.zeros(rows * width)?, self.zeros(2 * rows * pitch + FULL)?);
        Ok(Buffer { values, planes, width, pitch, rows, held: Cell::new(Held::Here) })
    }

    /// What products read of a buffer.
    pub(super) fn input(&self, buffer: &Buffer) -> Input {
        match buffer.held.get() {
            Held::Normed(input) => input,
            _ => self.planes(buffer).into(),
        }
    }

    /// The planes of a buffer.
    pub(super) fn planes(&self, buffer: &Buffer) -> Planes {
        let low = i64::try_from(buffer.rows * buffer.pitch).unwrap_or(i64::MAX);
        Planes { at: self.at(&buffer.planes), pitch: int(buffer.pitch), low }
    }

    /// A matrix as kernels take it.
    pub(super) fn argument(&self, matrix: &Matrix) -> MatrixArgument {
        MatrixArgument {
            codes: self.at(&matrix.codes),
            scales: matrix.scales.as_ref().map_or(0, |scales| self.at(scales)),
            rows: int(matrix.rows),
            columns: int(matrix.columns),
            pitch: i64::try_from(matrix.pitch).unwrap_or(i64::MAX),
            format: matrix.kind.number(),
            unused: 0,
        }
    }

    /// Brings matrices of equal columns to the GPU, one below the other. Parts of different formats meet in bfloat16.
    pub(super) fn upload(&self, parts: &[Stored], bias: Option<&[f32]>) -> Result<Matrix, ForwardError> {
        let rows = parts.iter().map(|part| part.rows).sum();
        let columns = parts.first().map_or(0, |part| part.columns);
        let mut kinds = parts.iter().map(Kind::of);
        let first = kinds.next().unwrap_or(Kind::Bf16);
        let kind = if kinds.all(|kind| kind == first) { first } else { Kind::Bf16 };
        let pitch = kind.pitch(columns);
        let mut codes = self.zeros::<u8>(kind.planes() * rows * pitch)?;
        let mut scales = Vec::new();
        let mut from = 0;
        for part in parts {
            let place = from * pitch..(from + part.rows) * pitch;
            if let (Format::Drawn { kind: _, size, seed }, true) = (&part.format, Kind::of(part) == kind) {
                self.draw(self.at(&codes) + place.start as Pointer, part.rows, pitch, columns, (kind, *size, *seed))?;
            } else if kind == Kind::Exact {
                let low_place = place.start + rows * pitch..place.end + rows * pitch;
                let (high, low) = planes_of(part, pitch);
                for (bytes, place) in [(high, place), (low, low_place)] {
                    self.stream.memcpy_htod(&bytes, &mut codes.slice_mut(place)).map_err(device_failed)?;
                }
            } else {
                let bytes = bytes_of(part, kind, pitch);
                let mut view = codes.slice_mut(place);
                self.stream.memcpy_htod(bytes.as_ref(), &mut view).map_err(device_failed)?;
            }
            match (&part.format, kind) {
                (Format::I8 { scales: own, .. }, Kind::Int8) => scales.extend_from_slice(own),
                (Format::I4 { scales: own, zeros: empty, .. }, Kind::Int4) => {
                    scales.extend(own.iter().zip(empty).flat_map(|(scale, zero)| [*scale, f32::from(*zero)]));
                }
                (Format::Drawn { size, .. }, Kind::Int8) => {
                    scales.resize(scales.len() + part.rows, random::int8_scale(*size));
                }
                (Format::Drawn { size, .. }, Kind::Int4) => {
                    let groups = part.rows * columns / GROUP;
                    let pair = [random::int4_scale(*size), f32::from(random::INT4_ZERO)];
                    scales.extend(std::iter::repeat_n(pair, groups).flatten());
                }
                _ => {}
            }
            from += part.rows;
        }
        let kept = |values: Vec<f32>| if values.is_empty() { Ok(None) } else { self.copied(&values).map(Some) };
        let bias = bias.map(|bias| self.copied(bias)).transpose()?;
        // The bytes that were copied from may go now.
        self.stream.synchronize().map_err(device_failed)?;
        Ok(Matrix { kind, rows, columns, pitch, codes, scales: kept(scales)?, bias })
    }

    /// A matrix of `f32` in two planes: what it is as bfloat16, and what that leaves.
    pub(super) fn upload_exactly(&self, stored: &Stored) -> Result<(Matrix, Option<CudaSlice<u8>>), ForwardError> {
        let pitch = Kind::Bf16.pitch(stored.columns);
        let (high, low) = planes_of(stored, pitch);
        let codes = self.copied(&high)?;
        let low = if low.iter().any(|byte| *byte & 0x7f != 0) { Some(self.copied(&low)?) } else { None };
        self.stream.synchronize().map_err(device_failed)?;
        let (kind, rows, columns) = (Kind::Bf16, stored.rows, stored.columns);
        Ok((Matrix { kind, rows, columns, pitch, codes, scales: None, bias: None }, low))
    }
}

/// Rows of a matrix as bfloat16, and what that leaves.
fn planes_of(stored: &Stored, pitch: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut high, mut low) = (vec![0u8; stored.rows * pitch], vec![0u8; stored.rows * pitch]);
    let mut line = vec![0.0; stored.columns];
    let lines = high.chunks_exact_mut(pitch.max(1)).zip(low.chunks_exact_mut(pitch.max(1)));
    for (row, (high, low)) in lines.enumerate() {
        stored.row(row, &mut line);
        let places = high.as_chunks_mut::<2>().0.iter_mut().zip(low.as_chunks_mut::<2>().0);
        for ((high, low), value) in places.zip(&line) {
            let bits = half(*value);
            *high = bits.to_le_bytes();
            *low = half(*value - f32::from_bits(u32::from(bits) << 16)).to_le_bytes();
        }
    }
    (high, low)
}

/// Rows of a matrix in the format that they have on the GPU.
fn bytes_of(part: &Stored, kind: Kind, pitch: usize) -> std::borrow::Cow<'_, [u8]> {
    match (&part.format, kind) {
        (Format::Bf16(bytes), Kind::Bf16) if pitch == 2 * part.columns => std::borrow::Cow::Borrowed(bytes),
        (Format::I4 { codes, .. }, Kind::Int4) => std::borrow::Cow::Borrowed(codes),
        (Format::I8 { codes, .. }, Kind::Int8) if pitch == part.columns => std::borrow::Cow::Borrowed(codes),
        (Format::I8 { codes, .. }, Kind::Int8) => {
            let mut bytes = vec![0; part.rows * pitch];
            let lines = bytes.chunks_exact_mut(pitch.max(1)).zip(codes.chunks_exact(part.columns.max(1)));
            lines.for_each(|(line, codes)| line.iter_mut().zip(codes).for_each(|(to, from)| *to = *from));
            bytes.into()
        }
        _ => {
            let mut bytes = vec![0; part.rows * pitch];
            let mut values = vec![0.0; part.columns];
            for (row, line) in bytes.chunks_exact_mut(pitch.max(1)).enumerate() {
                part.row(row, &mut values);
                let places = line.as_chunks_mut::<2>().0;
                places.iter_mut().zip(&values).for_each(|(to, value)| *to = half(*value).to_le_bytes());
            }
            bytes.into()
        }
    }
}

/// The nearest bfloat16, of two the even one.
pub(super) fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = if value.is_nan() { bits } else { bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) };
    let [_, _, low, high] = rounded.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Bytes;

    #[test]
    fn numbers_are_rounded_to_the_nearest_of_16_bits() {
        for (value, bits) in
            [(1.0, 0x3f80), (-2.0, 0xc000), (1.003_906_3, 0x3f80), (1.003_907, 0x3f81), (1.011_718_8, 0x3f82)]
        {
            assert_eq!(half(value), bits, "{value}");
        }
        assert!(f32::from_bits(u32::from(half(f32::NAN)) << 16).is_nan());
    }

    #[test]
    fn rows_are_filled_up_with_zeros() {
        let codes = Bytes::Made([1u8, 2, 3, 4, 5, 6].as_slice().into());
        let part = Stored { rows: 2, columns: 3, format: Format::I8 { codes, scales: vec![1.0; 2] } };
        let bytes = bytes_of(&part, Kind::Int8, 64);
        assert_eq!((&bytes[..4], &bytes[64..68]), (&[1, 2, 3, 0][..], &[4, 5, 6, 0][..]));
        let bytes = bytes_of(&part, Kind::Bf16, 128);
        assert_eq!(&bytes[128..136], [0x80, 0x40, 0xa0, 0x40, 0xc0, 0x40, 0, 0]);
    }
}
