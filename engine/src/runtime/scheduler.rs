//! Which sequences get how many tokens of the next step, and in which blocks their keys and values lie.
//!
//! Every step continues all running sequences by a token (*continuous batching*, Yu et al. 2022, Orca) and fills what is
//! left of its budget with pieces of prompts (*chunked prefill*, Agrawal et al. 2024, Sarathi-Serve), so that a long prompt
//! never makes the others wait longer than one step. When blocks run out the youngest sequence gives up its own and is read
//! again later; most of it is then still in the cache.
//!
//! A step can be planned while the one before it runs: its sequences' next tokens are not known yet, but their places are.
//! [`Scheduler::build`] fills them in.

use std::collections::HashMap;
use std::sync::Arc;

use crate::models::causal::{AdapterId, BLOCK, Batch, Sequence as Part};

use super::blocks::{Blocks, Content};
use super::fair::Fair;

/// Bounds of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Sequences that run at once.
    pub running: usize,
    /// Tokens in one step; at least `running`.
    pub step_tokens: usize,
}

/// A sequence as the scheduler sees it.
#[derive(Debug)]
struct Sequence {
    caller: Arc<str>,
    adapter: Option<AdapterId>,
    /// The prompt and what was generated.
    tokens: Vec<u32>,
    /// Tokens after which it ends.
    limit: usize,
    /// Tokens whose keys and values are in the cache once all steps under way are done.
    computed: usize,
    /// The next token is being computed.
    pending: bool,
    running: bool,
    blocks: Vec<u32>,
    /// Blocks that were made known, and what they hold.
    learnt: usize,
    content: Content,
    /// Tokens of the prompt found in the cache when it first ran.
    cached: Option<usize>,
}

impl Sequence {
    /// Tokens once those under way have come.
    fn reach(&self) -> usize {
        self.tokens.len() + usize::from(self.pending)
    }

    /// Tokens that the next step can compute; none where the token under way is certainly the last.
    fn to_do(&self) -> usize {
        if self.reach() >= self.limit { 0 } else { self.reach() - self.computed }
    }
}

#[derive(Debug, Clone, Copy)]
struct Work {
    sequence: u64,
    count: usize,
}

/// The sequences of one model and the blocks of its cache.
#[derive(Debug)]
pub(crate) struct Scheduler {
    bounds: Bounds,
    blocks: Blocks,
    sequences: HashMap<u64, Sequence>,
    /// The longest running first.
    running: Vec<u64>,
    waiting: Fair,
    plan: Vec<Work>,
    budget: usize,
    preempted: u64,
}

impl Scheduler {
    /// A scheduler of a cache of so many blocks.
    pub(crate) fn new(blocks: u32, bounds: Bounds) -> Self {
        Self {
            bounds: Bounds {
                step_tokens: bounds.step_tokens.max(bounds.running).max(1),
                running: bounds.running.max(1),
            },
            blocks: Blocks::new(blocks),
            sequences: HashMap::new(),
            running: Vec::new(),
            waiting: Fair::default(),
            plan: Vec::new(),
            budget: 0,
            preempted: 0,
        }
    }

    /// A new sequence waits. `limit` is the number of tokens, with the prompt, after which it ends: at most what the cache holds.
    pub(crate) fn add(
        &mut self,
        id: u64,
        caller: Arc<str>,
        tokens: Vec<u32>,
        limit: usize,
        adapter: Option<AdapterId>,
    ) {
        self.waiting.push(&caller, id);
        let sequence = Sequence {
            caller,
            adapter,
            tokens,
            limit,
            computed: 0,
            pending: false,
            running: false,
            blocks: Vec::new(),
            learnt: 0,
            content: Content::beginning(adapter),
            cached: None,
        };
        self.sequences.insert(id, sequence);
    }

    /// A sequence has ended, or nobody wants it any more.
    pub(crate) fn remove(&mut self, id: u64) {
        let Some(sequence) = self.sequences.remove(&id) else { return };
        if sequence.running {
            self.running.retain(|&running| running != id);
            self.waiting.end(&sequence.caller);
        } else {
            self.waiting.remove(&sequence.caller, id);
        }
        sequence.blocks.iter().rev().for_each(|&block| self.blocks.release(block));
    }

    /// The token that was under way has come. Answers whether it was the last one allowed.
    pub(crate) fn arrived(&mut self, id: u64, token: u32) -> bool {
        self.sequences.get_mut(&id).is_some_and(|sequence| {
            sequence.tokens.push(token);
            sequence.pending = false;
            sequence.tokens.len() >= sequence.limit
        })
    }

    /// Sequences that run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sequences that gave up their blocks so far.
    pub(crate) fn preempted(&self) -> u64 {
        self.preempted
    }

    /// Blocks that sequences hold.
    pub(crate) fn blocks_used(&self) -> usize {
        self.blocks.count() - self.blocks.available()
    }

