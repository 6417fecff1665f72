//! The tables' numbers, where entries begin so that reading one takes as few lines of the cache as can be.
#![expect(clippy::indexing_slicing, reason = "every line holds eight numbers")]

use std::ops::Range;

/// Numbers in a line of the cache.
pub(super) const LINE: usize = 8;

/// Numbers from one entry with so many to the next: whole registers of four numbers, and no entry of up to eight lies in two
/// lines.
pub(super) const fn stride(count: usize) -> usize {
    count.next_multiple_of(4)
}

/// A line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f64; LINE]);

/// Numbers that begin with a line.
#[derive(Debug, Clone)]
pub(super) struct Entries(Vec<Line>);

impl Entries {
    /// Zeros, at least so many.
    pub(super) fn zeros(count: usize) -> Entries {
        Entries(vec![Line([0.0; LINE]); count.div_ceil(LINE)])
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len() * LINE
    }

    /// Some of them.
    #[expect(unsafe_code, reason = "lines are arrays of numbers without gaps")]
    pub(super) fn get(&self, range: Range<usize>) -> &[f64] {
        // SAFETY: a line has the size of its eight numbers, so lines one after another are numbers one after another.
        let all = unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<f64>(), self.len()) };
        &all[range]
    }

    /// Some of them, to be written.
    #[expect(unsafe_code, reason = "lines are arrays of numbers without gaps")]
    pub(super) fn get_mut(&mut self, range: Range<usize>) -> &mut [f64] {
        let count = self.len();
        // SAFETY: as above, and nobody else has them.
        let all = unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<f64>(), count) };
        &mut all[range]
    }
}
