//! From a head's logits to a label, how sure it is, and whether the text is in scope at all.

use crate::backend::cpu;
use crate::models::moe_encoder::{Config, HeadConfig};

/// One head with its calibration.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    labels: Vec<String>,
    temperature: f32,
    threshold: f32,
    out_of_scope: Option<usize>,
}

/// What a head says about one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    /// Labels in scope by falling probability: (index, probability). The softmax runs over all labels, so that mass on
    /// the out-of-scope label lowers the rest. Empty when the head has no label in scope.
    pub(crate) ranked: Vec<(usize, f32)>,
    /// Whether the best of them reaches the head's threshold.
    pub(crate) in_scope: bool,
}

impl Head {
    /// The head `name` of a configuration.
    pub(crate) fn of(config: &Config, name: &str) -> Option<Self> {
        let HeadConfig { labels, temperature, threshold } = config.heads.get(name)?.clone();
        let out_of_scope =
            config.out_of_scope.get(name).and_then(|foreign| labels.iter().position(|label| label == foreign));
        Some(Self { labels, temperature, threshold, out_of_scope })
    }

    pub(crate) fn label(&self, index: usize) -> &str {
        self.labels.get(index).map_or("", String::as_str)
    }

    pub(crate) fn index(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|l| l == label)
    }

    /// The label that means out of scope.
    pub(crate) fn out_of_scope(&self) -> Option<usize> {
        self.out_of_scope
    }

    /// Calibrated probabilities of all labels.
    pub(crate) fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        let mut p: Vec<f32> = logits.iter().map(|logit| logit / self.temperature).collect();
        cpu::softmax(&mut p);
        p
    }

    pub(crate) fn decide(&self, logits: &[f32]) -> Decision {
        let mut ranked: Vec<(usize, f32)> = self.probabilities(logits).into_iter().enumerate().collect();
        ranked.retain(|(index, _)| Some(*index) != self.out_of_scope);
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let in_scope = ranked.first().is_some_and(|best| best.1 >= self.threshold);
        Decision { ranked, in_scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(threshold: f32) -> Head {
        let labels = ["balance", "other", "block_card"].map(String::from).to_vec();
        Head { labels, temperature: 0.5, threshold, out_of_scope: Some(1) }
    }

    #[test]
    fn mass_on_the_foreign_label_makes_a_text_foreign() {
        let sure = head(0.5).decide(&[3.0, 0.0, 1.0]);
        assert!(sure.in_scope);
        assert_eq!(sure.ranked.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 2]);
        // exp(6), exp(0) and exp(2): the temperature halves.
        assert!((sure.ranked[0].1 - 403.43 / (403.43 + 1.0 + 7.389)).abs() < 1e-4);
        let foreign = head(0.5).decide(&[1.0, 3.0, 0.0]);
        assert!(!foreign.in_scope);
        assert_eq!(foreign.ranked[0].0, 0, "alternatives still name what would have been meant");
    }
}
