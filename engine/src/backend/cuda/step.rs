//! A batch on the GPU, and steps that are recorded and replayed.
//!
//! A step of at most [`MOST`] sequences that each write one token is filled up to 1, 2, 4, 8, 16 or 32 tokens: the ones that
//! are added have no place in any cache, are routed nowhere and heard by nobody. Of each such number the first step runs
//! operation by operation and finds all memory it needs, the second is recorded while it runs, and later ones are one
//! launch. Whenever memory was given back since, a recording may name it, and is made anew.

use std::cell::RefCell;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode, CUstreamCaptureStatus};
use cudarc::driver::{CudaGraph, CudaSlice};

use super::launch::{Shape, launch};
use super::{Cuda, Pointer, device_failed, int};
use crate::backend::Rope;
use crate::models::causal::{Batch, ForwardError};

/// Sequences of a step that is recorded.
const MOST: usize = 32;

/// A recorded step, or that there was one of its kind.
pub(super) struct Recorded {
    /// [`Cuda::epoch`] when it ran.
    pub(super) epoch: u64,
    pub(super) graph: Option<Graph>,
}

/// A graph that wanders with the backend from thread to thread.
pub(super) struct Graph(pub(super) CudaGraph);

#[expect(unsafe_code, reason = "a graph may be used by any one thread at a time, and it is not shared")]
// SAFETY: as the reason says.
unsafe impl Send for Graph {}

/// How the operations of a step run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// One after the other.
    #[default]
    Plain,
    /// As `Plain`; what was not recorded yet may be next time.
    First,
    /// They are recorded, and run at the end.
    Record,
    /// They were recorded.
    Replay,
}

/// A batch.
#[derive(Default)]
pub(crate) struct Step {
    /// Tokens with those that fill up.
    pub(super) n: usize,
    pub(super) mode: Mode,
    /// Whether every sequence writes one token.
    pub(super) single: bool,
    pub(super) batch: Batch,
    /// Sequences, in the order of the batch, whose logits are wanted.
    pub(super) rows: usize,
    /// Everything that kernels must know of the batch: see [`Places`].
    packed: Option<CudaSlice<i32>>,
    host: Vec<i32>,
    places: Places,
    pub(super) angles: Option<CudaSlice<f32>>,
    frequencies: Option<(Vec<f32>, CudaSlice<f32>)>,
    pub(super) neighbours: i32,
    tasks: RefCell<Vec<Tasks>>,
}

/// Sequences and first rows of attention's blocks, for one way of cutting rows.
struct Tasks {
    /// Rows of a block, and heads that share keys.
    way: (usize, usize),
    count: usize,
    list: CudaSlice<i32>,
}

/// Where the parts of a batch lie in its memory, counted in numbers. The first number is that of the real tokens.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    tokens: usize,
    positions: usize,
    slots: usize,
    rows: usize,
    sequences: usize,
    blocks: usize,
}

/// A batch as kernels take it.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub(super) count: Pointer,
    pub(super) tokens: Pointer,
    pub(super) positions: Pointer,
    pub(super) slots: Pointer,
    pub(super) rows: Pointer,
    pub(super) sequences: Pointer,
    pub(super) blocks: Pointer,
}

impl Step {
    /// Whether operations have nothing to do: they were recorded.
    pub(super) fn replays(&self) -> bool {
        self.mode == Mode::Replay
    }
}

impl Cuda {
    pub(super) fn addresses(&self, step: &Step) -> Addresses {
        let base = step.packed.as_ref().map_or(0, |packed| self.at(packed));
        let at = |place: usize| base + (4 * place) as Pointer;
        let Places { tokens, positions, slots, rows, sequences, blocks } = step.places;
        Addresses {
            count: base,
            tokens: at(tokens),
            positions: at(positions),
            slots: at(slots),
            rows: at(rows),
            sequences: at(sequences),
            blocks: at(blocks),
        }
    }

    pub(super) fn begin_step(&self, step: &mut Step, batch: &Batch, rope: &Rope) -> Result<(), ForwardError> {
        self.forget_broken_recording()?;
        step.batch.clone_from(batch);
        step.tasks.borrow_mut().clear();
        let real = batch.tokens.len();
        step.single = batch.sequences.iter().all(|sequence| sequence.tokens.len() == 1);
        let adapted = batch.sequences.iter().any(|sequence| sequence.adapter.is_some());
        let recordable = step.single && real <= MOST && !adapted;
        step.n = if recordable { real.next_power_of_two() } else { real };
        self.pack(step);
        let packed = match step.packed.take() {
            Some(packed) if packed.len() >= step.host.len() => packed,
            // With room for a few thousand more blocks, so that it stays where it is.
            _ => {
                self.moved();
                self.zeros(step.host.len() + (1 << 14))?
            }
        };
        let packed = step.packed.insert(packed);
        let mut view = packed.slice_mut(..step.host.len());
        self.stream.memcpy_htod(&step.host, &mut view).map_err(device_failed)?;

        let pairs = rope.frequencies.len();
        self.room(&mut step.angles, 2 * pairs * step.n.max(MOST))?;
        if step.frequencies.as_ref().is_none_or(|(known, _)| *known != rope.frequencies) {
            self.moved();
            step.frequencies = Some((rope.frequencies.clone(), self.copied(&rope.frequencies)?));
        }
        step.neighbours = i32::from(rope.neighbours);

        step.mode = match self.recorded.borrow().get(&step.n) {
            _ if !recordable => Mode::Plain,
            Some(recorded) if recorded.epoch == self.epoch.get() => {
                if recorded.graph.is_some() {
                    Mode::Replay
                } else {
                    Mode::Record
                }
            }
            _ => Mode::First,
        };
        if step.mode == Mode::Record {
            let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
            self.stream.begin_capture(mode).map_err(device_failed)?;
        }
        if step.replays() {
            return Ok(());
        }
        let addresses = self.addresses(step);
        let frequencies = step.frequencies.as_ref().map_or(0, |(_, frequencies)| self.at(frequencies));
        let angles = step.angles.as_ref().map_or(0, |angles| self.at(angles));
        let shape = Shape { blocks: (step.n, 1, 1), threads: 64, shared: 0 };
        let kernel = self.kernel("angles")?;
        launch!(self, kernel, shape, addresses.positions, frequencies, int(pairs), rope.magnitude, angles)
    }

