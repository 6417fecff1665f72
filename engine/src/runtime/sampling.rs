//! Drawing the next token.
//!
//! Every request has its own stream of random numbers, of which each drawn token takes one, so that a seed gives the same
//! text whatever else is in the batch.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::generation::Sampling;

/// A token and the logarithm of its probability.
pub(crate) type Likely = (u32, f32);

/// What the model thought of the drawn token, before penalties, masks and temperature.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Thought {
    /// Logarithm of the drawn token's probability.
    pub logprob: f32,
    /// The most likely tokens, most likely first.
    pub top: Vec<Likely>,
}

/// Memory that drawing needs, shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    candidates: Vec<(f32, u32)>,
}

/// One request's way of drawing.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// How often each token is in the generated text.
    counts: HashMap<u32, u32>,
    /// Tokens of the prompt, where they are penalised.
    prompt: HashSet<u32>,
}

impl Sampler {
    /// A sampler at the beginning of its text.
    pub(crate) fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let random = match sampling.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::from_os_rng(),
        };
        let penalised = differs(sampling.repetition_penalty, 1.0);
        let prompt = if penalised { prompt.iter().copied().collect() } else { HashSet::new() };
        Self { sampling, random, counts: HashMap::new(), prompt }
    }

    /// Draws a token from `logits` (one for each token, changed on the way) among those whose bit in `mask` is set.
    /// `None` when no token is allowed, or the model's numbers are no numbers.
    pub(crate) fn draw(
        &mut self,
        logits: &mut [f32],
        mask: Option<&[u32]>,
        top: Option<usize>,
        scratch: &mut Scratch,
    ) -> Option<(u32, Option<Thought>)> {
        let raw = top.map(|top| (log_sum_exp(logits), likeliest(logits, top, scratch)));
        // The drawn token's logit is needed unchanged later; penalties touch few, so it is found again from what they did.
        let before = top.map(|_| logits.to_vec());
        self.penalise(logits);
        if let Some(mask) = mask {
            forbid(logits, mask);
        }
        let token = if self.sampling.temperature <= 0.0 {
            most_likely(logits)?
        } else {
            let uniform = self.random.random::<f64>();
            self.pick(logits, uniform, scratch)?
        };
        *self.counts.entry(token).or_insert(0) += 1;
        let thought = raw.zip(before).map(|((sum, top), before)| Thought {
            logprob: at(&before, token).unwrap_or(f32::NEG_INFINITY) - sum,
            top: top.into_iter().map(|(token, logit)| (token, logit - sum)).collect(),
        });
        Some((token, thought))
    }

    fn penalise(&self, logits: &mut [f32]) {
        let sampling = &self.sampling;
        if differs(sampling.repetition_penalty, 1.0) {
            let fresh = self.counts.keys().filter(|token| !self.prompt.contains(token));
            for &token in self.prompt.iter().chain(fresh) {
                change(logits, token, |logit| {
                    if logit > 0.0 { logit / sampling.repetition_penalty } else { logit * sampling.repetition_penalty }
                });
            }
        }
        if differs(sampling.presence_penalty, 0.0) || differs(sampling.frequency_penalty, 0.0) {
            for (&token, &count) in &self.counts {
                #[expect(clippy::cast_precision_loss, reason = "counts are below 2^24")]
                let often = count as f32 * sampling.frequency_penalty;
                change(logits, token, |logit| logit - sampling.presence_penalty - often);
            }
        }
        for &(token, bias) in &sampling.logit_bias {
            change(logits, token, |logit| logit + bias);
        }
    }

    /// The token at `uniform` (0 to 1) of the distribution after temperature and truncation.
    fn pick(&self, logits: &[f32], uniform: f64, scratch: &mut Scratch) -> Option<u32> {
        let sampling = &self.sampling;
        let most = at(logits, most_likely(logits)?)?;
        // Relative to the most likely token, whose weight is 1.
        let weight = |logit: f32| ((logit - most) / sampling.temperature).exp();
        let truncated = sampling.top_k > 0 || sampling.top_p < 1.0;
        if !truncated {
            let weight = |logit: f32| Some(weight(logit)).filter(|&weight| weight > 0.0 && weight >= sampling.min_p);
            let total: f64 = logits.iter().filter_map(|&logit| weight(logit)).map(f64::from).sum();
            let tokens = (0_u32..).zip(logits).filter_map(|(token, &logit)| Some((weight(logit)?, token)));
            return walk(tokens, uniform * total);
        }
        let candidates = &mut scratch.candidates;
        candidates.clear();
        candidates.extend((0_u32..).zip(logits).filter_map(|(token, &logit)| {
            let weight = weight(logit);
            (weight > 0.0 && weight >= sampling.min_p).then_some((weight, token))
        }));
        if sampling.top_k > 0 {
            keep_first(candidates, sampling.top_k);
        }
        if sampling.top_p < 1.0 {
            let total: f64 = candidates.iter().map(|(weight, _)| f64::from(*weight)).sum();
            let kept = nucleus(candidates, total * f64::from(sampling.top_p));
            candidates.truncate(kept);
        } else {
            candidates.sort_unstable_by(by_weight);
        }
        let total: f64 = candidates.iter().map(|(weight, _)| f64::from(*weight)).sum();
        walk(candidates.iter().copied(), uniform * total)
    }
}