    /// Whether this sequence runs.
    pub(crate) fn is_running(&self, id: u64) -> bool {
        self.sequences.get(&id).is_some_and(|sequence| sequence.running)
    }

    /// Tokens of the prompt that were found in the cache; `None` before the sequence ran.
    pub(crate) fn cached(&self, id: u64) -> Option<usize> {
        self.sequences.get(&id)?.cached
    }

    /// What the blocks hold can no longer be trusted.
    pub(crate) fn forget(&mut self) {
        self.blocks.forget();
        for sequence in self.sequences.values_mut() {
            sequence.content = Content::beginning(sequence.adapter);
            // Nothing of a sequence that goes on is made known any more: its beginning is not.
            sequence.learnt = usize::MAX;
        }
    }

    /// Plans the next step anew: running sequences first.
    pub(crate) fn plan(&mut self) {
        self.plan.clear();
        self.budget = self.bounds.step_tokens;
        let preempted = self.preempted;
        for decoding in [true, false] {
            let mut index = 0;
            while let Some(&id) = self.running.get(index) {
                index += 1;
                let Some(sequence) = self.sequences.get(&id) else { continue };
                let to_do = sequence.to_do();
                if to_do == 0 || (to_do == 1) != decoding {
                    continue;
                }
                let count = to_do.min(self.budget);
                if count == 0 {
                    break;
                }
                if self.grow(id, sequence.computed + count) {
                    self.plan.push(Work { sequence: id, count });
                    self.budget -= count;
                } else {
                    index -= 1;
                }
            }
        }
        // Whoever just gave up blocks would take them back from those who needed them.
        if self.preempted == preempted {
            self.admit();
        }
    }

    /// Adds waiting sequences to the planned step, as many as fit.
    pub(crate) fn admit(&mut self) {
        while self.budget > 0 {
            let Some(id) = self.waiting.peek() else { return };
            let Some(sequence) = self.sequences.get(&id) else { return };
            if sequence.pending {
                return;
            }
            let caller = Arc::clone(&sequence.caller);
            if self.running.len() >= self.bounds.running && !self.make_room(&caller) {
                return;
            }
            let (found, content) = self.find_prefix(id);
            let Some(sequence) = self.sequences.get(&id) else { return };
            // Room for the whole prompt and a token, and some for those who run: else somebody must soon give up again.
            let needed = (sequence.tokens.len() + 1).div_ceil(BLOCK) - found.len();
            let reserve = self.running.len() / 4;
            while self.blocks.available() < needed + reserve {
                if !self.make_room(&caller) {
                    found.iter().rev().for_each(|&block| self.blocks.release(block));
                    return;
                }
            }
            self.start(id, &caller, found, content);
        }
    }

    fn start(&mut self, id: u64, caller: &str, found: Vec<u32>, content: Content) {
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        self.waiting.start(caller);
        self.running.push(id);
        sequence.running = true;
        sequence.learnt = found.len();
        sequence.computed = found.len() * BLOCK;
        sequence.cached.get_or_insert(sequence.computed);
        sequence.content = content;
        sequence.blocks = found;
        let (computed, count) = (sequence.computed, sequence.to_do().min(self.budget));
        if count > 0 && self.grow(id, computed + count) {
            self.plan.push(Work { sequence: id, count });
            self.budget -= count;
        }
    }

    /// Takes over the blocks that hold the beginning of a sequence; at least one token is left to compute.
    fn find_prefix(&mut self, id: u64) -> (Vec<u32>, Content) {
        let mut found = Vec::new();
        let Some(sequence) = self.sequences.get(&id) else { return (found, Content::beginning(None)) };
        let mut content = Content::beginning(sequence.adapter);
        let whole = sequence.tokens.len().saturating_sub(1) / BLOCK;
        for tokens in sequence.tokens.as_chunks::<BLOCK>().0.iter().take(whole) {
            let Some((block, next)) = self.blocks.find(content, *tokens) else { break };
            found.push(block);
            content = next;
        }
        (found, content)
    }

    /// Gives a sequence blocks for so many tokens, taking them from the youngest if it must. Answers whether it still runs.
    fn grow(&mut self, id: u64, tokens: usize) -> bool {
        let needed = tokens.div_ceil(BLOCK);
        loop {
            let Some(sequence) = self.sequences.get_mut(&id) else { return false };
            // It may have been the youngest itself; whoever waits holds no blocks.
            if !sequence.running {
                return false;
            }
            if sequence.blocks.len() >= needed {
                return true;
            }
            if let Some(block) = self.blocks.take() {
                sequence.blocks.push(block);
                continue;
            }
            match self.running.last() {
                Some(&youngest) => self.preempt(youngest),
                None => return false,
            }
        }
    }

