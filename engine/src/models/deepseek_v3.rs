//! DeepSeek-V2 and DeepSeek-V3 (DeepSeek-AI 2024): multi-head latent attention and mixtures of experts with shared ones.
//!
//! Attention keeps one latent vector and one turned key a token, whatever the number of heads. Keys and values are never
//! made: what would turn latents into keys is multiplied into the query, and what would turn them into values is applied
//! after the mix (the absorbed form, V2 section 2.1.2).

use serde::Deserialize;

use crate::backend::{Backend, Latent, Rope, Routing, Scoring};
use crate::layers::{BuildError, FeedForward, Projection, Rotary};
use crate::weights::Weights;

use super::causal::ForwardError;
use super::decoder::{Attend, Decoder, Layer, Measures};

/// `config.json` of this family.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    moe_intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(alias = "num_local_experts", alias = "num_experts")]
    n_routed_experts: Option<usize>,
    n_shared_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    routed_scaling_factor: Option<f32>,
    q_lora_rank: Option<usize>,
    kv_lora_rank: usize,
    qk_nope_head_dim: usize,
    qk_rope_head_dim: usize,
    v_head_dim: usize,
    n_group: Option<usize>,
    topk_group: Option<usize>,
    topk_method: Option<String>,
    scoring_func: Option<String>,
    norm_topk_prob: Option<bool>,
    first_k_dense_replace: Option<usize>,
    moe_layer_freq: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    #[serde(default)]
    tie_word_embeddings: bool,
    rope_interleave: Option<bool>,
    #[serde(flatten)]
    rotary: Rotary,
}

impl Config {
    fn is_v3(&self) -> bool {
        self.model_type == "deepseek_v3"
    }

    fn routing(&self) -> Result<Routing, BuildError> {
        let experts = self.n_routed_experts.unwrap_or(0);
        let chosen = self.num_experts_per_tok.unwrap_or(0);
        let limited = self.is_v3() || self.topk_method.as_deref().is_some_and(|method| method != "greedy");
        let groups = if limited { (self.n_group.unwrap_or(1), self.topk_group.unwrap_or(1)) } else { (1, 1) };
        let scoring = match self.scoring_func.as_deref() {
            Some("sigmoid") => Scoring::Sigmoid,
            Some("softmax") => Scoring::Softmax,
            None if self.is_v3() => Scoring::Sigmoid,
            None => Scoring::Softmax,
            Some(other) => return Err(BuildError::Config(format!("scoring_func {other} is not known"))),
        };
        let fits = groups.0 > 0 && experts.is_multiple_of(groups.0) && (1..=groups.0).contains(&groups.1);
        if !fits || chosen == 0 || chosen > experts / groups.0.max(1) * groups.1 {
            let what = format!("{chosen} of {experts} experts in {} of {} groups", groups.1, groups.0);
            return Err(BuildError::Config(format!("num_experts_per_tok, n_group and topk_group: {what}")));
        }
        let normalised = self.norm_topk_prob.unwrap_or(self.is_v3());
        // V2 multiplies by the factor only where it does not normalise; V3 does both.
        let factor = if normalised && !self.is_v3() { 1.0 } else { self.routed_scaling_factor.unwrap_or(1.0) };
        Ok(Routing { experts, chosen, groups, scoring, normalised, factor })
    }

    fn measures(&self) -> Measures {
        Measures {
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            chosen: self.num_experts_per_tok.unwrap_or(1),
            experts: self.n_routed_experts.unwrap_or(0),
            longest: self.max_position_embeddings,
            epsilon: self.rms_norm_eps,
            tied: self.tie_word_embeddings,
        }
    }

