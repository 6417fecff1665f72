//! What a generative model promises to the runtime: one forward pass over a batch of sequences whose keys and values
//! live in a paged cache.
//!
//! The runtime owns the blocks: it decides which block of the cache holds which tokens, shares blocks between sequences
//! with a common beginning, and passes block tables in. A model owns the memory of the cache and computes logits.
//!
//! Every token's numbers depend only on its own sequence: whatever else is in the batch, and in however many pieces a
//! prompt is read, the CPU backend computes the same bits.

use std::ops::Range;
use std::path::Path;

/// Tokens in one block of the cache.
pub const BLOCK: usize = 16;

/// A low-rank adapter that was loaded into a model (Hu et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(pub u32);

/// One step's work: several sequences' new tokens laid end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The new tokens of all sequences.
    pub tokens: Vec<u32>,
    /// Position of each token in its sequence, from 0.
    pub positions: Vec<u32>,
    /// Where each token's keys and values are written: `block * BLOCK + offset`.
    pub slots: Vec<u32>,
    /// Whose tokens they are; the ranges follow one another and cover `tokens`.
    pub sequences: Vec<Sequence>,
}

/// One sequence's part of a [`Batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Its part of [`Batch::tokens`].
    pub tokens: Range<usize>,
    /// Tokens in its cache after this step: those of earlier steps and these.
    pub context: usize,
    /// The blocks that hold them, in order: at least `context / BLOCK`, rounded up.
    pub blocks: Vec<u32>,
    /// Whether the logits of its last token are wanted.
    pub wants_logits: bool,
    /// The adapter that is added to the model's weights for this sequence.
    pub adapter: Option<AdapterId>,
}

/// The measures of a model that the runtime plans with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Tokens that the logits range over.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Experts of each layer that has some; 0 for a dense model.
    pub experts: usize,
    /// Tokens of a sequence that positions are defined for.
    pub longest_context: usize,
    /// Bytes of one block of the cache, all layers together.
    pub bytes_per_block: usize,
}

/// Why a step could not be computed. The model itself stays usable.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The batch contradicts itself, the model or the cache; the message names the field.
    #[error("the batch is wrong: {0}")]
    Batch(String),
    /// An adapter was asked for that is not loaded.
    #[error("adapter {} is not loaded", .0.0)]
    Adapter(AdapterId),
    /// The memory asked for is not there.
    #[error("not enough memory: {0}")]
    Memory(String),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A decoder that predicts the next token.
pub trait CausalModel: Send {
    /// Its measures.
    fn shape(&self) -> &Shape;

    /// Makes a cache of so many blocks, forgetting the one before.
    ///
    /// # Errors
    /// [`ForwardError::Memory`] when there is not as much memory.
    fn allocate_cache(&mut self, blocks: usize) -> Result<(), ForwardError>;

    /// Runs one step: writes the new tokens' keys and values to their slots and answers the logits
    /// `[sequences that want them, vocabulary]`, in the batch's order. `logits` is cleared first.
    ///
    /// # Errors
    /// [`ForwardError::Batch`] when the batch is inconsistent (nothing was computed), [`ForwardError::Adapter`] when
    /// an adapter is not loaded.
    fn forward(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), ForwardError>;

    /// As [`CausalModel::forward`], but answers only the likeliest token of each sequence that wants logits, the first of
    /// equals.
    ///
    /// # Errors
    /// As [`CausalModel::forward`].
    fn likeliest(&mut self, batch: &Batch, tokens: &mut Vec<u32>) -> Result<(), ForwardError> {
        let mut logits = Vec::new();
        self.forward(batch, &mut logits)?;
        likeliest(&logits, self.shape().vocabulary, tokens);
        Ok(())
    }

    /// What computes: the GPU's name, or nothing for the processor.
    fn device(&self) -> Option<&str> {
        None
    }

    /// Tokens routed to each expert since the model was loaded: `[layer][expert]`; a dense layer's list is empty.
    fn expert_load(&self) -> Vec<Vec<u64>>;

    /// Loads a low-rank adapter from a folder in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`).
    ///
    /// # Errors
    /// [`AdapterError`] when a file is missing or does not fit the model.
    fn load_adapter(&mut self, folder: &Path) -> Result<AdapterId, AdapterError>;

    /// Forgets an adapter; its number is not given out again.
    fn unload_adapter(&mut self, adapter: AdapterId);
}

