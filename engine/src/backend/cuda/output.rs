//! What a step answers: logits, or the likeliest tokens.

use cudarc::driver::CudaSlice;

use super::launch::{Shape, launch};
use super::linear::FEW;
use super::memory::{Buffer, Matrix, Planes};
use super::step::Step;
use super::{Cuda, Pointer, device_failed, int};
use crate::models::causal::ForwardError;

/// Parts that a row of logits is cut into.
const PARTS: usize = 32;

impl Cuda {
    /// Computes logits and their likeliest tokens, which then lie in the room for them, and ends the step.
    fn finish(
        &self,
        step: &mut Step,
        (x, add): (&Buffer, &Buffer),
        (weight, epsilon): (&CudaSlice<f32>, f32),
        head: &Matrix,
    ) -> Result<(), ForwardError> {
        if !step.replays() && step.rows > 0 {
            let (rows, pitch) = (step.rows, weight.len().next_multiple_of(64));
            // Even, so that pairs of numbers may lie behind them.
            let answers = rows.max(32).next_multiple_of(2);
            let (last, logits, best, counters) = {
                let mut work = self.work.borrow_mut();
                let last = self.room(&mut work.last, 2 * rows.max(32) * pitch + 64)?;
                let logits = self.room(&mut work.logits, rows * head.rows)?;
                // Behind the answers lies what parts of a row found, two numbers each.
                let best = self.room(&mut work.best, answers + 2 * PARTS * rows)?;
                (last, logits, best, self.room(&mut work.counters, rows.max(1 << 12))?)
            };
            let add = self.add_to(x, Some(add))?;
            let input = if add.is_none() && step.single && rows <= FEW && self.norm_may_wait(x, weight) {
                // There is a row for every token.
                self.normed(x, (weight, epsilon))
            } else {
                let low = i64::try_from(rows * pitch).unwrap_or(i64::MAX);
                let planes = Planes { at: last, pitch: int(pitch), low };
                let named = self.addresses(step).rows;
                self.norm_rows(rows, (x, add, step.n), (weight, epsilon), (named, false), planes)?;
                planes.into()
            };
            self.map_rows(rows, input, head, (logits, head.rows))?;
            let parts = (2 * self.processors).div_ceil(rows).min(PARTS);
            let shape = Shape { blocks: (parts, rows, 1), threads: 512, shared: 0 };
            let found = best + (4 * answers) as Pointer;
            launch!(self, self.kernel("likeliest")?, shape, logits, int(head.rows), found, counters, best)?;
        }
        self.end_step(step)
    }

    /// For each row of the answer, whether it is wanted.
    fn wanted(step: &Step) -> impl Iterator<Item = bool> + '_ {
        // Where every sequence writes one token, there is a row for each; otherwise only for those that want one.
        let sequences = step.batch.sequences.iter().map(|sequence| sequence.wants_logits);
        sequences.filter(|wanted| step.single || *wanted)
    }

    pub(super) fn read_logits(
        &self,
        step: &mut Step,
        stream: (&Buffer, &Buffer),
        norm: (&CudaSlice<f32>, f32),
        head: &Matrix,
        out: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        self.finish(step, stream, norm, head)?;
        out.clear();
        let rows = Self::wanted(step).count();
        let work = self.work.borrow();
        if let Some(logits) = work.logits.as_ref().filter(|_| rows > 0) {
            out.resize(rows * head.rows, 0.0);
            self.stream.memcpy_dtoh(&logits.slice(..out.len()), out.as_mut_slice()).map_err(device_failed)?;
        }
        self.stream.synchronize().map_err(device_failed)?;
        keep(out, head.rows, Self::wanted(step));
        Ok(())
    }

    pub(super) fn read_likeliest(
        &self,
        step: &mut Step,
        stream: (&Buffer, &Buffer),
        norm: (&CudaSlice<f32>, f32),
        head: &Matrix,
        out: &mut Vec<u32>,
    ) -> Result<(), ForwardError> {
        self.finish(step, stream, norm, head)?;
        out.clear();
        let rows = Self::wanted(step).count();
        let work = self.work.borrow();
        if let Some(best) = work.best.as_ref().filter(|_| rows > 0) {
            let found = self.stream.clone_dtoh(&best.slice(..rows)).map_err(device_failed)?;
            out.extend(found.into_iter().map(|token| u32::try_from(token).unwrap_or(0)));
        }
        self.stream.synchronize().map_err(device_failed)?;
        keep(out, 1, Self::wanted(step));
        Ok(())
    }
}

/// Keeps the rows that are wanted, in their order.
fn keep<T: Copy>(values: &mut Vec<T>, width: usize, wanted: impl Iterator<Item = bool>) {
    let mut to = 0;
    for (row, wanted) in wanted.enumerate() {
        if wanted {
            if to != row {
                values.copy_within(row * width..(row + 1) * width, to * width);
            }
            to += 1;
        }
    }
    values.truncate(to * width);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_wanted_stay() {
        let mut values = vec![1, 2, 3, 4, 5, 6, 7, 8];
        keep(&mut values, 2, [false, true, false, true].into_iter());
        assert_eq!(values, [3, 4, 7, 8]);
        keep(&mut values, 2, [false, false].into_iter());
        assert!(values.is_empty());
    }
}
