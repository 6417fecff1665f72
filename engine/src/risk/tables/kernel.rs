//! The inner loops: which way rows go at 64 nodes, and adding a table's entry. Dispatched when the program runs; additions
//! have the same order in every version.
#![expect(clippy::cast_possible_truncation, reason = "an index has at most 10 bits")]
#![expect(clippy::indexing_slicing, reason = "pieces and their tables are made together, with all indices in range")]

use super::pieces::{NODES, Unit};

/// Rows whose sums are worked on together, so that additions to one row need not wait for each other.
const ROWS: usize = 16;

/// Adds every piece's entry to every row's sums. `ranks` and `out` hold `width` and `features` numbers per row.
#[expect(unsafe_code, reason = "run-time dispatch")]
pub(super) fn add(units: &[Unit], entries: &[f64], ranks: &[u16], width: usize, out: &mut [f64], features: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512bw") && has!("avx512f") && has!("bmi2") && width <= 64 {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { wide::add_512(units, entries, ranks, width, out, features) };
        }
        if has!("bmi2") {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { wide::add_bmi2(units, entries, ranks, width, out, features) };
        }
    }
    add_portable(units, entries, ranks, width, out, features);
}

/// Without special instructions.
pub(super) fn add_portable(
    units: &[Unit],
    entries: &[f64],
    ranks: &[u16],
    width: usize,
    out: &mut [f64],
    features: usize,
) {
    add_with(units, entries, ranks, width, out, features, sides, pext);
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the inner loop of three versions")]
fn add_with(
    units: &[Unit],
    entries: &[f64],
    ranks: &[u16],
    width: usize,
    out: &mut [f64],
    features: usize,
    sides: impl Fn(&Unit, &[u16]) -> u64,
    pext: impl Fn(u64, u64) -> usize,
) {
    let mut words = [0_u64; ROWS];
    for unit in units {
        for (ranks, out) in ranks.chunks(width * ROWS).zip(out.chunks_mut(features * ROWS)) {
            for (word, ranks) in words.iter_mut().zip(ranks.chunks_exact(width)) {
                *word = sides(unit, ranks);
            }
            for piece in &unit.pieces {
                let slots = piece.features.as_slice();
                let table = &entries[piece.from..piece.from + (slots.len() << piece.mask.count_ones())];
                for (&word, sums) in words.iter().zip(out.chunks_exact_mut(features)) {
                    let from = pext(word, piece.mask) * slots.len();
                    let entry = &table[from..from + slots.len()];
                    for (&slot, value) in slots.iter().zip(entry) {
                        sums[slot as usize] += value;
                    }
                }
            }
        }
    }
}

/// Which way a row goes at every node: a bit is set for right.
#[inline(always)]
pub(super) fn sides(unit: &Unit, ranks: &[u16]) -> u64 {
    let mut word = 0;
    for bit in 0..NODES {
        word |= u64::from(ranks[usize::from(unit.column[bit])] >= unit.cut[bit]) << bit;
    }
    word
}

/// The bits of a word under a mask, moved together.
#[inline(always)]
pub(super) fn pext(word: u64, mut mask: u64) -> usize {
    let (mut found, mut place) = (0, 0);
    while mask != 0 {
        let bit = mask.trailing_zeros();
        found |= ((word >> bit & 1) as usize) << place;
        place += 1;
        mask &= mask - 1;
    }
    found
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        _mm512_cmpge_epu16_mask, _mm512_loadu_si512, _mm512_permutex2var_epi16, _mm512_permutexvar_epi16, _pext_u64,
    };

    use super::{Unit, add_with, sides};

    #[target_feature(enable = "bmi2")]
    pub(super) fn add_bmi2(
        units: &[Unit],
        entries: &[f64],
        ranks: &[u16],
        width: usize,
        out: &mut [f64],
        features: usize,
    ) {
        add_with(units, entries, ranks, width, out, features, sides, |word, mask| _pext_u64(word, mask) as usize);
    }

    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn add_512(
        units: &[Unit],
        entries: &[f64],
        ranks: &[u16],
        width: usize,
        out: &mut [f64],
        features: usize,
    ) {
        let pext = |word, mask| _pext_u64(word, mask) as usize;
        add_with(units, entries, ranks, width, out, features, |unit, ranks| sides_512(unit, ranks), pext);
    }

    /// All 64 comparisons at once: the ranks are one or two registers, from which every node picks its own.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    #[expect(unsafe_code, reason = "loads of whole registers")]
    fn sides_512(unit: &Unit, ranks: &[u16]) -> u64 {
        let (column, cut) = (unit.column.as_ptr(), unit.cut.as_ptr());
        debug_assert!(ranks.len() == 32 || ranks.len() == 64);
        // SAFETY: both arrays hold 64 numbers of 16 bits, two registers; `ranks` holds 32 or 64, as the caller checked.
        let (columns, cuts, low, high) = unsafe {
            let low = _mm512_loadu_si512(ranks.as_ptr().cast());
            let high = if ranks.len() > 32 { _mm512_loadu_si512(ranks.as_ptr().add(32).cast()) } else { low };
            (
                [_mm512_loadu_si512(column.cast()), _mm512_loadu_si512(column.add(32).cast())],
                [_mm512_loadu_si512(cut.cast()), _mm512_loadu_si512(cut.add(32).cast())],
                low,
                high,
            )
        };
        let mut word = 0;
        for half in 0..2 {
            let picked = if ranks.len() > 32 {
                _mm512_permutex2var_epi16(low, columns[half], high)
            } else {
                _mm512_permutexvar_epi16(columns[half], low)
            };
            word |= u64::from(_mm512_cmpge_epu16_mask(picked, cuts[half])) << (32 * half);
        }
        word
    }
}
