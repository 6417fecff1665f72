//! A buffer that the tasks of one operation write, each its own places.
#![expect(
    unsafe_code,
    reason = "tasks write disjoint places of one buffer, which no safe type can say for interleaved rows"
)]

use std::marker::PhantomData;

/// Exclusive access to a buffer, handed to several threads.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a, T = f32> {
    start: *mut T,
    length: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: places are reached only through `at`, whose callers promise that no two threads hold the same place.
unsafe impl<T: Send> Send for Cells<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Cells<'_, T> {}

impl<'a, T> Cells<'a, T> {
    /// Takes over a buffer.
    #[must_use]
    pub(crate) fn new(buffer: &'a mut [T]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len(), buffer: PhantomData }
    }

    /// `count` numbers from `first` on.
    ///
    /// # Safety
    /// No other reference to any of them may live at the same time.
    #[expect(clippy::mut_from_ref, reason = "that is what the contract is for")]
    pub(crate) unsafe fn at(&self, first: usize, count: usize) -> &mut [T] {
        assert!(first.checked_add(count).is_some_and(|end| end <= self.length), "the place lies in the buffer");
        // SAFETY: the place lies in the buffer, which lives as long as `'a`; the caller promises that it is alone there.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), count) }
    }
}
