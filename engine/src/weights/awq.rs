//! AutoAWQ's packing of 4-bit weights (Lin et al. 2023), and back.

use super::bytes::Bytes;
use super::stored::{Format, GROUP};

/// Codes in one 32-bit word.
pub(crate) const PACKED: usize = 8;

/// The column that each nibble of a word holds, lowest first: AutoAWQ's `GEMM` order.
const ORDER: [usize; PACKED] = [0, 2, 4, 6, 1, 3, 5, 7];

/// `qweight` `[columns, rows/8]`, `qzeros` `[columns/128, rows/8]` and `scales` `[columns/128, rows]` as a matrix
/// `[rows, columns]`. AutoAWQ keeps weights input-major; our kernels read them row by row.
///
/// Nothing when a length contradicts the shape.
pub(crate) fn unpack(codes: &[u8], zeros: &[u8], scales: &[f32], rows: usize, columns: usize) -> Option<Format> {
    let groups = columns / GROUP;
    let fits = rows.is_multiple_of(PACKED)
        && columns.is_multiple_of(GROUP)
        && codes.len() * 2 == rows * columns
        && zeros.len() * 2 == rows * groups
        && scales.len() == rows * groups;
    if !fits {
        return None;
    }
    let mut packed = vec![0u8; rows * columns / 2];
    for (input, line) in codes.chunks_exact(rows / 2).enumerate() {
        let (group, within) = (input / GROUP, input % GROUP);
        let (byte, shift) = (group * GROUP / 2 + within % (GROUP / 2), 4 * (within / (GROUP / 2)));
        for (row, code) in nibbles(line) {
            *packed.get_mut(row * columns / 2 + byte)? |= code << shift;
        }
    }
    let (mut row_zeros, mut row_scales) = (vec![0; rows * groups], vec![0.0; rows * groups]);
    for (group, line) in zeros.chunks_exact(rows / 2).enumerate() {
        for (row, code) in nibbles(line) {
            *row_zeros.get_mut(row * groups + group)? = code;
        }
    }
    for (group, line) in scales.chunks_exact(rows).enumerate() {
        for (row, scale) in line.iter().enumerate() {
            *row_scales.get_mut(row * groups + group)? = *scale;
        }
    }
    Some(Format::I4 { codes: Bytes::Made(packed.into()), scales: row_scales, zeros: row_zeros })
}

/// The codes of one line of words with their rows.
fn nibbles(line: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    line.as_chunks::<4>().0.iter().enumerate().flat_map(|(word, bytes)| {
        let bits = u32::from_le_bytes(*bytes);
        ORDER.into_iter().zip(0..).map(move |(column, nibble)| {
            let [code, ..] = (bits >> (4 * nibble)).to_le_bytes();
            (word * PACKED + column, code & 15)
        })
    })
}

/// Codes `[rows, columns]` (one to a byte, below 16) as AutoAWQ writes them: `[columns, rows/8]` words.
#[must_use]
pub(crate) fn pack(codes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let mut words = Vec::with_capacity(rows * columns / 2);
    for input in 0..columns {
        for word in 0..rows / PACKED {
            let bits = ORDER.into_iter().zip(0..).fold(0u32, |bits, (column, nibble)| {
                let code = codes.get((word * PACKED + column) * columns + input).copied().unwrap_or_default();
                bits | u32::from(code & 15) << (4 * nibble)
            });
            words.extend(bits.to_le_bytes());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::stored::Stored;
    use super::*;

    #[test]
    fn words_hold_rows_in_the_order_of_autoawq() {
        // AutoAWQ's own reading of 0x76543210: nibbles 0, 1, 2, … hold columns 0, 2, 4, 6, 1, 3, 5, 7.
        let found: Vec<(usize, u8)> = nibbles(&0x7654_3210u32.to_le_bytes()).collect();
        assert_eq!(found, [(0, 0), (2, 1), (4, 2), (6, 3), (1, 4), (3, 5), (5, 6), (7, 7)]);
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let (rows, columns) = (16, 256);
        let code = |row: usize, column: usize| u8::try_from((row * 7 + column * 5 + column / 16) % 16).unwrap();
        let codes: Vec<u8> = (0..rows).flat_map(|r| (0..columns).map(move |c| code(r, c))).collect();
        let zeros: Vec<u8> =
            (0..rows).flat_map(|r| [u8::try_from(r).unwrap(), 15 - u8::try_from(r).unwrap()]).collect();
        let scales: Vec<f32> = (0..2 * rows).map(|i| 0.5 + i as f32).collect();
        let format = unpack(&pack(&codes, rows, columns), &pack(&zeros, rows, 2), &scales, rows, columns).unwrap();
        let matrix = Stored { rows, columns, format };
        let mut out = vec![0.0; columns];
        for r in 0..rows {
            matrix.row(r, &mut out);
            for c in 0..columns {
                let (group, zero) = (c / 128, f32::from(zeros[r * 2 + c / 128]));
                assert_eq!(out[c], (f32::from(code(r, c)) - zero) * scales[group * rows + r]);
            }
        }
    }
}
