//! Which experts a token goes to.

use crate::backend::cpu::{self, narrow};
use crate::weights::{Error, Tensors};

/// One copy of every slice for each token, by sigmoid score plus a bias that takes part in the choice alone
/// (Wang et al. 2024, loss-free balancing; `DeepSeek-V3`). The gate is `2 · sigmoid(scale · logit)`.
pub(crate) struct Router {
    /// As [`narrow::turned`] lays `[experts, width]` out.
    weight: Vec<f32>,
    selection_bias: Vec<f32>,
    gate_scale: f32,
    width: usize,
    groups: usize,
}

impl Router {
    /// Reads `prefix.router`, `prefix.selection_bias` and `prefix.gate_scale` for `experts` in `groups` of equal size.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(
        tensors: &Tensors,
        prefix: &str,
        width: usize,
        experts: usize,
        groups: usize,
    ) -> Result<Self, Error> {
        let name = |part: &str| format!("{prefix}.{part}");
        if groups == 0 || !experts.is_multiple_of(groups) {
            let expected = format!("a multiple of {groups} groups");
            return Err(Error::Mismatch { name: prefix.to_owned(), expected, found: experts.to_string() });
        }
        Ok(Self {
            weight: narrow::turned(&tensors.get(&name("router"), &[experts, width])?, width),
            selection_bias: tensors.get(&name("selection_bias"), &[experts])?,
            gate_scale: tensors.get(&name("gate_scale"), &[1])?.first().copied().unwrap_or_default(),
            width,
            groups,
        })
    }

    #[cfg(test)]
    pub(super) fn of(weight: &[f32], gate_scale: f32, width: usize, groups: usize) -> Self {
        let selection_bias = vec![0.0; weight.len() / width];
        Self { selection_bias, weight: narrow::turned(weight, width), gate_scale, width, groups }
    }

    /// Number of experts.
    #[must_use]
    pub(crate) fn experts(&self) -> usize {
        self.selection_bias.len()
    }

    /// The logits `[n, experts]` of the tokens `x` `[n, width]`.
    pub(crate) fn score(&self, x: &[f32], logits: &mut [f32]) {
        narrow::multiply(x, &self.weight, (self.width, self.experts()), logits);
    }

    /// Calls `choose(expert, gate)` once for every group of every token, in the order of tokens and of groups.
    pub(crate) fn choose(&self, logits: &[f32], mut choose: impl FnMut(usize, f32)) {
        let experts = self.experts();
        let copies = experts / self.groups;
        for row in logits.chunks_exact(experts.max(1)) {
            let grouped = row.chunks_exact(copies.max(1)).zip(self.selection_bias.chunks_exact(copies.max(1)));
            for (group, (logits, biases)) in grouped.enumerate() {
                // The first of equals wins, as in the reference.
                let mut best = (0, f32::NEG_INFINITY, 0.0);
                for (copy, (&logit, bias)) in logits.iter().zip(biases).enumerate() {
                    let score = cpu::sigmoid(logit) + bias;
                    if score > best.1 {
                        best = (copy, score, logit);
                    }
                }
                choose(group * copies + best.0, 2.0 * cpu::sigmoid(self.gate_scale * best.2));
            }
        }
    }
}
