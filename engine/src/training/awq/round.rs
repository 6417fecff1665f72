//! Rounding to 4-bit codes, a scale and a zero for each group of inputs.

use crate::weights::stored::{GROUP, half_to_single, single_to_half};

/// The largest code.
const MOST: f32 = 15.0;

/// A map's weights in full precision, `[rows, columns]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f32>,
}

impl Dense {
    /// Row by row.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// Row by row.
    pub(super) fn lines_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.columns.max(1))
    }

    /// Whether it can be written in AutoAWQ's packing: rows by eights, columns by whole groups.
    pub(super) fn fits(&self) -> bool {
        self.rows.is_multiple_of(crate::weights::awq::PACKED) && self.columns.is_multiple_of(GROUP)
    }
}

/// How one group of a row is rounded: `w ≈ (code - zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// A number of 16 bits, as it is stored.
    pub(super) scale: f32,
    /// A whole number from 0 to 15.
    pub(super) zero: f32,
}

impl Grid {
    /// The grid from the least to the greatest of `weights`, and over zero, after cutting them to `±limit`.
    pub(super) fn over(weights: &[f32], limit: f32) -> Self {
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for weight in weights {
            low = low.min(*weight);
            high = high.max(*weight);
        }
        let (low, high) = (low.max(-limit), high.min(limit));
        let scale = half_to_single(single_to_half(((high - low) / MOST).max(1e-5)));
        Self { scale, zero: nearest(-low / scale).clamp(0.0, MOST) }
    }

    /// The code of a weight.
    pub(super) fn code(self, weight: f32) -> f32 {
        (nearest(weight / self.scale) + self.zero).clamp(0.0, MOST)
    }

    /// The weight that a weight's code stands for.
    pub(super) fn round(self, weight: f32) -> f32 {
        (self.code(weight) - self.zero) * self.scale
    }
}

/// The nearest whole number, the even one of two: for numbers far below 2^22, without a branch or a call.
fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x.clamp(-1e6, 1e6) + SHIFT) - SHIFT
}

/// Codes `[rows, columns]`, one to a byte, with zeros and scales `[rows, columns/GROUP]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Codes {
    pub(super) codes: Vec<u8>,
    pub(super) zeros: Vec<u8>,
    pub(super) scales: Vec<f32>,
}

/// Rounds a whole map; `limits` `[rows, columns/GROUP]` are what weights are cut to.
pub(super) fn round(weight: &Dense, limits: &[f32]) -> Codes {
    let mut codes = Codes { codes: Vec::new(), zeros: Vec::new(), scales: Vec::new() };
    for (group, limit) in weight.values.chunks_exact(GROUP).zip(limits) {
        let grid = Grid::over(group, *limit);
        codes.codes.extend(group.iter().map(|weight| small(grid.code(*weight))));
        codes.zeros.push(small(grid.zero));
        codes.scales.push(grid.scale);
    }
    codes
}

/// A whole number from 0 to 15.
fn small(code: f32) -> u8 {
    // What was added makes the code the lowest bits of the sum.
    let [low, ..] = (code + 8_388_608.0).to_bits().to_le_bytes();
    low & 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_weights_within_half_a_step() {
        let values: Vec<f32> = (0..2 * 256u16).map(|i| f32::from(i * 37 % 101) / 50.0 - 0.8).collect();
        let weight = Dense { rows: 2, columns: 256, values };
        let rounded = round(&weight, &[f32::INFINITY; 4]);
        assert_eq!((rounded.codes.len(), rounded.zeros.len(), rounded.scales.len()), (512, 4, 4));
        for (i, value) in weight.values.iter().enumerate() {
            let group = i / GROUP;
            let (scale, zero) = (rounded.scales[group], f32::from(rounded.zeros[group]));
            let meant = (f32::from(rounded.codes[i]) - zero) * scale;
            assert!((meant - value).abs() <= 0.51 * scale, "{value} became {meant} in steps of {scale}");
        }
        // Cut to a quarter, the steps are finer and the large weights lie at the edge.
        let cut = round(&weight, &[0.2; 4]);
        assert!(cut.scales[0] < 0.3 * rounded.scales[0]);
        let largest = weight.values[..GROUP].iter().position(|w| *w > 1.0).unwrap();
        assert_eq!(cut.codes[largest], 15);
    }

    #[test]
    fn weights_of_one_sign_and_none_are_rounded_too() {
        let ones = Dense { rows: 1, columns: GROUP, values: vec![0.75; GROUP] };
        let rounded = round(&ones, &[f32::INFINITY]);
        assert_eq!((rounded.codes[0], rounded.zeros[0]), (15, 0));
        let none = round(&Dense { values: vec![0.0; GROUP], ..ones }, &[f32::INFINITY]);
        assert_eq!(none.codes[0], none.zeros[0]);
    }
}
