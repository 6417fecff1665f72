//! Choosing experts.
#![expect(
    clippy::indexing_slicing,
    reason = "experts and groups are counted by the rule that the buffers were made for"
)]

use crate::backend::{Routing, Scoring};

/// Chooses experts for one token: `scores` holds its logits and is used up; `choose` is called with each chosen expert and
/// its weight. `bias` moves the choice but not the weights (DeepSeek-V3, section 2.1.2).
pub(crate) fn choose(
    rule: &Routing,
    bias: Option<&[f32]>,
    scores: &mut [f32],
    scratch: &mut Vec<f32>,
    chosen: &mut [(u32, f32)],
) {
    match rule.scoring {
        Scoring::Softmax => super::softmax(scores),
        Scoring::Sigmoid => scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
    }
    scratch.clear();
    scratch.extend_from_slice(scores);
    if let Some(bias) = bias {
        scratch.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
    }
    let (groups, allowed) = rule.groups;
    if allowed < groups {
        let size = rule.experts / groups;
        scratch.resize(rule.experts + groups, 0.0);
        let (selection, standing) = scratch.split_at_mut(rule.experts);
        for (group, standing) in selection.chunks_exact(size).zip(standing.iter_mut()) {
            let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
            for &score in group {
                if score > best {
                    (best, second) = (score, best);
                } else if score > second {
                    second = score;
                }
            }
            *standing = if rule.scoring == Scoring::Sigmoid { best + second } else { best };
        }
        for _ in 0..allowed {
            standing[highest(standing)] = f32::NAN;
        }
        for (group, standing) in selection.chunks_exact_mut(size).zip(standing.iter()) {
            if !standing.is_nan() {
                group.fill(f32::NEG_INFINITY);
            }
        }
    }
    let mut total = 0.0;
    for chosen in chosen.iter_mut() {
        let expert = highest(&scratch[..rule.experts]);
        scratch[expert] = f32::NAN;
        *chosen = (u32::try_from(expert).unwrap_or(0), scores[expert]);
        total += scores[expert];
    }
    let factor = if rule.normalised { rule.factor / (total + 1e-20) } else { rule.factor };
    chosen.iter_mut().for_each(|(_, weight)| *weight *= factor);
    chosen.sort_unstable_by_key(|(expert, _)| *expert);
}

/// The first of the highest numbers; what is not a number was taken already.
fn highest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] || values[best].is_nan() {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(rule: &Routing, bias: Option<&[f32]>, logits: &[f32]) -> Vec<(u32, f32)> {
        let mut out = vec![(0, 0.0); rule.chosen];
        choose(rule, bias, &mut logits.to_vec(), &mut Vec::new(), &mut out);
        out
    }

    fn rule(scoring: Scoring, groups: (usize, usize), normalised: bool) -> Routing {
        Routing { experts: 6, chosen: 2, groups, scoring, normalised, factor: 2.0 }
    }

    #[test]
    fn softmax_weights_are_shares_and_the_best_group_is_that_of_the_best_expert() {
        let logits = [0.0, 3.0, 2.9, 2.8, 2.0, 1.0];
        let sum: f32 = logits.iter().map(|x: &f32| x.exp()).sum();
        let found = chosen(&rule(Scoring::Softmax, (1, 1), false), None, &logits);
        assert_eq!([found[0].0, found[1].0], [1, 2]);
        assert!((found[0].1 - 2.0 * 3f32.exp() / sum).abs() < 1e-5);
        let found = chosen(&rule(Scoring::Softmax, (3, 1), false), None, &logits);
        assert_eq!([found[0].0, found[1].0], [0, 1], "only the group of expert 1");
    }

    #[test]
    fn a_bias_moves_the_choice_but_not_the_weight() {
        let logits = [0.0, 1.0, 0.5, 0.4, -1.0, -2.0];
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let found = chosen(&rule(Scoring::Sigmoid, (1, 1), true), Some(&[0.0, 0.0, 0.0, 0.0, 0.0, 5.0]), &logits);
        assert_eq!([found[0].0, found[1].0], [1, 5]);
        let total = sigmoid(1.0) + sigmoid(-2.0);
        assert!((found[1].1 - 2.0 * sigmoid(-2.0) / total).abs() < 1e-5);
        // Groups of two: the sums of their scores decide, so that the second group wins.
        let found = chosen(&rule(Scoring::Sigmoid, (3, 1), true), None, &[-5.0, 1.0, 0.5, 0.4, -1.0, -2.0]);
        assert_eq!([found[0].0, found[1].0], [2, 3]);
    }
}
