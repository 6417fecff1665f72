//! The inner loops: which entry of a piece's table each of 64 rows needs, and adding it to the rows' sums.
//!
//! Rows lie side by side: a column's ranks of 64 rows are one array, and so are a feature's sums. A processor's register then holds
//! the same thing of several rows, for the questions (16 rows in an instruction) as for the additions (4 rows). To every sum a
//! piece adds one number, pieces come in one order, and so the bits are the same with whatever instructions.
#![expect(clippy::indexing_slicing, reason = "pieces and their tables are made together, with all indices in range")]

use super::columns::Question;
use super::entries::Entries;
use super::pieces::Piece;

/// Rows side by side.
pub(super) const LANES: usize = 64;

/// Rows of which an instruction compares the ranks.
const COMPARED: usize = 16;

/// Adds some pieces' entries to the sums of `rows` rows, at most [`LANES`]. `ranks` and `sums` hold [`LANES`] numbers for every column
/// and every feature.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls what was compiled for processors with AVX2"))]
pub(super) fn add(pieces: &[Piece], entries: &Entries, rows: usize, ranks: &[u16], sums: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function was compiled for.
        return unsafe { wide::add(pieces, entries, rows, ranks, sums) };
    }
    add_portable(pieces, entries, rows, ranks, sums);
}

/// Without special instructions.
pub(super) fn add_portable(pieces: &[Piece], entries: &Entries, rows: usize, ranks: &[u16], sums: &mut [f64]) {
    for piece in pieces {
        let ways = ways(piece.questions(), ranks);
        let table = entries.get(piece.from..piece.from + piece.size());
        for (slot, &feature) in piece.features().iter().enumerate() {
            let sums = &mut sums[feature as usize * LANES..][..LANES];
            for (sum, &way) in sums.iter_mut().zip(&ways).take(rows) {
                *sum += table[usize::from(way) * piece.stride() + slot];
            }
        }
    }
}

/// Adds all pieces' entries to the sums of one row, from its ranks.
pub(super) fn add_one(pieces: &[Piece], entries: &Entries, ranks: &[u16], sums: &mut [f64]) {
    for piece in pieces {
        let from = piece.from + way(piece.questions(), ranks) * piece.stride();
        let entry = entries.get(from..from + piece.features().len());
        for (&feature, value) in piece.features().iter().zip(entry) {
            sums[feature as usize] += value;
        }
    }
}

/// Which way a row goes at a piece's nodes: a bit is set for right.
#[inline(always)]
fn way(questions: &[Question], ranks: &[u16]) -> usize {
    let bit = |question: &Question| usize::from(ranks[usize::from(question.column)] >= question.cut);
    questions.iter().enumerate().fold(0, |way, (place, question)| way | bit(question) << place)
}

/// Which way every row goes.
#[inline(always)]
pub(super) fn ways(questions: &[Question], ranks: &[u16]) -> [u16; LANES] {
    let mut ways = [0; LANES];
    let (groups, _) = ways.as_chunks_mut::<COMPARED>();
    for (group, ways) in groups.iter_mut().enumerate() {
        let mut found = [0; COMPARED];
        for (place, question) in questions.iter().enumerate() {
            let from = usize::from(question.column) * LANES + group * COMPARED;
            for (found, &rank) in found.iter_mut().zip(&ranks[from..from + COMPARED]) {
                *found |= u16::from(rank >= question.cut) << place;
            }
        }
        *ways = found;
    }
    ways
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m256d, _mm_loadu_pd, _mm256_add_pd, _mm256_castpd128_pd256, _mm256_insertf128_pd, _mm256_loadu_pd,
        _mm256_storeu_pd, _mm256_unpackhi_pd, _mm256_unpacklo_pd,
    };

    use super::{Entries, LANES, Piece, ways};

    /// Rows of which a register holds a number each.
    const ADDED: usize = 4;

    #[target_feature(enable = "avx2")]
    pub(super) fn add(pieces: &[Piece], entries: &Entries, rows: usize, ranks: &[u16], sums: &mut [f64]) {
        for piece in pieces {
            let ways = ways(piece.questions(), ranks);
            let table = entries.get(piece.from..piece.from + piece.size());
            match piece.features().len() {
                1 => add_piece::<1>(piece, table, &ways, rows, sums),
                2 => add_piece::<2>(piece, table, &ways, rows, sums),
                3 => add_piece::<3>(piece, table, &ways, rows, sums),
                4 => add_piece::<4>(piece, table, &ways, rows, sums),
                5 => add_piece::<5>(piece, table, &ways, rows, sums),
                6 => add_piece::<6>(piece, table, &ways, rows, sums),
                7 => add_piece::<7>(piece, table, &ways, rows, sums),
                8 => add_piece::<8>(piece, table, &ways, rows, sums),
                9 => add_piece::<9>(piece, table, &ways, rows, sums),
                _ => add_piece::<10>(piece, table, &ways, rows, sums),
            }
        }
    }

    /// Four rows at a time: their entries are read four numbers each, turned so that a register holds one feature's numbers, and
    /// added to that feature's sums.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads and stores of whole registers")]
    fn add_piece<const FEATURES: usize>(
        piece: &Piece,
        table: &[f64],
        ways: &[u16; LANES],
        rows: usize,
        sums: &mut [f64],
    ) {
        let stride = FEATURES.next_multiple_of(4);
        let mut slots = [0; FEATURES];
        for (slot, &feature) in slots.iter_mut().zip(piece.features()) {
            *slot = feature as usize * LANES;
        }
        // What the loads and stores below rely on.
        assert!(piece.features().len() == FEATURES && slots.iter().all(|slot| slot + LANES <= sums.len()));
        assert!(table.len() >= stride << piece.questions().len());
        let (groups, _) = ways.as_chunks::<ADDED>();
        for (group, ways) in groups.iter().enumerate().take(rows.div_ceil(ADDED)) {
            let starts = ways.map(|way| usize::from(way) * stride);
            for quad in 0..FEATURES.div_ceil(4) {
                // SAFETY: a way has as many bits as the piece has questions, so an entry lies in the table; a group's sums lie
                // in the lanes of a slot. Both were asserted above.
                unsafe {
                    let entry = starts.map(|start| table.as_ptr().add(start + 4 * quad));
                    let columns = turn(entry, FEATURES - 4 * quad);
                    for (slot, values) in slots[4 * quad..].iter().zip(columns) {
                        let sum = sums.as_mut_ptr().add(slot + group * ADDED);
                        _mm256_storeu_pd(sum, _mm256_add_pd(_mm256_loadu_pd(sum), values));
                    }
                }
            }
        }
    }

    /// Four rows of four numbers as four columns; of the columns, only the first `count` need be right.
    ///
    /// # Safety
    /// Four numbers can be read from every pointer.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads of registers")]
    unsafe fn turn(rows: [*const f64; 4], count: usize) -> [__m256d; 4] {
        // SAFETY: as the caller promises.
        let pair = |row: usize, at: usize| unsafe {
            let low = _mm256_castpd128_pd256(_mm_loadu_pd(rows[row].add(at)));
            _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(rows[row + 2].add(at)))
        };
        let (even, odd) = (pair(0, 0), pair(1, 0));
        let (first, second) = (_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd));
        if count <= 2 {
            return [first, second, first, second];
        }
        let (even, odd) = (pair(0, 2), pair(1, 2));
        [first, second, _mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd)]
    }
}