/// Why an adapter could not be loaded; the message names the file or the tensor.
#[derive(Debug, thiserror::Error)]
#[error("the adapter can not be used: {0}")]
pub struct AdapterError(pub String);

/// The likeliest token of each row of `vocabulary` logits, the first of equals.
pub(crate) fn likeliest(logits: &[f32], vocabulary: usize, tokens: &mut Vec<u32>) {
    tokens.clear();
    tokens.extend(logits.chunks(vocabulary.max(1)).map(|row| {
        let mut best = (0, f32::NEG_INFINITY);
        for (token, &logit) in (0..).zip(row) {
            if logit > best.1 {
                best = (token, logit);
            }
        }
        best.0
    }));
}

impl Batch {
    /// Whether the batch keeps its own rules and fits a model of this vocabulary and context and a cache of `blocks`.
    ///
    /// # Errors
    /// [`ForwardError::Batch`] naming the first field that is wrong.
    pub fn check(&self, shape: &Shape, blocks: usize) -> Result<(), ForwardError> {
        let wrong = |what: String| Err(ForwardError::Batch(what));
        let n = self.tokens.len();
        if self.positions.len() != n || self.slots.len() != n {
            return wrong(format!("{n} tokens, {} positions, {} slots", self.positions.len(), self.slots.len()));
        }
        let within = |number: u32, limit: usize| usize::try_from(number).is_ok_and(|number| number < limit);
        if let Some(token) = self.tokens.iter().find(|&&token| !within(token, shape.vocabulary)) {
            return wrong(format!("token {token} of a vocabulary of {}", shape.vocabulary));
        }
        if let Some(slot) = self.slots.iter().find(|&&slot| !within(slot, blocks.saturating_mul(BLOCK))) {
            return wrong(format!("slot {slot} of {blocks} blocks"));
        }
        let mut next = 0;
        for (number, sequence) in self.sequences.iter().enumerate() {
            let (first, end) = (sequence.tokens.start, sequence.tokens.end);
            if first != next || end <= first || end > n {
                return wrong(format!("sequence {number} has tokens {first}..{end} where {next} comes next of {n}"));
            }
            next = end;
            if sequence.context > shape.longest_context || sequence.context < end - first {
                return wrong(format!("sequence {number} has a context of {} tokens", sequence.context));
            }
            if sequence.blocks.len() < sequence.context.div_ceil(BLOCK)
                || sequence.blocks.iter().any(|&block| !within(block, blocks))
            {
                return wrong(format!("sequence {number}'s block table does not hold {} tokens", sequence.context));
            }
            let start = sequence.context - (end - first);
            for (index, (&position, &slot)) in self.positions.iter().zip(&self.slots).take(end).skip(first).enumerate()
            {
                let expected = start + index;
                let block = sequence.blocks.get(expected / BLOCK).and_then(|&block| usize::try_from(block).ok());
                let place = block.map(|block| block * BLOCK + expected % BLOCK);
                if usize::try_from(position).ok() != Some(expected) || usize::try_from(slot).ok() != place {
                    return wrong(format!("sequence {number}'s token {index} is at {position} in slot {slot}"));
                }
            }
        }
        if next == n { Ok(()) } else { wrong(format!("{} tokens belong to no sequence", n - next)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let sequence =
            |tokens, context, blocks| Sequence { tokens, context, blocks, wants_logits: true, adapter: None };
        Batch {
            tokens: vec![1, 2, 3],
            positions: vec![15, 16, 0],
            slots: vec![47, 16, 0],
            sequences: vec![sequence(0..2, 17, vec![2, 1]), sequence(2..3, 1, vec![0])],
        }
    }

    #[test]
    fn a_batch_that_contradicts_itself_is_refused() {
        let shape = Shape { vocabulary: 4, layers: 1, experts: 0, longest_context: 32, bytes_per_block: 1 };
        batch().check(&shape, 3).unwrap();
        let spoiled: [fn(&mut Batch); 8] = [
            |b| b.tokens[0] = 4,
            |b| b.positions[1] = 17,
            |b| b.slots[1] = 17,
            |b| b.slots[0] = 48,
            |b| b.sequences[0].context = 18,
            |b| b.sequences[0].blocks = vec![2],
            |b| b.sequences[1].tokens = 1..3,
            |b| drop(b.sequences.pop()),
        ];
        for spoil in spoiled {
            let mut wrong = batch();
            spoil(&mut wrong);
            assert!(matches!(wrong.check(&shape, 3), Err(ForwardError::Batch(_))), "{wrong:?}");
        }
    }
}
