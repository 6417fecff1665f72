//! What decoders have in common: embedding, layers of attention and feed-forward around a residual stream, and logits.

use std::path::Path;

use crate::backend::{Backend, Rope};
use crate::layers::{BuildError, FeedForward, Projection};
use crate::weights::Weights;

use super::adapter;
use super::causal::{AdapterError, AdapterId, BLOCK, Batch, CausalModel, ForwardError, Shape};

/// One model's way of attending.
pub(crate) trait Attend<B: Backend>: Send {
    /// What a forward pass needs in between; shared by all layers.
    type Buffers: Send;

    /// Gives the buffers room for so many tokens.
    fn reserve(backend: &B, buffers: &mut Self::Buffers, tokens: usize) -> Result<(), ForwardError>;

    /// Numbers that the cache holds of a token.
    fn cache_width(&self) -> usize;

    /// `x` `[n, width]`, normalised -> `out` `[n, width]`.
    fn forward(
        &self,
        backend: &B,
        step: &B::Step,
        x: &B::Buffer,
        cache: &mut B::Cache,
        buffers: &mut Self::Buffers,
        out: &mut B::Buffer,
    ) -> Result<(), ForwardError>;

    /// The linear maps that adapters may be added to.
    fn projections(&mut self) -> Vec<&mut Projection<B>>;

    /// What the maps after the first ones read in the step before, by the maps' names.
    fn inner(buffers: &Self::Buffers) -> Vec<(&'static str, &B::Buffer)>;
}

/// What part of a layer read in a step; see [`Decoder::run`].
pub(crate) enum Seen<'a, B: Backend> {
    /// Attention.
    Attention {
        /// What its first maps read.
        input: &'a B::Buffer,
        /// What the others read: see [`Attend::inner`].
        inner: Vec<(&'static str, &'a B::Buffer)>,
        /// What it keeps of every token.
        cache: &'a B::Cache,
    },
    /// The feed-forward part.
    FeedForward {
        /// What it reads.
        input: &'a B::Buffer,
        /// Where tokens went; of an earlier layer where this one has no experts.
        choices: &'a B::Choices,
    },
}

