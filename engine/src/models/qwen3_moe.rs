//! Qwen3-MoE (Qwen Team 2025): grouped-query attention with normalised heads, and mixtures of experts chosen by softmax.

use serde::Deserialize;

use crate::backend::{Backend, Grouped, Routing, Scoring};
use crate::layers::{BuildError, FeedForward, Projection, Rotary};
use crate::weights::Weights;

use super::causal::ForwardError;
use super::decoder::{Attend, Decoder, Layer, Measures};

/// `config.json` of this family.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    moe_intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    #[serde(alias = "num_local_experts")]
    num_experts: usize,
    num_experts_per_tok: usize,
    #[serde(default)]
    norm_topk_prob: bool,
    #[serde(default)]
    mlp_only_layers: Option<Vec<usize>>,
    decoder_sparse_step: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(flatten)]
    rotary: Rotary,
}

impl Config {
    fn size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn is_mixture(&self, layer: usize) -> bool {
        let dense = self.mlp_only_layers.as_ref().is_some_and(|layers| layers.contains(&layer));
        !dense && self.num_experts > 0 && (layer + 1).is_multiple_of(self.decoder_sparse_step.unwrap_or(1).max(1))
    }

    fn check(&self) -> Result<(), BuildError> {
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        if shared == 0 || !heads.is_multiple_of(shared) || heads / shared > crate::backend::cpu::MOST_HEADS {
            return Err(BuildError::Config(format!("{heads} heads can not share {shared} heads of keys")));
        }
        if self.num_experts_per_tok == 0 || self.num_experts_per_tok > self.num_experts {
            let (chosen, experts) = (self.num_experts_per_tok, self.num_experts);
            return Err(BuildError::Config(format!("num_experts_per_tok is {chosen} of {experts} experts")));
        }
        if self.use_sliding_window {
            return Err(BuildError::Config("use_sliding_window is not supported".to_owned()));
        }
        Ok(())
    }
}

/// Reads the model.
///
/// # Errors
/// When the configuration asks for what is not known, a tensor is missing or has another shape, or memory is short.
pub(crate) fn open<B: Backend>(
    backend: B,
    config: &Config,
    weights: &dyn Weights,
) -> Result<Decoder<B, GroupedAttention<B>>, BuildError> {
    config.check()?;
    let width = config.hidden_size;
    let rule = Routing {
        experts: config.num_experts,
        chosen: config.num_experts_per_tok,
        groups: (1, 1),
        scoring: Scoring::Softmax,
        normalised: config.norm_topk_prob,
        factor: 1.0,
    };
    let mut layers = Vec::with_capacity(config.num_hidden_layers);
    for number in 0..config.num_hidden_layers {
        let prefix = format!("model.layers.{number}");
        let norm = |name: &str| -> Result<B::Vector, BuildError> {
            Ok(backend.vector(weights.vector(&format!("{prefix}.{name}.weight"), &[width])?)?)
        };
        let block = format!("{prefix}.mlp");
        let feed_forward = if config.is_mixture(number) {
            let inner = (config.moe_intermediate_size, 0);
            FeedForward::mixture(&backend, weights, &block, width, inner, rule.clone())?
        } else {
            FeedForward::dense(&backend, weights, &block, width, config.intermediate_size)?
        };
        layers.push(Layer {
            attention_norm: norm("input_layernorm")?,
            attention: GroupedAttention::open(&backend, config, weights, &format!("{prefix}.self_attn"))?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            feed_forward,
        });
    }
    let (heads, shared, size) = (config.num_attention_heads, config.num_key_value_heads, config.size());
    let rope = config.rotary.rope(size, config.max_position_embeddings, false).map_err(BuildError::Config)?;
    let buffers =
        Buffers { qkv: backend.buffer(1, (heads + 2 * shared) * size)?, mixed: backend.buffer(1, heads * size)? };
    let measures = Measures {
        vocabulary: config.vocab_size,
        width,
        chosen: config.num_experts_per_tok,
        experts: config.num_experts,
        longest: config.max_position_embeddings,
        epsilon: config.rms_norm_eps,
        tied: config.tie_word_embeddings,
    };
    Decoder::open(backend, weights, &measures, rope, layers, buffers)
}

/// Grouped-query attention (Ainslie et al. 2023) with a norm of each head.
pub(crate) struct GroupedAttention<B: Backend> {
    qkv: Projection<B>,
    output: Projection<B>,
    rule: Grouped<B::Vector>,
}

/// What attention needs in between.
pub(crate) struct Buffers<B: Backend> {
    qkv: B::Buffer,
    mixed: B::Buffer,
}

impl<B: Backend> GroupedAttention<B> {
    fn open(backend: &B, config: &Config, weights: &dyn Weights, prefix: &str) -> Result<Self, BuildError> {
        let (heads, kv_heads, size) = (config.num_attention_heads, config.num_key_value_heads, config.size());
        let maps = [("q_proj", heads * size), ("k_proj", kv_heads * size), ("v_proj", kv_heads * size)];
        let norm = |name: &str| -> Result<B::Vector, BuildError> {
            Ok(backend.vector(weights.vector(&format!("{prefix}.{name}.weight"), &[size])?)?)
        };
        Ok(Self {
            qkv: Projection::open(backend, weights, prefix, &maps, config.hidden_size)?,
            output: Projection::open(backend, weights, prefix, &[("o_proj", config.hidden_size)], heads * size)?,
            rule: Grouped {
                heads,
                kv_heads,
                size,
                norms: (norm("q_norm")?, norm("k_norm")?),
                epsilon: config.rms_norm_eps,
                scale: (size as f32).sqrt().recip(),
            },
        })
    }
}

impl<B: Backend> Attend<B> for GroupedAttention<B> {
    type Buffers = Buffers<B>;

    fn reserve(backend: &B, buffers: &mut Buffers<B>, tokens: usize) -> Result<(), ForwardError> {
        backend.reserve(&mut buffers.qkv, tokens)?;
        backend.reserve(&mut buffers.mixed, tokens)
    }

    fn cache_width(&self) -> usize {
        2 * self.rule.kv_heads * self.rule.size
    }

    fn forward(
        &self,
        backend: &B,
        step: &B::Step,
        x: &B::Buffer,
        cache: &mut B::Cache,
        buffers: &mut Buffers<B>,
        out: &mut B::Buffer,
    ) -> Result<(), ForwardError> {
        self.qkv.forward(backend, step, x, &mut buffers.qkv)?;
        backend.attend_grouped(step, &mut buffers.qkv, &self.rule, cache, &mut buffers.mixed)?;
        self.output.forward(backend, step, &buffers.mixed, out)
    }

    fn projections(&mut self) -> Vec<&mut Projection<B>> {
        vec![&mut self.qkv, &mut self.output]
    }

    fn inner(buffers: &Buffers<B>) -> Vec<(&'static str, &B::Buffer)> {
        vec![("o_proj", &buffers.mixed)]
    }
}
