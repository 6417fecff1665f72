//! Arithmetic on buffers that the caller owns.
//!
//! A model's forward pass is a list of these operations over memory allocated once; there is no graph of tensors.
//! [`Backend`] is what generative models are written against: its buffers, weights and caches are the device's own, the
//! shapes of a step are fixed by its batch, and nothing is read back between [`Backend::begin`] and [`Backend::logits`],
//! so that a device may record a step once and replay it.

pub(crate) mod cpu;
pub(crate) mod cuda;

use crate::models::causal::{Batch, ForwardError};
use crate::weights::Stored;

/// Fused operations over the tokens of one step. `n` is the number of its tokens; a buffer `[n, width]` has room for at
/// least so many rows.
pub(crate) trait Backend: Sized + Send + 'static {
    /// Activations `[rows, width]`.
    type Buffer: Send;
    /// The weights of a linear map.
    type Matrix: Send;
    /// Small weights in `f32`.
    type Vector: Send;
    /// One layer's keys and values, in blocks.
    type Cache: Send;
    /// A batch on the device, with the rotations of its positions.
    type Step: Send;
    /// A router with its count of tokens for each expert.
    type Router: Send;
    /// The chosen experts of each token with their weights.
    type Choices: Send;

    /// The GPU's name; nothing for the processor.
    fn name(&self) -> Option<&str>;

    /// A buffer of `width` columns and room for `rows` rows.
    fn buffer(&self, rows: usize, width: usize) -> Result<Self::Buffer, ForwardError>;

    /// Gives a buffer room for so many rows, where it has fewer. Its contents may be lost.
    fn reserve(&self, buffer: &mut Self::Buffer, rows: usize) -> Result<(), ForwardError>;

    /// Takes over weights: several matrices of equal columns become one, their outputs one after another, plus `bias`.
    fn matrix(&self, parts: Vec<Stored>, bias: Option<Vec<f32>>) -> Result<Self::Matrix, ForwardError>;

    /// Takes over small weights.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, ForwardError>;

    /// A cache of `blocks` blocks with rows of `width` numbers for each token.
    fn cache(&self, blocks: usize, width: usize) -> Result<Self::Cache, ForwardError>;

    /// Bytes that a cache takes for one token and `width` numbers.
    fn cache_bytes(&self, width: usize) -> usize;

    /// A router `[experts, width]`; `bias` is added to the scores where experts are selected, not where they are weighed.
    fn router(&self, weight: Stored, bias: Option<Vec<f32>>, rule: Routing) -> Result<Self::Router, ForwardError>;

    /// Room for the choices of so many experts a token.
    fn choices(&self, experts_per_token: usize) -> Result<Self::Choices, ForwardError>;

    /// An empty step.
    fn step(&self) -> Result<Self::Step, ForwardError>;

    /// Brings a batch to the device and computes the rotations of its positions. The batch was checked.
    fn begin(&self, step: &mut Self::Step, batch: &Batch, rope: &Rope) -> Result<(), ForwardError>;

    /// `out[n, width]`: the tokens' rows of `table`.
    fn embed(&self, step: &Self::Step, table: &Self::Matrix, out: &mut Self::Buffer) -> Result<(), ForwardError>;

    /// Root-mean-square norm (Zhang and Sennrich 2019) of the first columns of `x`, as many as `weight` is long; before
    /// that, `add` is added to `x` in place.
    fn norm(
        &self,
        step: &Self::Step,
        x: &mut Self::Buffer,
        add: Option<&Self::Buffer>,
        norm: (&Self::Vector, f32),
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// `out[n, rows] = x[n, columns] · Wᵀ + bias`; `x` and `out` may be wider.
    fn linear(
        &self,
        step: &Self::Step,
        x: &Self::Buffer,
        matrix: &Self::Matrix,
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// Adds what low-rank adapters say to the tokens of the sequences that ask for them.
    fn adapt(
        &self,
        step: &Self::Step,
        x: &Self::Buffer,
        adapters: &[Adapter<Self::Matrix>],
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// Grouped-query attention: normalises the heads of queries and keys, turns them to their positions, writes keys and
    /// values to the cache, and attends. `qkv` is `[n, (heads + 2 · kv_heads) · size]`, `out` `[n, heads · size]`.
    fn attend_grouped(
        &self,
        step: &Self::Step,
        qkv: &mut Self::Buffer,
        rule: &Grouped<Self::Vector>,
        cache: &mut Self::Cache,
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// Multi-head latent attention: normalises the latents and turns the shared key to its position, writes both to the
    /// cache, and attends in latent space. Of the `inputs` `(q, kv)`, `q` is `[n, heads · (content + turned)]`; the columns of `kv` from
    /// `rule.first` on are `[n, rank + turned]`; `kv_b` is `[heads · (content + value), rank]`; `out` `[n, heads · value]`.
    fn attend_latent(
        &self,
        step: &Self::Step,
        inputs: (&Self::Buffer, &Self::Buffer),
        kv_b: &Self::Matrix,
        rule: &Latent<Self::Vector>,
        cache: &mut Self::Cache,
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// Chooses each token's experts and counts them.
    fn route(
        &self,
        step: &Self::Step,
        x: &Self::Buffer,
        router: &mut Self::Router,
        choices: &mut Self::Choices,
    ) -> Result<(), ForwardError>;

    /// The gated feed-forward blocks `down · (silu(gate · x) ∘ up · x)`: those of the chosen experts by their weights,
    /// and the shared one for every token. Without `choices` only the shared one.
    fn feed_forward(
        &self,
        step: &Self::Step,
        x: &Self::Buffer,
        chosen: Option<Chosen<'_, Self>>,
        shared: Option<&Gated<Self::Matrix>>,
        out: &mut Self::Buffer,
    ) -> Result<(), ForwardError>;

    /// Of the `stream` `(x, add)`: adds `add` to `x` for the last tokens of the sequences that want logits, normalises them, and answers their logits: the
    /// only operation that waits for the device.
    fn logits(
        &self,
        step: &mut Self::Step,
        stream: (&Self::Buffer, &Self::Buffer),
        norm: (&Self::Vector, f32),
        head: &Self::Matrix,
        out: &mut Vec<f32>,
    ) -> Result<(), ForwardError>;

    /// As [`Backend::logits`], but answers only the likeliest token of each, the first of equals: a device need not send
    /// what nobody reads.
    fn likeliest(
        &self,
        step: &mut Self::Step,
        stream: (&Self::Buffer, &Self::Buffer),
        norm: (&Self::Vector, f32),
        head: &Self::Matrix,
        out: &mut Vec<u32>,
    ) -> Result<(), ForwardError>;

    /// Tokens that were routed to each expert.
    fn load(&self, router: &Self::Router) -> Vec<u64>;
}

/// The chosen experts of each token, and the experts they were chosen from.
pub(crate) type Chosen<'a, B> = (&'a <B as Backend>::Choices, &'a [Gated<<B as Backend>::Matrix>]);

/// A gated feed-forward block.
pub(crate) struct Gated<M> {
    /// `[inner, width]`.
    pub(crate) gate: M,
    /// `[inner, width]`.
    pub(crate) up: M,
    /// `[width, inner]`.
    pub(crate) down: M,
}

/// A low-rank adapter of one linear map: `out[first..] += scale · up · down · x` (Hu et al. 2021).
pub(crate) struct Adapter<M> {
    /// Whose it is.
    pub(crate) id: crate::models::causal::AdapterId,
    /// `[rank, columns]`.
    pub(crate) down: M,
    /// `[rows, rank]`.
    pub(crate) up: M,
    /// `lora_alpha / rank`.
    pub(crate) scale: f32,
    /// The column of `out` where its rows begin.
    pub(crate) first: usize,
}

/// How heads that share keys attend.
pub(crate) struct Grouped<V> {
    /// Heads of queries.
    pub(crate) heads: usize,
    /// Heads of keys and of values.
    pub(crate) kv_heads: usize,
    /// Numbers in a head.
    pub(crate) size: usize,
    /// Weights of the norm of each head of queries and of keys.
    pub(crate) norms: (V, V),
    /// Added to the mean square before its root.
    pub(crate) epsilon: f32,
    /// What scores are multiplied by.
    pub(crate) scale: f32,
}

/// How heads attend to latents (DeepSeek-V2, section 2.1).
pub(crate) struct Latent<V> {
    /// Heads.
    pub(crate) heads: usize,
    /// Numbers of a head's query that meet the latent.
    pub(crate) content: usize,
    /// Numbers of a head's query that are turned to its position.
    pub(crate) turned: usize,
    /// Numbers of a head's value.
    pub(crate) value: usize,
    /// Numbers of a latent.
    pub(crate) rank: usize,
    /// The column of `kv` where the latents begin.
    pub(crate) first: usize,
    /// Weight of the latents' norm.
    pub(crate) norm: V,
    /// Added to the mean square before its root.
    pub(crate) epsilon: f32,
    /// What scores are multiplied by.
    pub(crate) scale: f32,
}

/// Rotary positions (Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rope {
    /// Radians a position, for each pair of dimensions.
    pub(crate) frequencies: Vec<f32>,
    /// What sine and cosine are multiplied by.
    pub(crate) magnitude: f32,
    /// Whether a pair is two neighbours; otherwise it is a number of the first half and one of the second.
    pub(crate) neighbours: bool,
}

/// How experts are chosen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Routing {
    /// Experts there are.
    pub(crate) experts: usize,
    /// Experts that a token goes to.
    pub(crate) chosen: usize,
    /// Groups of experts, and how many of them a token may choose from. One group means no limit.
    pub(crate) groups: (usize, usize),
    /// How logits become scores.
    pub(crate) scoring: Scoring,
    /// Whether the chosen scores are divided by their sum.
    pub(crate) normalised: bool,
    /// What weights are multiplied by at the end.
    pub(crate) factor: f32,
}

/// How a router's logits become scores, and a group's experts the group's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scoring {
    /// Softmax over all experts; a group counts as its best expert (DeepSeek-V2).
    Softmax,
    /// The logistic function of each; a group counts as the sum of its two best experts (DeepSeek-V3).
    Sigmoid,
}
