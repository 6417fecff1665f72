//! Gated feed-forward blocks: those of chosen experts and the shared one.
//!
//! Tokens are grouped by expert, so that an expert's weights are read once for a batch and only by those it serves. A
//! token's sum is made in the order of its experts' numbers, the shared block last, whatever else is in the batch.
#![expect(unsafe_code, reason = "tasks write disjoint places of one buffer; each place is named where it is taken")]
#![expect(clippy::indexing_slicing, reason = "pairs, tokens and widths are counted in `group`")]

use std::ops::Range;

use super::cells::Cells;
use super::device::{SCRATCH, share};
use super::isa::Isa;
use super::memory::{Choices, Matrix};
use super::pool::Pool;
use super::product::{Inputs, Tokens};
use super::spans::Rounded;
use crate::backend::Gated;

/// The blocks of one layer.
pub(super) struct Blocks<'a> {
    pub(super) chosen: Option<(&'a Choices, &'a [Gated<Matrix>])>,
    pub(super) shared: Option<&'a Gated<Matrix>>,
}

impl<'a> Blocks<'a> {
    fn experts(&self) -> &'a [Gated<Matrix>] {
        self.chosen.map_or(&[], |(_, experts)| experts)
    }

    /// Whether products with these weights use rounded activations.
    pub(super) fn rounds(&self) -> bool {
        self.experts().first().or(self.shared).is_some_and(|block| block.gate.rounds())
    }
}

/// Which tokens go to which block, and what the blocks say inside.
#[derive(Default)]
pub(super) struct Grouping {
    /// Tokens and weights, ordered by expert; the shared block's tokens last.
    tokens: Vec<u32>,
    weights: Vec<f32>,
    /// Where each expert's pairs begin, the shared block's, and the end.
    starts: Vec<usize>,
    /// Blocks that have tokens, by number; the shared one's is the number of experts.
    active: Vec<usize>,
    /// Some rows of a block's inner layer.
    tasks: Vec<(usize, Range<usize>)>,
    /// The experts' inner activations, and the shared block's, which may be wider.
    inner: [Inner; 2],
}

#[derive(Default)]
struct Inner {
    width: usize,
    values: Vec<f32>,
    rounded: Rounded,
}

impl Grouping {
    /// Sorts `n` tokens by block.
    pub(super) fn group(&mut self, n: usize, blocks: &Blocks<'_>) {
        let experts = blocks.experts().len();
        let pairs = blocks.chosen.map_or(&[][..], |(choices, _)| &choices.chosen[..n * choices.k]);
        let shared = if blocks.shared.is_some() { n } else { 0 };
        self.starts.clear();
        self.starts.resize(experts + 2, 0);
        pairs.iter().for_each(|(expert, _)| self.starts[*expert as usize + 1] += 1);
        (0..experts).for_each(|expert| self.starts[expert + 1] += self.starts[expert]);
        self.starts[experts + 1] = pairs.len() + shared;
        self.tokens.clear();
        self.tokens.resize(pairs.len() + shared, 0);
        self.weights.clear();
        self.weights.resize(pairs.len() + shared, 1.0);
        let k = blocks.chosen.map_or(1, |(choices, _)| choices.k);
        // Each start moves to its end while pairs are put in, and is moved back after.
        for (token, chosen) in (0u32..).zip(pairs.chunks_exact(k)) {
            for (expert, weight) in chosen {
                let place = &mut self.starts[*expert as usize];
                (self.tokens[*place], self.weights[*place]) = (token, *weight);
                *place += 1;
            }
        }
        (1..=experts).rev().for_each(|expert| self.starts[expert] = self.starts[expert - 1]);
        self.starts[0] = 0;
        self.starts[experts] = pairs.len();
        for (token, place) in (0u32..).zip(&mut self.tokens[pairs.len()..]) {
            *place = token;
        }
        self.active.clear();
        self.active.extend((0..=experts).filter(|block| self.starts[*block] < self.starts[block + 1]));
    }

    fn pairs(&self, block: usize) -> Range<usize> {
        self.starts[block]..self.starts[block + 1]
    }