    /// Makes the youngest sequence of the caller with most of them wait, if that caller then still has more than this one.
    fn make_room(&mut self, caller: &str) -> bool {
        let own = self.waiting.running(caller);
        let greedy = self
            .running
            .iter()
            .filter_map(|id| Some((self.waiting.running(&self.sequences.get(id)?.caller), *id)))
            .max_by_key(|(count, _)| *count);
        let Some((count, of)) = greedy else { return false };
        if count <= own + 1 {
            return false;
        }
        let greedy = self.sequences.get(&of).map(|sequence| Arc::clone(&sequence.caller));
        let youngest = self
            .running
            .iter()
            .rev()
            .copied()
            .find(|id| self.sequences.get(id).map(|sequence| &sequence.caller) == greedy.as_ref());
        youngest.is_some_and(|youngest| {
            self.preempt(youngest);
            true
        })
    }

    fn preempt(&mut self, id: u64) {
        self.running.retain(|&running| running != id);
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        sequence.blocks.drain(..).rev().for_each(|block| self.blocks.release(block));
        sequence.running = false;
        sequence.computed = 0;
        sequence.learnt = 0;
        sequence.content = Content::beginning(sequence.adapter);
        self.waiting.put_back(&sequence.caller, id);
        self.preempted += 1;
        if let Some(place) = self.plan.iter().position(|work| work.sequence == id) {
            self.budget += self.plan.remove(place).count;
        }
    }

    /// Writes the planned step into `batch`, and into `rows` whose logits it answers. Sequences that ended since are left out.
    /// From here on the step counts as computed.
    pub(crate) fn build(&mut self, batch: &mut Batch, rows: &mut Vec<u64>) {
        batch.tokens.clear();
        batch.positions.clear();
        batch.slots.clear();
        rows.clear();
        let mut parts = 0;
        for work in std::mem::take(&mut self.plan) {
            let Some(sequence) = self.sequences.get_mut(&work.sequence) else { continue };
            let (first, end) = (sequence.computed, sequence.computed + work.count);
            let Some(tokens) = sequence.tokens.get(first..end).filter(|_| sequence.running) else { continue };
            let start = batch.tokens.len();
            batch.tokens.extend_from_slice(tokens);
            for position in first..end {
                let block = sequence.blocks.get(position / BLOCK).copied().unwrap_or_default();
                batch.positions.push(narrow(position));
                batch.slots.push(block * narrow(BLOCK) + narrow(position % BLOCK));
            }
            let wants_logits = end == sequence.tokens.len();
            // Block tables are written into the ones of earlier steps.
            if batch.sequences.len() == parts {
                batch.sequences.push(Part::default());
            }
            if let Some(part) = batch.sequences.get_mut(parts) {
                part.tokens = start..batch.tokens.len();
                part.context = end;
                part.blocks.clear();
                part.blocks.extend_from_slice(&sequence.blocks);
                part.wants_logits = wants_logits;
                part.adapter = sequence.adapter;
            }
            parts += 1;
            sequence.computed = end;
            sequence.pending = wants_logits;
            if wants_logits {
                rows.push(work.sequence);
            }
            let generated = end > first && first + 1 == end && wants_logits;
            self.waiting.charge(&sequence.caller, if generated { 2 } else { u64::try_from(work.count).unwrap_or(1) });
            learn(sequence, &mut self.blocks);
        }
        batch.sequences.truncate(parts);
    }
}

/// Makes full blocks known. Steps run in order, so whoever takes one over reads it after it was written.
fn learn(sequence: &mut Sequence, blocks: &mut Blocks) {
    let full = sequence.computed / BLOCK;
    let chunks = sequence.tokens.as_chunks::<BLOCK>().0;
    while sequence.learnt < full {
        let (Some(&block), Some(tokens)) = (sequence.blocks.get(sequence.learnt), chunks.get(sequence.learnt)) else {
            return;
        };
        sequence.content = blocks.learn(block, sequence.content, *tokens);
        sequence.learnt += 1;
    }
}

