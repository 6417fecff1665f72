//! What a runtime counted, as a snapshot.

use serde::Serialize;

/// Observations by size, in the manner of Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Upper bounds, ascending; one more bucket above the last holds the rest.
    pub bounds: &'static [f64],
    /// Observations in each bucket, not added up: `bounds.len() + 1` numbers.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: f64,
}

/// What a runtime counted since it started. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerationMetrics {
    /// Requests waiting now.
    pub waiting: usize,
    /// Requests that may wait.
    pub queue_capacity: usize,
    /// Sequences being generated now.
    pub running: usize,
    /// Blocks of the cache held by sequences now.
    pub blocks_used: usize,
    /// Blocks of the cache.
    pub blocks: usize,
    /// Requests that ended by themselves.
    pub finished: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
    /// Requests refused because too many waited.
    pub refused: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Sequences that gave their blocks to others and were read again.
    pub preempted: u64,
    /// Steps of the model.
    pub steps: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Of these, tokens found in the cache.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Time from arrival to the first step.
    pub queue_time: Histogram,
    /// Time from arrival to the first token.
    pub first_token_time: Histogram,
    /// Time between two tokens of one sequence.
    pub inter_token_time: Histogram,
    /// Time of one step of the model.
    pub step_time: Histogram,
    /// Sequences in one step.
    pub batch_size: Histogram,
    /// Tokens sent to each expert: `expert_load[layer][expert]`.
    pub expert_load: Vec<Vec<u64>>,
}

impl GenerationMetrics {
    /// How uneven the experts of each layer are loaded: `max / mean - 1`; 0 for a layer without experts or tokens.
    #[must_use]
    pub fn expert_violation(&self) -> Vec<f64> {
        self.expert_load.iter().map(|layer| max_violation(layer)).collect()
    }
}

/// MaxVio (Wang et al. 2024): `max / mean - 1`.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn max_violation(layer: &[u64]) -> f64 {
    let total: u64 = layer.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let most = layer.iter().copied().max().unwrap_or(0) as f64;
    most * layer.len() as f64 / total as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::max_violation;

    #[test]
    fn an_even_load_has_no_violation() {
        assert_eq!((max_violation(&[]), max_violation(&[0, 0]), max_violation(&[5, 5])), (0.0, 0.0, 0.0));
        assert!((max_violation(&[6, 2, 4]) - 0.5).abs() < 1e-12);
    }
}