    /// Runs the blocks; `out` is as wide as given.
    pub(super) fn run(
        &mut self,
        (isa, pool): (Isa, &mut Pool),
        n: usize,
        blocks: &Blocks<'_>,
        inputs: Inputs<'_>,
        (out, out_width): (&mut [f32], usize),
    ) {
        let experts = blocks.experts();
        let block_of = |number: usize| experts.get(number).or(blocks.shared);
        // Place of a pair in the inner activations: experts' and the shared block's are counted apart.
        let shared_first = self.starts[experts.len()];
        let place = |number: usize| if number < experts.len() { (0, 0) } else { (1, shared_first) };
        let widths = [experts.first().map_or(0, |e| e.gate.rows()), blocks.shared.map_or(0, |s| s.gate.rows())];
        let counts = [shared_first, self.tokens.len() - shared_first];
        for ((inner, width), count) in self.inner.iter_mut().zip(widths).zip(counts) {
            inner.width = width;
            inner.values.resize(width * count, 0.0);
        }

        let products: usize = counts[0] * widths[0] * inputs.stride + counts[1] * widths[1] * inputs.stride;
        let rows: usize = self.active.iter().map(|number| widths[place(*number).0]).sum();
        let step = share(rows, products, pool.threads());
        self.tasks.clear();
        for &number in &self.active {
            let width = widths[place(number).0];
            let part = width.div_ceil(width.div_ceil(step).max(1)).next_multiple_of(super::product::PANEL);
            self.tasks.extend((0..width).step_by(part.max(1)).map(|first| (number, first..width.min(first + part))));
        }
        let (first, second) = self.inner.split_at_mut(1);
        let cells = [Cells::new(&mut first[0].values), Cells::new(&mut second[0].values)];
        let (tokens, tasks, starts) = (&self.tokens, &self.tasks, &self.starts);
        pool.run(tasks.len(), &|task| {
            let (number, rows) = &tasks[task];
            let Some(block) = block_of(*number) else { return };
            let pairs = starts[*number]..starts[number + 1];
            let (kind, start) = place(*number);
            let listed = Tokens::Listed(&tokens[pairs.clone()]);
            SCRATCH.with_borrow_mut(|(scratch, _)| {
                block.gate.products(isa, rows.clone(), inputs, &listed, scratch, |index, row, values| {
                    let at = (pairs.start - start + index) * widths[kind] + row;
                    // SAFETY: these rows of this block belong to this task alone.
                    unsafe { cells[kind].at(at, values.len()) }.copy_from_slice(values);
                });
                block.up.products(isa, rows.clone(), inputs, &listed, scratch, |index, row, values| {
                    let at = (pairs.start - start + index) * widths[kind] + row;
                    // SAFETY: as above.
                    let inner = unsafe { cells[kind].at(at, values.len()) };
                    inner.iter_mut().zip(values).for_each(|(gate, up)| *gate *= up / (1.0 + super::exp(-*gate)));
                });
            });
        });

        let rounds = inputs.rounded.is_some();
        for inner in self.inner.iter_mut().filter(|inner| rounds && inner.width > 0) {
            let count = inner.values.len() / inner.width;
            inner.rounded.reserve(count, inner.width);
            let lines = inner.values.chunks_exact(inner.width).enumerate();
            lines.for_each(|(row, values)| inner.rounded.round(isa, row, values));
        }
        let step = share(out_width, products, pool.threads());
        let cells = Cells::new(out);
        let this = &*self;
        pool.run(out_width.div_ceil(step), &|task| {
            let rows = task * step..out_width.min((task + 1) * step);
            for token in 0..n {
                // SAFETY: these columns belong to this task alone.
                unsafe { cells.at(token * out_width + rows.start, rows.len()) }.fill(0.0);
            }
            SCRATCH.with_borrow_mut(|(scratch, _)| {
                for &number in &this.active {
                    let Some(block) = block_of(number) else { continue };
                    let (pairs, (kind, start)) = (this.pairs(number), place(number));
                    let inner = &this.inner[kind];
                    let inputs =
                        Inputs { x: &inner.values, stride: inner.width, rounded: rounds.then_some(&inner.rounded) };
                    let selected = Tokens::Range(pairs.start - start..pairs.end - start);
                    block.down.products(isa, rows.clone(), inputs, &selected, scratch, |index, row, values| {
                        let pair = pairs.start + index;
                        let at = this.tokens[pair] as usize * out_width + row;
                        // SAFETY: these columns belong to this task alone.
                        let out = unsafe { cells.at(at, values.len()) };
                        let weight = this.weights[pair];
                        out.iter_mut().zip(values).for_each(|(o, v)| *o += weight * v);
                    });
                }
            });
        });
    }
}
