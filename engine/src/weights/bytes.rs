//! Bytes of a file that are used where they lie.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Part of a file: compiled into the program, mapped from disk, or converted in memory.
#[derive(Clone)]
pub(crate) enum Bytes {
    /// Compiled into the program.
    Inside(&'static [u8]),
    /// A range of a mapped file. The range lies inside the file: see [`Bytes::part`].
    Mapped(Arc<Mmap>, Range<usize>),
    /// Made while loading.
    Made(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inside(bytes) => bytes,
            Self::Mapped(file, range) => file.get(range.clone()).unwrap_or_default(),
            Self::Made(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// The bytes `range` of these, without copying; nothing when they are not that long.
    #[must_use]
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        Some(match self {
            Self::Inside(bytes) => Self::Inside(bytes.get(range)?),
            Self::Mapped(file, whole) => {
                Self::Mapped(Arc::clone(file), whole.start + range.start..whole.start + range.end)
            }
            Self::Made(bytes) => Self::Made(Arc::from(bytes.get(range)?)),
        })
    }

    /// Says that these bytes were read for the last time, so that their pages need not stay in memory. Whoever reads a page
    /// gets some around it too, which were dropped before perhaps: they are dropped again.
    pub(crate) fn read_for_the_last_time(&self) {
        /// What Linux maps around a page that is read.
        #[cfg(unix)]
        const AROUND: usize = 64 << 10;
        #[cfg(unix)]
        if let Self::Mapped(file, range) = self {
            let (start, end) = (range.start.saturating_sub(AROUND), range.end.saturating_add(AROUND).min(file.len()));
            // SAFETY: the map is read-only and backed by its file, so that a page that is dropped is read again when it
            // is needed; nothing is lost. A refusal changes nothing and is ignored.
            #[expect(unsafe_code, reason = "the advice is unsafe only for private or shared memory that was written")]
            let _ = unsafe { file.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

/// Maps a whole file.
///
/// # Errors
/// What the operating system says.
pub(crate) fn map(path: &std::path::Path) -> std::io::Result<Bytes> {
    let file = std::fs::File::open(path)?;
    // SAFETY: weights are only read. A checkpoint that somebody rewrites in place while it is in use gives wrong numbers
    // or ends the program, as with every engine that maps its weights.
    #[expect(unsafe_code, reason = "mapping a file can not be made safe against other programs")]
    let map = unsafe { Mmap::map(&file)? };
    let length = map.len();
    Ok(Bytes::Mapped(Arc::new(map), 0..length))
}