/// Is told by each layer what its parts read.
pub(crate) type Watcher<'w, B> = &'w mut dyn FnMut(usize, Seen<'_, B>);

/// One layer.
pub(crate) struct Layer<B: Backend, A> {
    /// Weight of the norm before attention.
    pub(crate) attention_norm: B::Vector,
    /// Attention.
    pub(crate) attention: A,
    /// Weight of the norm before the feed-forward part.
    pub(crate) feed_forward_norm: B::Vector,
    /// Feed-forward part.
    pub(crate) feed_forward: FeedForward<B>,
}

/// A decoder whose layers attend as `A` does.
pub(crate) struct Decoder<B: Backend, A: Attend<B>> {
    backend: B,
    shape: Shape,
    rope: Rope,
    epsilon: f32,
    embedding: B::Matrix,
    layers: Vec<Layer<B, A>>,
    norm: B::Vector,
    /// Nothing where the embedding serves as the head.
    head: Option<B::Matrix>,
    caches: Vec<B::Cache>,
    blocks: usize,
    step: B::Step,
    hidden: B::Buffer,
    normed: B::Buffer,
    said: B::Buffer,
    choices: B::Choices,
    buffers: A::Buffers,
    adapters: Vec<AdapterId>,
    next_adapter: u32,
}

/// The measures that every decoder has.
pub(crate) struct Measures {
    /// Tokens of the vocabulary.
    pub(crate) vocabulary: usize,
    /// Width of the residual stream.
    pub(crate) width: usize,
    /// Experts that a token goes to.
    pub(crate) chosen: usize,
    /// Experts of a layer.
    pub(crate) experts: usize,
    /// Positions.
    pub(crate) longest: usize,
    /// Added to the mean square before its root.
    pub(crate) epsilon: f32,
    /// Whether the embedding serves as the head.
    pub(crate) tied: bool,
}

impl<B: Backend, A: Attend<B>> Decoder<B, A> {
    /// Reads `model.embed_tokens`, `model.norm` and `lm_head`, and puts the layers between them.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, or memory is short.
    pub(crate) fn open(
        backend: B,
        weights: &dyn Weights,
        measures: &Measures,
        rope: Rope,
        layers: Vec<Layer<B, A>>,
        buffers: A::Buffers,
    ) -> Result<Self, BuildError> {
        let (vocabulary, width) = (measures.vocabulary, measures.width);
        let embedding = backend.matrix(vec![weights.matrix("model.embed_tokens", vocabulary, width)?], None)?;
        let head = if measures.tied {
            None
        } else {
            Some(backend.matrix(vec![weights.matrix("lm_head", vocabulary, width)?], None)?)
        };
        let norm = backend.vector(weights.vector("model.norm.weight", &[width])?)?;
        let bytes: usize = layers.iter().map(|layer| backend.cache_bytes(layer.attention.cache_width())).sum();
        let shape = Shape {
            vocabulary,
            layers: layers.len(),
            experts: measures.experts,
            longest_context: measures.longest,
            bytes_per_block: bytes * BLOCK,
        };
        let buffer = || backend.buffer(1, width);
        Ok(Self {
            step: backend.step()?,
            hidden: buffer()?,
            normed: buffer()?,
            said: buffer()?,
            choices: backend.choices(measures.chosen)?,
            shape,
            rope,
            epsilon: measures.epsilon,
            embedding,
            layers,
            norm,
            head,
            caches: Vec::new(),
            blocks: 0,
            buffers,
            adapters: Vec::new(),
            next_adapter: 0,
            backend,
        })
    }

    /// Runs all layers over a batch; says whether it has any tokens. `watch` sees what every layer's parts read.
    fn walk(&mut self, batch: &Batch, mut watch: Option<Watcher<'_, B>>) -> Result<bool, ForwardError> {
        batch.check(&self.shape, self.blocks)?;
        let asked = batch.sequences.iter().filter_map(|sequence| sequence.adapter);
        if let Some(unknown) = asked.into_iter().find(|adapter| !self.adapters.contains(adapter)) {
            return Err(ForwardError::Adapter(unknown));
        }
        let n = batch.tokens.len();
        if n == 0 {
            return Ok(false);
        }
        let Self { backend, step, hidden, normed, said, .. } = self;
        for buffer in [&mut *hidden, &mut *normed, &mut *said] {
            backend.reserve(buffer, n)?;
        }
        A::reserve(backend, &mut self.buffers, n)?;

        backend.begin(step, batch, &self.rope)?;
        backend.embed(step, &self.embedding, hidden)?;
        for (number, (layer, cache)) in self.layers.iter_mut().zip(&mut self.caches).enumerate() {
            let before = (number > 0).then_some(&*said);
            backend.norm(step, hidden, before, (&layer.attention_norm, self.epsilon), normed)?;
            layer.attention.forward(backend, step, normed, cache, &mut self.buffers, said)?;
            if let Some(watch) = watch.as_mut() {
                watch(number, Seen::Attention { input: normed, inner: A::inner(&self.buffers), cache });
            }
            backend.norm(step, hidden, Some(said), (&layer.feed_forward_norm, self.epsilon), normed)?;
            layer.feed_forward.forward(backend, step, normed, &mut self.choices, said)?;
            if let Some(watch) = watch.as_mut() {
                watch(number, Seen::FeedForward { input: normed, choices: &self.choices });
            }
        }
        Ok(true)
    }

    /// One step; see [`CausalModel::forward`]. `watch` sees what every layer's parts read.
    ///
    /// # Errors
    /// As [`CausalModel::forward`].
    pub(crate) fn run(
        &mut self,
        batch: &Batch,
        logits: &mut Vec<f32>,
        watch: Option<Watcher<'_, B>>,
    ) -> Result<(), ForwardError> {
        logits.clear();
        if !self.walk(batch, watch)? {
            return Ok(());
        }
        let Self { backend, step, hidden, said, head, embedding, norm, epsilon, .. } = self;
        let head = head.as_ref().unwrap_or(embedding);
        backend.logits(step, (hidden, said), (norm, *epsilon), head, logits)
    }
}

impl<B: Backend, A: Attend<B>> CausalModel for Decoder<B, A> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn allocate_cache(&mut self, blocks: usize) -> Result<(), ForwardError> {
        (self.caches, self.blocks) = (Vec::new(), 0);
        self.caches = self
            .layers
            .iter()
            .map(|layer| self.backend.cache(blocks, layer.attention.cache_width()))
            .collect::<Result<_, _>>()?;
        self.blocks = blocks;
        Ok(())
    }

    fn forward(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), ForwardError> {
        self.run(batch, logits, None)
    }

    fn likeliest(&mut self, batch: &Batch, tokens: &mut Vec<u32>) -> Result<(), ForwardError> {
        tokens.clear();
        if !self.walk(batch, None)? {
            return Ok(());
        }
        let Self { backend, step, hidden, said, head, embedding, norm, epsilon, .. } = self;
        let head = head.as_ref().unwrap_or(embedding);
        backend.likeliest(step, (hidden, said), (norm, *epsilon), head, tokens)
    }

    fn device(&self) -> Option<&str> {
        self.backend.name()
    }

    fn expert_load(&self) -> Vec<Vec<u64>> {
        self.layers.iter().map(|layer| layer.feed_forward.load(&self.backend)).collect()
    }

    fn load_adapter(&mut self, folder: &Path) -> Result<AdapterId, AdapterError> {
        let id = AdapterId(self.next_adapter);
        let projections = self.layers.iter_mut().flat_map(|layer| layer.attention.projections());
        match adapter::load(folder, &self.backend, id, projections) {
            Ok(()) => {
                self.adapters.push(id);
                self.next_adapter += 1;
                Ok(id)
            }
            Err(error) => {
                self.unload_adapter(id);
                Err(error)
            }
        }
    }

    fn unload_adapter(&mut self, adapter: AdapterId) {
        self.adapters.retain(|loaded| *loaded != adapter);
        for projection in self.layers.iter_mut().flat_map(|layer| layer.attention.projections()) {
            projection.forget(adapter);
        }
    }
}