    fn rope(&self) -> Result<Rope, BuildError> {
        let neighbours = self.rope_interleave.unwrap_or(true);
        self.rotary.rope(self.qk_rope_head_dim, self.max_position_embeddings, neighbours).map_err(BuildError::Config)
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
) -> Result<Decoder<B, LatentAttention<B>>, BuildError> {
    let width = config.hidden_size;
    let dense_layers = config.first_k_dense_replace.unwrap_or(0);
    let every = config.moe_layer_freq.unwrap_or(1).max(1);
    let mut layers = Vec::with_capacity(config.num_hidden_layers);
    for number in 0..config.num_hidden_layers {
        let prefix = format!("model.layers.{number}");
        let norm = |name: &str| -> Result<B::Vector, BuildError> {
            Ok(backend.vector(weights.vector(&format!("{prefix}.{name}.weight"), &[width])?)?)
        };
        let block = format!("{prefix}.mlp");
        let feed_forward = if number < dense_layers || number % every != 0 {
            FeedForward::dense(&backend, weights, &block, width, config.intermediate_size)?
        } else {
            let inner = config.moe_intermediate_size;
            let shared = inner * config.n_shared_experts.unwrap_or(0);
            FeedForward::mixture(&backend, weights, &block, width, (inner, shared), config.routing()?)?
        };
        layers.push(Layer {
            attention_norm: norm("input_layernorm")?,
            attention: LatentAttention::open(&backend, config, weights, &format!("{prefix}.self_attn"))?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            feed_forward,
        });
    }
    let buffers = Buffers::new(&backend, config)?;
    Decoder::open(backend, weights, &config.measures(), config.rope()?, layers, buffers)
}

/// The norms of low-rank queries and latents add this, whatever the configuration says of the others.
const LOW_RANK_EPSILON: f32 = 1e-6;

/// Multi-head latent attention.
pub(crate) struct LatentAttention<B: Backend> {
    queries: Queries<B>,
    /// `[heads · (content + value), rank]`: latents to keys and values.
    kv_b: B::Matrix,
    output: Projection<B>,
    rule: Latent<B::Vector>,
}

/// How queries and latents are made of the residual stream.
enum Queries<B: Backend> {
    /// In one product: `[queries, latent, turned key]`.
    Direct(Projection<B>),
    /// Queries by way of a low rank: `[low rank, latent, turned key]`, then norm and `up`.
    LowRank { down: Projection<B>, norm: B::Vector, up: Projection<B> },
}

/// What attention needs in between.
pub(crate) struct Buffers<B: Backend> {
    /// The product of the residual stream: see [`Queries`].
    product: B::Buffer,
    low: B::Buffer,
    queries: B::Buffer,
    mixed: B::Buffer,
}

impl<B: Backend> Buffers<B> {
    fn new(backend: &B, config: &Config) -> Result<Self, ForwardError> {
        let queries = config.num_attention_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim);
        let first = config.q_lora_rank.unwrap_or(queries);
        Ok(Self {
            product: backend.buffer(1, first + config.kv_lora_rank + config.qk_rope_head_dim)?,
            low: backend.buffer(1, config.q_lora_rank.unwrap_or(1))?,
            queries: backend.buffer(1, queries)?,
            mixed: backend.buffer(1, config.num_attention_heads * config.v_head_dim)?,
        })
    }
}

impl<B: Backend> LatentAttention<B> {
    fn open(backend: &B, config: &Config, weights: &dyn Weights, prefix: &str) -> Result<Self, BuildError> {
        let (heads, width, rank) = (config.num_attention_heads, config.hidden_size, config.kv_lora_rank);
        let (content, turned, value) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let open = |maps: &[(&str, usize)], columns| Projection::open(backend, weights, prefix, maps, columns);
        let all = heads * (content + turned);
        let latents = ("kv_a_proj_with_mqa", rank + turned);
        let queries = match config.q_lora_rank {
            None => Queries::Direct(open(&[("q_proj", all), latents], width)?),
            Some(low) => Queries::LowRank {
                down: open(&[("q_a_proj", low), latents], width)?,
                norm: backend.vector(weights.vector(&format!("{prefix}.q_a_layernorm.weight"), &[low])?)?,
                up: open(&[("q_b_proj", all)], low)?,
            },
        };
        let kv_b = weights.matrix(&format!("{prefix}.kv_b_proj"), heads * (content + value), rank)?;
        let scale = ((content + turned) as f32).sqrt().recip() * config.rotary.temperature();
        let norm = backend.vector(weights.vector(&format!("{prefix}.kv_a_layernorm.weight"), &[rank])?)?;
        let first = config.q_lora_rank.unwrap_or(all);
        Ok(Self {
            queries,
            kv_b: backend.matrix(vec![kv_b], None)?,
            output: open(&[("o_proj", width)], heads * value)?,
            rule: Latent { heads, content, turned, value, rank, first, norm, epsilon: LOW_RANK_EPSILON, scale },
        })
    }
}

impl<B: Backend> Attend<B> for LatentAttention<B> {
    type Buffers = Buffers<B>;

    fn reserve(backend: &B, buffers: &mut Buffers<B>, tokens: usize) -> Result<(), ForwardError> {
        let Buffers { product, low, queries, mixed } = buffers;
        [product, low, queries, mixed].into_iter().try_for_each(|buffer| backend.reserve(buffer, tokens))
    }

    fn cache_width(&self) -> usize {
        self.rule.rank + self.rule.turned
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
        let Buffers { product, low, queries, mixed } = buffers;
        match &self.queries {
            Queries::Direct(projection) => {
                projection.forward(backend, step, x, product)?;
                backend.attend_latent(step, (product, product), &self.kv_b, &self.rule, cache, mixed)?;
            }
            Queries::LowRank { down, norm, up } => {
                down.forward(backend, step, x, product)?;
                backend.norm(step, product, None, (norm, LOW_RANK_EPSILON), low)?;
                up.forward(backend, step, low, queries)?;
                backend.attend_latent(step, (queries, product), &self.kv_b, &self.rule, cache, mixed)?;
            }
        }
        self.output.forward(backend, step, mixed, out)
    }

    fn projections(&mut self) -> Vec<&mut Projection<B>> {
        match &mut self.queries {
            Queries::Direct(projection) => vec![projection, &mut self.output],
            Queries::LowRank { down, up, .. } => vec![down, up, &mut self.output],
        }
    }

    fn inner(buffers: &Buffers<B>) -> Vec<(&'static str, &B::Buffer)> {
        vec![("q_b_proj", &buffers.low), ("o_proj", &buffers.mixed)]
    }
}
