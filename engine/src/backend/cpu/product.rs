//! Products with weights in any format.

use std::ops::Range;

use super::isa::Isa;
use super::spans::{Rounded, Row};
use super::{dot, int4, spans};
use crate::weights::Stored;
use crate::weights::stored::{Format, GROUP};

/// Rows of weights that are worked on together.
pub(crate) const PANEL: usize = 16;
/// Tokens that are worked on together.
const TOKENS: usize = 32;

/// Activations: as they are, and rounded to bytes where that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Rows `stride` apart.
    pub(crate) x: &'a [f32],
    /// Numbers from one row to the next.
    pub(crate) stride: usize,
    /// The same rows, for weights of 8 and 4 bits.
    pub(crate) rounded: Option<&'a Rounded>,
}

/// Which rows of the activations are meant.
#[derive(Clone)]
pub(crate) enum Tokens<'a> {
    /// Some that follow one another.
    Range(Range<usize>),
    /// These.
    Listed(&'a [u32]),
}

impl Tokens<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Listed(list) => list.len(),
        }
    }

    /// The row of the activations that entry `index` means.
    pub(crate) fn row(&self, index: usize) -> usize {
        match self {
            Self::Range(range) => range.start + index,
            Self::Listed(list) => list.get(index).map_or(0, |row| *row as usize),
        }
    }
}

/// Whether products with this matrix use rounded activations.
#[must_use]
pub(crate) fn rounds(matrix: &Stored) -> bool {
    matches!(matrix.format, Format::I8 { .. } | Format::I4 { .. })
}

/// Computes rows `rows` of `matrix · x` for the given tokens, and hands them over as `write(index, first row, values)`.
pub(crate) fn rows(
    isa: Isa,
    matrix: &Stored,
    rows: Range<usize>,
    inputs: Inputs<'_>,
    tokens: &Tokens<'_>,
    scratch: &mut Vec<f32>,
    mut write: impl FnMut(usize, usize, &[f32]),
) {
    let k = matrix.columns;
    let mut out = [0.0f32; PANEL * TOKENS];
    let mut first = rows.start;
    while first < rows.end {
        let count = PANEL.min(rows.end - first);
        let integer = inputs.rounded.filter(|_| rounds(matrix));
        if integer.is_none() {
            scratch.resize(PANEL * k, 0.0);
            for (row, line) in (first..first + count).zip(scratch.chunks_exact_mut(k.max(1))) {
                matrix.row(row, line);
            }
        }
        let mut index = 0;
        while index < tokens.len() {
            let block = TOKENS.min(tokens.len() - index);
            match integer {
                Some(rounded) => {
                    let mut xs = [Row { codes: &[], scales: &[], sums: &[] }; TOKENS];
                    xs.iter_mut().zip(index..index + block).for_each(|(x, i)| *x = rounded.row(tokens.row(i)));
                    integers(isa, matrix, (first, count), xs.get(..block).unwrap_or_default(), &mut out);
                }
                None => {
                    let mut xs: [&[f32]; TOKENS] = [&[]; TOKENS];
                    for (x, i) in xs.iter_mut().zip(index..index + block) {
                        let at = tokens.row(i) * inputs.stride;
                        *x = inputs.x.get(at..at + k).unwrap_or_default();
                    }
                    dot::products(isa, scratch, (count, k, k), xs.get(..block).unwrap_or_default(), &mut out);
                }
            }
            for (i, values) in (index..index + block).zip(out.chunks_exact(count)) {
                write(i, first, values);
            }
            index += block;
        }
        first += count;
    }
}

fn integers(isa: Isa, matrix: &Stored, (first, count): (usize, usize), xs: &[Row<'_>], out: &mut [f32]) {
    let k = matrix.columns;
    match &matrix.format {
        Format::I8 { codes, scales } => {
            spans::products(isa, codes.get(first * k..).unwrap_or_default(), (count, k), xs, out);
            let scales = scales.get(first..first + count).unwrap_or_default();
            for line in out.chunks_exact_mut(count).take(xs.len()) {
                line.iter_mut().zip(scales).for_each(|(value, scale)| *value *= scale);
            }
        }
        Format::I4 { codes, scales, zeros } => {
            let groups = k / GROUP;
            let rows = int4::Rows {
                codes: codes.get(first * k / 2..).unwrap_or_default(),
                scales: scales.get(first * groups..).unwrap_or_default(),
                zeros: zeros.get(first * groups..).unwrap_or_default(),
            };
            int4::products(isa, rows, (count, k), xs, out);
        }
        Format::F32(_) | Format::F16(_) | Format::Bf16(_) | Format::F8 { .. } | Format::Drawn { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Bytes;

    #[test]
    fn every_row_is_computed_for_every_token_that_is_meant() {
        let (count, k) = (37, 24);
        let weights: Vec<f32> = (0..count * k).map(|i| (i % 13) as f32 - 6.0).collect();
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let matrix = Stored { rows: count, columns: k, format: Format::F32(Bytes::Made(bytes.into())) };
        let x: Vec<f32> = (0..50 * 30).map(|i| (i % 7) as f32 - 3.0).collect();
        let inputs = Inputs { x: &x, stride: 30, rounded: None };
        let list: Vec<u32> = (0..40).rev().collect();
        for tokens in [Tokens::Range(5..45), Tokens::Listed(&list)] {
            let mut seen = vec![f32::NAN; 40 * count];
            rows(Isa::best(), &matrix, 3..count, inputs, &tokens, &mut Vec::new(), |index, first, values| {
                seen[index * count + first..][..values.len()].copy_from_slice(values);
            });
            for i in 0..40 {
                for r in 0..count {
                    let row = tokens.row(i);
                    let want: f32 = (0..k).map(|c| weights[r * k + c] * x[row * 30 + c]).sum();
                    assert!(if r < 3 { seen[i * count + r].is_nan() } else { seen[i * count + r] == want });
                }
            }
        }
    }
}
