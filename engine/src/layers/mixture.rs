//! Gated feed-forward layers: dense, or a mixture of experts with a router.

use crate::backend::{Backend, Gated, Routing};
use crate::models::causal::ForwardError;
use crate::weights::Weights;

use super::BuildError;

/// The feed-forward part of a decoder's layer.
pub(crate) enum FeedForward<B: Backend> {
    /// One block for every token.
    Dense(Gated<B::Matrix>),
    /// Chosen experts, and perhaps a block that every token shares.
    Mixture {
        /// Chooses.
        router: B::Router,
        /// Chosen from.
        experts: Vec<Gated<B::Matrix>>,
        /// For every token.
        shared: Option<Gated<B::Matrix>>,
    },
}

impl<B: Backend> FeedForward<B> {
    /// Reads `prefix.gate_proj`, `up_proj` and `down_proj`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn dense(
        backend: &B,
        weights: &dyn Weights,
        prefix: &str,
        width: usize,
        inner: usize,
    ) -> Result<Self, BuildError> {
        Ok(Self::Dense(gated(backend, weights, prefix, width, inner)?))
    }

    /// Reads the router `prefix.gate` (with `e_score_correction_bias` where it is there), `rule.experts` experts
    /// (`prefix.experts.N`, or stacked), and `prefix.shared_experts` where `shared` is wider than nothing.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn mixture(
        backend: &B,
        weights: &dyn Weights,
        prefix: &str,
        width: usize,
        (inner, shared): (usize, usize),
        rule: Routing,
    ) -> Result<Self, BuildError> {
        let name = format!("{prefix}.gate.e_score_correction_bias");
        let bias = if weights.has(&name) { Some(weights.vector(&name, &[rule.experts])?) } else { None };
        let gate = weights.matrix(&format!("{prefix}.gate"), rule.experts, width)?;
        let stack = format!("{prefix}.experts.gate_up_proj");
        let experts = if weights.has(&stack) {
            let number = |expert| (expert, rule.experts);
            let half = |expert, rows| weights.stacked(&stack, number(expert), rows, (2 * inner, width));
            let down = |expert| {
                weights.stacked(&format!("{prefix}.experts.down_proj"), number(expert), 0..width, (width, inner))
            };
            (0..rule.experts)
                .map(|expert| {
                    let (gate, up) = (half(expert, 0..inner)?, half(expert, inner..2 * inner)?);
                    Ok(Gated {
                        gate: backend.matrix(vec![gate], None)?,
                        up: backend.matrix(vec![up], None)?,
                        down: backend.matrix(vec![down(expert)?], None)?,
                    })
                })
                .collect::<Result<Vec<_>, BuildError>>()?
        } else {
            (0..rule.experts)
                .map(|expert| gated(backend, weights, &format!("{prefix}.experts.{expert}"), width, inner))
                .collect::<Result<Vec<_>, BuildError>>()?
        };
        let shared = match shared {
            0 => None,
            inner => Some(gated(backend, weights, &format!("{prefix}.shared_experts"), width, inner)?),
        };
        Ok(Self::Mixture { router: backend.router(gate, bias, rule)?, experts, shared })
    }

    /// `x` `[n, width]` -> `out` `[n, width]`.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn forward(
        &mut self,
        backend: &B,
        step: &B::Step,
        x: &B::Buffer,
        choices: &mut B::Choices,
        out: &mut B::Buffer,
    ) -> Result<(), ForwardError> {
        match self {
            Self::Dense(block) => backend.feed_forward(step, x, None, Some(block), out),
            Self::Mixture { router, experts, shared } => {
                backend.route(step, x, router, choices)?;
                backend.feed_forward(step, x, Some((choices, experts)), shared.as_ref(), out)
            }
        }
    }

    /// Tokens that were routed to each expert; nothing for a dense layer.
    #[must_use]
    pub(crate) fn load(&self, backend: &B) -> Vec<u64> {
        match self {
            Self::Dense(_) => Vec::new(),
            Self::Mixture { router, .. } => backend.load(router),
        }
    }
}

fn gated<B: Backend>(
    backend: &B,
    weights: &dyn Weights,
    prefix: &str,
    width: usize,
    inner: usize,
) -> Result<Gated<B::Matrix>, BuildError> {
    let open = |name: &str, rows, columns| -> Result<B::Matrix, BuildError> {
        Ok(backend.matrix(vec![weights.matrix(&format!("{prefix}.{name}"), rows, columns)?], None)?)
    };
    Ok(Gated {
        gate: open("gate_proj", inner, width)?,
        up: open("up_proj", inner, width)?,
        down: open("down_proj", width, inner)?,
    })
}