/// The first token at which the weights so far exceed `target`; rounding never falls off the end.
fn walk(tokens: impl Iterator<Item = (f32, u32)>, target: f64) -> Option<u32> {
    let (mut sum, mut last) = (0.0, None);
    for (weight, token) in tokens {
        sum += f64::from(weight);
        last = Some(token);
        if sum > target {
            break;
        }
    }
    last
}

/// Heavier first; of equals the lower token, so that the order never depends on how it was found.
fn by_weight(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Keeps the `count` heaviest, in no order.
fn keep_first(candidates: &mut Vec<(f32, u32)>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_weight);
        candidates.truncate(count);
    }
}

/// Sorts as many of the heaviest to the front as together weigh `target`, and says how many these are: at least one.
fn nucleus(candidates: &mut [(f32, u32)], target: f64) -> usize {
    let (mut sorted, mut sum, mut kept) = (0, 0.0, 0);
    while sorted < candidates.len() {
        // Most distributions are decided by few tokens; a flat one is sorted in growing pieces.
        let until = (sorted * 8).clamp(64, candidates.len().max(64)).min(candidates.len());
        if let Some(rest) = candidates.get_mut(sorted..) {
            let piece = until - sorted;
            if piece < rest.len() {
                rest.select_nth_unstable_by(piece, by_weight);
            }
            if let Some(front) = rest.get_mut(..piece) {
                front.sort_unstable_by(by_weight);
                for (weight, _) in front.iter() {
                    sum += f64::from(*weight);
                    kept += 1;
                    if sum >= target {
                        return kept;
                    }
                }
            }
        }
        sorted = until;
    }
    kept
}

/// The highest logit's token; of equals the lowest. `None` where all are forbidden or none is a number.
fn most_likely(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0_u32..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |(_, best)| best) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}

fn likeliest(logits: &[f32], count: usize, scratch: &mut Scratch) -> Vec<Likely> {
    if count == 0 {
        return Vec::new();
    }
    let candidates = &mut scratch.candidates;
    candidates.clear();
    candidates.extend((0_u32..).zip(logits).map(|(token, &logit)| (logit, token)));
    keep_first(candidates, count);
    candidates.sort_unstable_by(by_weight);
    candidates.iter().map(|&(logit, token)| (token, logit)).collect()
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from((logit - most).exp())).sum();
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a sum of at most 2^32 ones")]
    let log = sum.ln() as f32;
    most + log
}

