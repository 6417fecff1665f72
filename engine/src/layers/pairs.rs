//! Tokens sorted by the experts they go to.
#![expect(clippy::indexing_slicing, reason = "places are counted by `group` before they are used")]

use std::ops::Range;

use ndarray::{ErrorKind, ShapeError};

use super::Router;

/// A pair is a token and one of its experts; pairs lie by expert, so that an expert's weights are read once for all tokens
/// it serves. The memory is kept for the next layer.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Experts and gates in the order of tokens.
    chosen: Vec<(usize, f32)>,
    /// Where each expert's pairs begin, and the end.
    starts: Vec<usize>,
    /// The token of each pair.
    tokens: Vec<usize>,
    /// The pair of each choice.
    places: Vec<usize>,
    per_token: usize,
}

impl Pairs {
    /// Chooses the experts of `n` tokens by their logits `[n, experts]`, sorts, and counts in `load` the tokens of each.
    ///
    /// # Errors
    /// When there are too few logits.
    pub(super) fn choose(
        &mut self,
        router: &Router,
        logits: &[f32],
        n: usize,
        load: &mut [u64],
    ) -> Result<(), ShapeError> {
        let experts = router.experts();
        let logits = logits.get(..n * experts).ok_or_else(|| ShapeError::from_kind(ErrorKind::OutOfBounds))?;
        self.chosen.clear();
        router.choose(logits, |expert, gate| self.chosen.push((expert, gate)));
        self.per_token = self.chosen.len().checked_div(n).unwrap_or(0);
        self.group(experts);
        for (expert, load) in load.iter_mut().enumerate().take(experts) {
            *load += u64::try_from(self.of(expert).len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn group(&mut self, experts: usize) {
        self.starts.clear();
        self.starts.resize(experts + 1, 0);
        self.chosen.iter().for_each(|(expert, _)| self.starts[expert + 1] += 1);
        (0..experts).for_each(|expert| self.starts[expert + 1] += self.starts[expert]);
        self.tokens.resize(self.chosen.len(), 0);
        self.places.resize(self.chosen.len(), 0);
        // Each start moves to its end while pairs are put in, and is moved back after.
        for (choice, ((expert, _), pair)) in self.chosen.iter().zip(&mut self.places).enumerate() {
            let place = &mut self.starts[*expert];
            (self.tokens[*place], *pair) = (choice / self.per_token.max(1), *place);
            *place += 1;
        }
        (1..=experts).rev().for_each(|expert| self.starts[expert] = self.starts[expert - 1]);
        self.starts[0] = 0;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// An expert's pairs.
    pub(super) fn of(&self, expert: usize) -> Range<usize> {
        self.starts[expert]..self.starts[expert + 1]
    }

    /// The tokens of some pairs.
    pub(super) fn tokens(&self, pairs: Range<usize>) -> &[usize] {
        &self.tokens[pairs]
    }

    /// The pairs of a token and their gates, in the order of experts.
    pub(super) fn choices(&self, token: usize) -> impl Iterator<Item = (usize, f32)> {
        let range = token * self.per_token..(token + 1) * self.per_token;
        self.places[range.clone()].iter().copied().zip(self.chosen[range].iter().map(|(_, gate)| *gate))
    }
}
