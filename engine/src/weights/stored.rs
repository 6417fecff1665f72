//! A matrix as its file holds it, in whatever number format.

use super::bytes::Bytes;
use super::random::{self, RandomFormat};

/// A matrix `[rows, columns]`, row-major: the weights of `y = W·x`.
pub(crate) struct Stored {
    /// Outputs.
    pub(crate) rows: usize,
    /// Inputs.
    pub(crate) columns: usize,
    /// The numbers.
    pub(crate) format: Format,
}

/// How the numbers of a [`Stored`] matrix are written.
pub(crate) enum Format {
    /// IEEE 754 binary32, little-endian.
    F32(Bytes),
    /// IEEE 754 binary16, little-endian.
    F16(Bytes),
    /// The upper half of a binary32, little-endian.
    Bf16(Bytes),
    /// 8 bits with 4 of exponent and 3 of fraction (Micikevicius et al. 2022), a factor for each block of 128 x 128
    /// (DeepSeek-V3, section 3.3).
    F8 {
        /// `[rows, columns]`.
        codes: Bytes,
        /// `[⌈rows/128⌉, ⌈columns/128⌉]`.
        scales: Vec<f32>,
    },
    /// Signed bytes, a factor for each row.
    I8 {
        /// `[rows, columns]`.
        codes: Bytes,
        /// `[rows]`.
        scales: Vec<f32>,
    },
    /// Unsigned 4-bit codes in groups of [`GROUP`] inputs: `w = (code - zero) · scale` (Lin et al. 2023).
    I4 {
        /// `[rows, columns/2]`: of each group, byte `i` holds input `i` below and input `i + GROUP/2` above.
        codes: Bytes,
        /// `[rows, columns/GROUP]`.
        scales: Vec<f32>,
        /// `[rows, columns/GROUP]`.
        zeros: Vec<u8>,
    },
    /// Weights that nobody trained and no memory holds: a device draws them itself (see [`super::random`]).
    Drawn {
        /// What they are drawn as.
        kind: RandomFormat,
        /// The size of numbers.
        size: f32,
        /// A seed gives the same ones everywhere.
        seed: u64,
    },
}

/// Inputs that share a scale and a zero in [`Format::I4`].
pub(crate) const GROUP: usize = 128;

/// Rows and columns of a block of [`Format::F8`].
pub(crate) const F8_BLOCK: usize = 128;

impl Stored {
    /// Bytes that one pass over the matrix reads.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        match &self.format {
            Format::F32(bytes) | Format::F16(bytes) | Format::Bf16(bytes) => bytes.len(),
            Format::F8 { codes, scales } | Format::I8 { codes, scales } => codes.len() + 4 * scales.len(),
            Format::I4 { codes, scales, zeros } => codes.len() + 4 * scales.len() + zeros.len(),
            Format::Drawn { kind, .. } => random::bytes_of(*kind, self.rows, self.columns),
        }
    }

    /// Says that the bytes were read for the last time: a device has its own copy.
    pub(crate) fn read_for_the_last_time(&self) {
        match &self.format {
            Format::F32(bytes) | Format::F16(bytes) | Format::Bf16(bytes) => bytes.read_for_the_last_time(),
            Format::F8 { codes, .. } | Format::I8 { codes, .. } | Format::I4 { codes, .. } => {
                codes.read_for_the_last_time();
            }
            Format::Drawn { .. } => {}
        }
    }

    /// Writes row `row` as `f32` to `out` (`columns` long); a row that is not there leaves it as it is.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let n = self.columns;
        let span = |size: usize| row * n * size..(row + 1) * n * size;
        match &self.format {
            Format::F32(bytes) => {
                let source = bytes.get(span(4)).unwrap_or_default();
                out.iter_mut().zip(source.as_chunks::<4>().0).for_each(|(o, b)| *o = f32::from_le_bytes(*b));
            }
            Format::F16(bytes) => {
                let source = bytes.get(span(2)).unwrap_or_default();
                out.iter_mut()
                    .zip(source.as_chunks::<2>().0)
                    .for_each(|(o, b)| *o = half_to_single(u16::from_le_bytes(*b)));
            }
            Format::Bf16(bytes) => {
                let source = bytes.get(span(2)).unwrap_or_default();
                out.iter_mut()
                    .zip(source.as_chunks::<2>().0)
                    .for_each(|(o, b)| *o = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16));
            }
            Format::Drawn { kind, size, seed } => random::row(*kind, *size, *seed, row, out),
            Format::F8 { codes, scales } => {
                let source = codes.get(row * n..(row + 1) * n).unwrap_or_default();
                let across = n.div_ceil(F8_BLOCK);
                let scales = scales.get(row / F8_BLOCK * across..).unwrap_or_default();
                for ((out, source), scale) in out.chunks_mut(F8_BLOCK).zip(source.chunks(F8_BLOCK)).zip(scales) {
                    out.iter_mut().zip(source).for_each(|(o, code)| *o = eight_to_single(*code) * scale);
                }
            }
            Format::I8 { codes, scales } => {
                let source = codes.get(row * n..(row + 1) * n).unwrap_or_default();
                let scale = scales.get(row).copied().unwrap_or_default();
                out.iter_mut().zip(source).for_each(|(o, b)| *o = f32::from(i8::from_le_bytes([*b])) * scale);
            }
            Format::I4 { codes, scales, zeros } => {
                let source = codes.get(row * n / 2..(row + 1) * n / 2).unwrap_or_default();
                let groups = n / GROUP;
                let scales = scales.get(row * groups..).unwrap_or_default();
                let zeros = zeros.get(row * groups..).unwrap_or_default();
                let halves = out.chunks_exact_mut(GROUP).zip(source.chunks_exact(GROUP / 2));
                for ((out, source), (scale, zero)) in halves.zip(scales.iter().zip(zeros)) {
                    let (low, high) = out.split_at_mut(GROUP / 2);
                    let zero = f32::from(*zero);
                    for ((low, high), byte) in low.iter_mut().zip(high).zip(source) {
                        *low = (f32::from(byte & 15) - zero) * scale;
                        *high = (f32::from(byte >> 4) - zero) * scale;
                    }
                }
            }
        }
    }
}