/// Positions and offsets are below the context, which is far below 2^32.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        scheduler: Scheduler,
        batch: Batch,
        rows: Vec<u64>,
    }

    impl Bench {
        fn new(blocks: u32, running: usize, step_tokens: usize) -> Self {
            let scheduler = Scheduler::new(blocks, Bounds { running, step_tokens });
            Self { scheduler, batch: Batch::default(), rows: Vec::new() }
        }

        fn add(&mut self, id: u64, caller: &str, tokens: &[u32], limit: usize) {
            self.scheduler.add(id, caller.into(), tokens.to_vec(), limit, None);
        }

        /// One step; every sequence that wants a token gets its own number. Answers (sequence tokens, rows).
        fn step(&mut self) -> (Vec<usize>, Vec<u64>) {
            self.scheduler.plan();
            self.scheduler.build(&mut self.batch, &mut self.rows);
            let shape = crate::models::causal::Shape {
                vocabulary: 1000,
                layers: 1,
                experts: 0,
                longest_context: 4096,
                bytes_per_block: 1,
            };
            self.batch.check(&shape, self.scheduler.blocks.count()).unwrap();
            for &id in &self.rows {
                if self.scheduler.arrived(id, u32::try_from(id).unwrap()) {
                    self.scheduler.remove(id);
                }
            }
            (self.batch.sequences.iter().map(|part| part.tokens.len()).collect(), self.rows.clone())
        }
    }

    #[test]
    fn decoding_goes_first_and_a_long_prompt_fills_what_is_left() {
        let mut bench = Bench::new(64, 8, 10);
        bench.add(1, "a", &[5; 3], 100);
        assert_eq!(bench.step(), (vec![3], vec![1]));
        bench.add(2, "a", &[6; 25], 100);
        assert_eq!(bench.step(), (vec![1, 9], vec![1]));
        assert_eq!(bench.step(), (vec![1, 9], vec![1]));
        assert_eq!(bench.step(), (vec![1, 7], vec![1, 2]));
        assert_eq!(bench.step(), (vec![1, 1], vec![1, 2]));
    }

    #[test]
    fn a_common_beginning_is_computed_once() {
        let mut bench = Bench::new(64, 8, 100);
        let prompt: Vec<u32> = (0..40).collect();
        bench.add(1, "a", &prompt, 100);
        bench.step();
        bench.add(2, "b", &prompt, 100);
        bench.add(3, "b", &prompt[..32], 100);
        // Two full blocks of the second, one of the third: a token must be left to compute.
        assert_eq!(bench.step().0, [1, 8, 16]);
        assert_eq!(
            (bench.scheduler.cached(1), bench.scheduler.cached(2), bench.scheduler.cached(3)),
            (Some(0), Some(32), Some(16))
        );
        for id in 1..=3 {
            bench.scheduler.remove(id);
        }
        assert_eq!(bench.scheduler.blocks_used(), 0);
        bench.add(4, "c", &prompt, 100);
        assert_eq!(bench.step().0, [8]);
    }

    #[test]
    fn the_youngest_gives_up_its_blocks_and_comes_back() {
        let mut bench = Bench::new(4, 8, 100);
        bench.add(1, "a", &[1; 30], 64);
        bench.add(2, "a", &[2; 14], 30);
        assert_eq!(bench.step().1, [1, 2]);
        let mut finished = Vec::new();
        for _ in 0..80 {
            let before: Vec<u64> = bench.scheduler.sequences.keys().copied().collect();
            bench.step();
            finished.extend(before.into_iter().filter(|id| !bench.scheduler.sequences.contains_key(id)));
        }
        assert_eq!(finished, [1, 2]);
        assert!(bench.scheduler.preempted() > 0);
        assert_eq!((bench.scheduler.blocks_used(), bench.scheduler.running(), bench.scheduler.waiting()), (0, 0, 0));
    }

    #[test]
    fn somebody_new_gets_a_place_from_whoever_has_most() {
        let mut bench = Bench::new(64, 4, 100);
        for id in 0..6 {
            bench.add(id, "crowd", &[7; 4], 60);
        }
        bench.step();
        bench.add(10, "one", &[8; 4], 60);
        bench.step();
        assert!(bench.rows.contains(&10), "{:?}", bench.rows);
        assert_eq!((bench.scheduler.running(), bench.scheduler.preempted()), (4, 1));
        // The share is fair now: nobody is moved again.
        (0..10).for_each(|_| drop(bench.step()));
        assert_eq!(bench.scheduler.preempted(), 1);
    }

    #[test]
    fn a_step_planned_ahead_has_the_tokens_that_came_meanwhile() {
        let mut bench = Bench::new(64, 8, 100);
        bench.add(1, "a", &[3; 20], 22);
        bench.add(2, "a", &[4; 2], 50);
        bench.scheduler.plan();
        bench.scheduler.build(&mut bench.batch, &mut bench.rows);
        bench.scheduler.plan();
        bench.scheduler.arrived(1, 77);
        bench.scheduler.arrived(2, 78);
        bench.scheduler.build(&mut bench.batch, &mut bench.rows);
        assert_eq!((&bench.batch.tokens[..], &bench.batch.positions[..]), (&[77, 78][..], &[20, 2][..]));
        // The first one's next token is its last, so it is not planned again; the second one ends before it is built.
        bench.scheduler.plan();
        assert_eq!(bench.scheduler.plan.len(), 1);
        bench.scheduler.remove(2);
        bench.scheduler.build(&mut bench.batch, &mut bench.rows);
        assert!(bench.batch.tokens.is_empty() && bench.batch.sequences.is_empty());
    }
}