/// Sets the logits of tokens whose bit is not set to minus infinity; tokens beyond the mask are forbidden too.
fn forbid(logits: &mut [f32], mask: &[u32]) {
    let words = mask.iter().copied().chain(std::iter::repeat(0));
    for (chunk, word) in logits.chunks_mut(32).zip(words) {
        if word == u32::MAX {
            continue;
        }
        for (bit, logit) in chunk.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

fn at(logits: &[f32], token: u32) -> Option<f32> {
    logits.get(usize::try_from(token).ok()?).copied()
}

fn change(logits: &mut [f32], token: u32, by: impl FnOnce(f32) -> f32) {
    if let Some(logit) = usize::try_from(token).ok().and_then(|token| logits.get_mut(token)) {
        *logit = by(*logit);
    }
}

/// Whether a setting was changed from the value at which it does nothing.
fn differs(value: f32, neutral: f32) -> bool {
    (value - neutral).abs() > f32::EPSILON
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(sampling: &Sampling, logits: &[f32], times: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(Sampling { seed: Some(7), ..sampling.clone() }, &[]);
        let mut scratch = Scratch::default();
        let mut one = || sampler.draw(&mut logits.to_vec(), None, None, &mut scratch).unwrap().0;
        (0..times).map(|_| one()).collect()
    }

    fn shares(sampling: &Sampling, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        let tokens = drawn(sampling, logits, 20_000);
        tokens.iter().for_each(|&token| counts[usize::try_from(token).unwrap()] += 1.0 / 20_000.0);
        counts
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.015), "{found:?} is not {expected:?}");
    }

    /// Probabilities 0.1, 0.4, 0.2, 0.3.
    fn four() -> Vec<f32> {
        [0.1_f32, 0.4, 0.2, 0.3].iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        near(&shares(&Sampling::default(), &four()), &[0.1, 0.4, 0.2, 0.3]);
        let squared = Sampling { temperature: 0.5, ..Sampling::default() };
        near(&shares(&squared, &four()), &[0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]);
    }

    #[test]
    fn each_truncation_keeps_the_likeliest() {
        let with = |change: fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            shares(&sampling, &four())
        };
        near(&with(|s| s.top_k = 2), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        near(&with(|s| s.top_p = 0.69), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        near(&with(|s| s.top_p = 0.75), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        near(&with(|s| s.top_p = 0.0), &[0.0, 1.0, 0.0, 0.0]);
        near(&with(|s| s.min_p = 0.6), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        // Top-p is of what top-k left: 0.4 of 0.7 is more than half.
        near(&with(|s| (s.top_k, s.top_p) = (2, 0.5)), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn penalties_follow_their_definitions() {
        let draw = |sampling: Sampling, prompt: &[u32], logits: &[f32], times: usize| {
            let mut sampler = Sampler::new(Sampling { temperature: 0.0, ..sampling }, prompt);
            let mut scratch = Scratch::default();
            (0..times)
                .map(|_| sampler.draw(&mut logits.to_vec(), None, None, &mut scratch).unwrap().0)
                .collect::<Vec<_>>()
        };
        let presence = Sampling { presence_penalty: 1.0, ..Sampling::default() };
        assert_eq!(draw(presence, &[0], &[2.0, 1.5, 0.9], 4), [0, 1, 0, 0]);
        let frequency = Sampling { frequency_penalty: 0.4, ..Sampling::default() };
        assert_eq!(draw(frequency, &[0], &[2.0, 1.5, 0.9], 5), [0, 0, 1, 0, 1]);
        let repetition = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(draw(repetition.clone(), &[0], &[2.0, 1.5, 0.9], 3), [1, 0, 0]);
        assert_eq!(draw(repetition, &[0], &[-1.0, -1.5], 1), [1]);
        let biased = Sampling { logit_bias: vec![(2, 5.0), (77, 1.0)], ..Sampling::default() };
        assert_eq!(draw(biased, &[], &[2.0, 1.5, 0.9], 1), [2]);
    }

    #[test]
    fn masks_forbid_and_a_wrong_model_is_no_token() {
        let mut sampler = Sampler::new(Sampling::default(), &[]);
        let mut scratch = Scratch::default();
        let mut logits = vec![9.0; 40];
        logits[33] = -5.0;
        let mut draw = |mask: &[u32], logits: &[f32]| {
            sampler.draw(&mut logits.to_vec(), Some(mask), None, &mut scratch).map(|(token, _)| token)
        };
        assert_eq!(draw(&[0, 2], &logits), Some(33));
        assert_eq!(draw(&[1], &logits), Some(0));
        assert_eq!(draw(&[0, 0], &logits), None);
        assert_eq!(draw(&[u32::MAX; 2], &[f32::NAN; 40]), None);
    }

    #[test]
    fn logarithms_are_the_models_own() {
        let sampling = Sampling { temperature: 0.0, logit_bias: vec![(0, 9.0)], ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, &[]);
        let (token, thought) = sampler.draw(&mut four(), None, Some(2), &mut Scratch::default()).unwrap();
        let thought = thought.unwrap();
        assert_eq!((token, thought.top.iter().map(|(token, _)| *token).collect::<Vec<_>>()), (0, vec![1, 3]));
        assert!((thought.logprob - 0.1_f32.ln()).abs() < 1e-6 && (thought.top[0].1 - 0.4_f32.ln()).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_nucleus_is_what_sorting_everything_gives(weights in proptest::collection::vec(0.0..1.0_f32, 1..600), share in 0.0..1.0_f64) {
            let all: Vec<(f32, u32)> = weights.iter().copied().zip(0..).collect();
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let mut sorted = all.clone();
            sorted.sort_by(by_weight);
            let mut sum = 0.0;
            let expected = sorted.iter().position(|(weight, _)| { sum += f64::from(*weight); sum >= share * total }).unwrap() + 1;
            let mut quick = all;
            let kept = nucleus(&mut quick, share * total);
            prop_assert_eq!(kept, expected);
            prop_assert_eq!(&quick[..kept], &sorted[..kept]);
        }
    }
}