/// IEEE 754 binary16 to binary32 (exact): the exponent is moved by a product, which also makes subnormals right.
#[must_use]
pub(crate) fn half_to_single(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff) << 13);
    let magnitude = f32::from_bits(rest) * f32::from_bits((127 + 112) << 23);
    let magnitude = if bits & 0x7c00 == 0x7c00 { f32::from_bits(rest | 0x7f80_0000) } else { magnitude };
    f32::from_bits(magnitude.to_bits() | sign)
}

/// Binary32 to the nearest binary16, to the even one of two that are as near; what is too large becomes infinite.
#[must_use]
pub(crate) fn single_to_half(value: f32) -> u16 {
    let (sign, magnitude) = ((value.to_bits() >> 16) & 0x8000, value.to_bits() & 0x7fff_ffff);
    let half = match magnitude {
        0x7f80_0001.. => 0x7e00,
        0x477f_f000.. => 0x7c00,
        // The exponent's bias goes from 127 to 15.
        0x3880_0000.. => ((magnitude + 0xfff + ((magnitude >> 13) & 1)) >> 13) - (112 << 10),
        // Between a half and one, neighbours are as far apart as subnormals of 16 bits.
        _ => (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits(),
    };
    let [low, high, ..] = (sign | half).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// An `e4m3fn` byte to binary32 (exact): no infinities, `0x7f` is not a number.
#[must_use]
pub(crate) fn eight_to_single(code: u8) -> f32 {
    let (sign, rest) = (u32::from(code & 0x80) << 24, u32::from(code & 0x7f) << 20);
    let magnitude = f32::from_bits(rest) * f32::from_bits((127 + 120) << 23);
    let magnitude = if code & 0x7f == 0x7f { f32::NAN } else { magnitude };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_formats_are_read_as_their_standards_say() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0, 0.0)]
        {
            assert_eq!(half_to_single(bits), value);
        }
        for bits in (0..=u16::MAX).filter(|bits| !half_to_single(*bits).is_nan()) {
            assert_eq!(single_to_half(half_to_single(bits)), bits);
        }
        // Halfway between two goes to the even one.
        assert_eq!(
            [1.000_488_3, 1.001_464_8, 65_519.0, 65_520.0].map(single_to_half),
            [0x3c00, 0x3c02, 0x7bff, 0x7c00]
        );
        assert!(half_to_single(single_to_half(f32::NAN)).is_nan());
        assert!(half_to_single(0x7e00).is_nan() && half_to_single(0xfc00) == f32::NEG_INFINITY);
        for (code, value) in [(0x38, 1.0), (0xc0, -2.0), (0x7e, 448.0), (0x01, 0.001_953_125), (0x80, 0.0)] {
            assert_eq!(eight_to_single(code), value);
        }
        assert!(eight_to_single(0x7f).is_nan());
    }

    #[test]
    fn a_row_is_the_codes_times_their_scales() {
        let mut out = [0.0; 2];
        let bytes = |bytes: &[u8]| Bytes::Made(bytes.into());
        let matrix = Stored {
            rows: 2,
            columns: 2,
            format: Format::I8 { codes: bytes(&[127, 1, 0, 255]), scales: vec![0.5, 2.0] },
        };
        matrix.row(1, &mut out);
        assert_eq!(out, [0.0, -2.0]);
        let matrix = Stored { rows: 2, columns: 2, format: Format::Bf16(bytes(&[0, 0, 0, 0, 0x80, 0x3f, 0, 0xc0])) };
        matrix.row(1, &mut out);
        assert_eq!(out, [1.0, -2.0]);
        let codes = bytes(&[0x31; 64]);
        let matrix = Stored { rows: 1, columns: 128, format: Format::I4 { codes, scales: vec![0.5], zeros: vec![2] } };
        let mut out = [0.0; 128];
        matrix.row(0, &mut out);
        assert!(out[..64].iter().all(|x| *x == -0.5) && out[64..].iter().all(|x| *x == 0.5));
    }
}