    /// Lays the batch out as one list of numbers.
    #[expect(
        clippy::cast_possible_wrap,
        reason = "tokens, positions, slots and blocks were counted by the batch's check"
    )]
    fn pack(&self, step: &mut Step) {
        let (batch, n) = (&step.batch, step.n);
        let added = n - batch.tokens.len();
        let host = &mut step.host;
        host.clear();
        host.extend([int(batch.tokens.len()), 0, 0, 0]);
        let mut places = Places { tokens: host.len(), ..Places::default() };
        host.extend(batch.tokens.iter().map(|token| *token as i32));
        host.extend(std::iter::repeat_n(0, added));
        places.positions = host.len();
        host.extend(batch.positions.iter().map(|position| *position as i32));
        host.extend(std::iter::repeat_n(0, added));
        places.slots = host.len();
        host.extend(batch.slots.iter().map(|slot| *slot as i32));
        host.extend(std::iter::repeat_n(-1, added));
        places.rows = host.len();
        if step.single {
            // Every token's, so that a recording serves whoever wants whichever.
            host.extend((0..n).map(int));
            step.rows = n;
        } else {
            let wanted = batch.sequences.iter().filter(|sequence| sequence.wants_logits);
            host.extend(wanted.map(|sequence| int(sequence.tokens.end.saturating_sub(1))));
            step.rows = host.len() - places.rows;
        }
        places.sequences = host.len();
        let mut first = 0;
        for sequence in &batch.sequences {
            let tokens = &sequence.tokens;
            host.extend([int(tokens.start), int(tokens.len()), int(sequence.context), int(first)]);
            first += sequence.blocks.len();
        }
        let added = if step.single { added } else { 0 };
        host.extend((0..added).flat_map(|index| [int(batch.tokens.len() + index), 1, 0, 0]));
        places.blocks = host.len();
        host.extend(batch.sequences.iter().flat_map(|sequence| sequence.blocks.iter().map(|block| *block as i32)));
        step.places = places;
    }

    /// Sequences and first rows of the blocks that attention is cut into, and how many there are.
    pub(super) fn tasks(&self, step: &Step, rows: usize, group: usize) -> Result<(Pointer, usize), ForwardError> {
        let mut known = step.tasks.borrow_mut();
        if let Some(tasks) = known.iter().find(|tasks| tasks.way == (rows, group)) {
            return Ok((self.at(&tasks.list), tasks.count));
        }
        let mut list = Vec::new();
        for (number, sequence) in step.batch.sequences.iter().enumerate() {
            // Those that see furthest first: they take longest.
            let firsts = (0..sequence.tokens.len() * group).step_by(rows).rev();
            list.extend(firsts.flat_map(|first| [int(number), int(first)]));
        }
        let (copy, count) = (self.copied(&list)?, list.len() / 2);
        // The list may go once it was read.
        self.stream.synchronize().map_err(device_failed)?;
        let at = self.at(&copy);
        known.push(Tasks { way: (rows, group), count, list: copy });
        Ok((at, count))
    }

    /// Runs what was recorded, or remembers that a step of this kind may be.
    pub(super) fn end_step(&self, step: &mut Step) -> Result<(), ForwardError> {
        let mut recorded = self.recorded.borrow_mut();
        match step.mode {
            Mode::Plain => {}
            Mode::First => {
                recorded.insert(step.n, Recorded { epoch: self.epoch.get(), graph: None });
            }
            Mode::Record => {
                let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(device_failed)?;
                let graph = graph.ok_or_else(|| ForwardError::Device("nothing was recorded".to_owned()))?;
                graph.launch().map_err(device_failed)?;
                recorded.insert(step.n, Recorded { epoch: self.epoch.get(), graph: Some(Graph(graph)) });
            }
            Mode::Replay => {
                if let Some(Graph(graph)) = recorded.get(&step.n).and_then(|recorded| recorded.graph.as_ref()) {
                    graph.launch().map_err(device_failed)?;
                }
            }
        }
        // Whoever begins the next step decides anew.
        step.mode = Mode::Plain;
        Ok(())
    }

    /// A step that failed while it was recorded leaves the stream recording.
    fn forget_broken_recording(&self) -> Result<(), ForwardError> {
        let status = self.stream.capture_status().map_err(device_failed)?;
        if status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE {
            // What was recorded is of no use, nor is what is wrong with it.
            let _ = self.stream.end_capture(CUgraphInstantiate_flags(0));
        }
        Ok(())
    }
}
