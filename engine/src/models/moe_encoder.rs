//! A BERT encoder (Devlin et al. 2019) in the shape of MiniLM-L6 (Wang et al. 2020) whose feed-forward blocks are experts.
//!
//! A text's tokens get vectors for word, place and segment; each layer adds attention over the text and then what the
//! chosen experts say, normalising after each. The mean of the last vectors, scaled to length 1, is the embedding; heads read the
//! first vector beside the mean.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges follow from token counts and widths that `forward` sizes its buffers by"
)]

use std::collections::BTreeMap;

use ndarray::ShapeError;
use serde::{Deserialize, Serialize};

use super::intents::IntentAdapter;
use crate::backend::cpu::{self, Crew};
use crate::layers::{
    Attention, AttentionBuffers, Experts, ExpertsBuffers, FastLayer, FastMemory, LayerNorm, Precision,
};
use crate::weights::{Error, Folder, Tensors};

/// `config.json` of the encoder.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    /// Version of the weights, reported with every answer.
    pub version: String,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads of a layer.
    pub num_attention_heads: usize,
    /// Words of the vocabulary.
    pub vocab_size: usize,
    /// Places with a vector of their own.
    pub max_position_embeddings: usize,
    /// ε of the normalisations.
    pub layer_norm_eps: f32,
    /// Experts of a layer.
    pub num_experts: usize,
    /// Groups of which each gives one expert to a token.
    pub n_group: usize,
    /// Neurons of an expert.
    pub moe_intermediate_size: usize,
    /// Texts are cut at this many tokens.
    pub max_tokens: usize,
    /// The classifiers, by name.
    pub heads: BTreeMap<String, HeadConfig>,
    /// The label that means out of scope, by head, where it has one.
    #[serde(default)]
    pub out_of_scope: BTreeMap<String, String>,
}

/// One classifier's labels and calibration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeadConfig {
    /// Names of the labels in the order of the logits.
    pub labels: Vec<String>,
    /// Logits are divided by this before the softmax (Guo et al. 2017).
    pub temperature: f32,
    /// A lower probability of the best label in scope means out of scope.
    pub threshold: f32,
}

/// What the encoder says about one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoded {
    /// What heads read: the first vector beside the mean.
    pub features: Vec<f32>,
}

/// The encoder's parameters.
pub(crate) struct MoeEncoder {
    config: Config,
    words: Vec<f32>,
    positions: Vec<f32>,
    segment: Vec<f32>,
    norm: LayerNorm,
    layers: Layers,
    heads: Vec<Head>,
}

struct Head {
    name: String,
    /// `[labels, 2 · width]`.
    weight: Vec<f32>,
    /// `[labels]`.
    bias: Vec<f32>,
}

/// The layers in the precision that the model runs in.
enum Layers {
    Int8(Vec<FastLayer>),
    Float32(Vec<Layer>),
}

struct Layer {
    attention: Attention,
    after_attention: LayerNorm,
    experts: Experts,
    after_experts: LayerNorm,
}

/// Memory of one forward pass: it grows to the largest batch seen and is then reused.
#[derive(Default)]
pub(crate) struct Workspace {
    x: Vec<f32>,
    branch: Vec<f32>,
    fast: FastMemory,
    attention: AttentionBuffers,
    experts: ExpertsBuffers,
    /// Tokens by layer and expert since the workspace was made or last drained.
    pub load: Vec<Vec<u64>>,
}

impl MoeEncoder {
    /// Reads the model of a folder, as tests do.
    #[cfg(test)]
    pub(crate) fn open(folder: &Folder, precision: Precision, own: Option<&IntentAdapter>) -> Result<Self, Error> {
        let (config, tensors) = read(folder, own)?;
        Self::of(config, &tensors, precision)
    }

    /// The model with what [`read`] read, to run in the precision asked for. Heads and routers, small beside the rest, always
    /// run in `f32`.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit the configuration.
    pub(crate) fn of(config: Config, tensors: &Tensors, precision: Precision) -> Result<Self, Error> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let names = (0..config.num_hidden_layers).map(|layer| format!("layers.{layer}"));
        let layers = match precision {
            Precision::Int8 => {
                let experts = (config.num_experts, config.n_group, config.moe_intermediate_size);
                let shape = (width, config.num_attention_heads, eps);
                Layers::Int8(
                    names.map(|name| FastLayer::open(tensors, &name, shape, experts)).collect::<Result<_, _>>()?,
                )
            }
            Precision::Float32 => {
                Layers::Float32(names.map(|name| Layer::open(tensors, &name, &config)).collect::<Result<_, _>>()?)
            }
        };
        let heads = config
            .heads
            .iter()
            .map(|(name, head)| {
                let (labels, read) = (head.labels.len(), |part: &str, shape: &[usize]| {
                    tensors.get(&format!("heads.{name}.{part}"), shape)
                });
                let (weight, bias) = (read("weight", &[labels, 2 * width])?, read("bias", &[labels])?);
                Ok(Head { name: name.clone(), weight, bias })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            words: tensors.get("words", &[config.vocab_size, width])?,
            positions: tensors.get("positions", &[config.max_position_embeddings, width])?,
            segment: tensors.get("types", &[width])?,
            norm: LayerNorm::open(tensors, "norm", width, eps)?,
            layers,
            heads,
            config,
        })
    }

    /// The model's configuration.
    #[must_use]
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Names of the heads, in order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|head| head.name.as_str())
    }

    /// The logits of one head; none where there is no such head.
    #[must_use]
    pub(crate) fn logits(&self, head: usize, encoded: &Encoded) -> Vec<f32> {
        let Some(Head { weight, bias, .. }) = self.heads.get(head) else { return Vec::new() };
        let mut out = vec![0.0; bias.len()];
        cpu::few(&encoded.features, weight, Some(bias), encoded.features.len(), &mut out);
        out
    }

    /// Encodes several texts at once, their tokens laid end to end: nothing is padded.
    ///
    /// # Errors
    /// When a text has no token, more than the model has places for, or a token outside the vocabulary.
    pub(crate) fn forward(
        &self,
        texts: &[&[u32]],
        workspace: &mut Workspace,
        crew: &mut Crew<'_>,
    ) -> Result<Vec<Encoded>, ShapeError> {
        let width = self.config.hidden_size;
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        let n: usize = lengths.iter().sum();
        if lengths.contains(&0) || lengths.iter().any(|&l| l > self.config.max_position_embeddings) {
            return Err(ShapeError::from_kind(ndarray::ErrorKind::OutOfBounds));
        }
        workspace.reserve(n, width, &self.config);
        let Workspace { x, branch, fast, attention, experts, load } = workspace;
        let x = &mut x[..n * width];
        let places = texts.iter().flat_map(|ids| ids.iter().enumerate());
        for (row, (position, &id)) in x.chunks_exact_mut(width).zip(places) {
            let word = usize::try_from(id).ok().and_then(|id| self.words.get(id * width..(id + 1) * width));
            let word = word.ok_or_else(|| ShapeError::from_kind(ndarray::ErrorKind::OutOfBounds))?;
            let place = &self.positions[position * width..(position + 1) * width];
            for (((out, w), p), s) in row.iter_mut().zip(word).zip(place).zip(&self.segment) {
                *out = w + p + s;
            }
        }
        self.norm.normalise(x);
        match &self.layers {
            Layers::Int8(layers) => {
                let starts: Vec<usize> = std::iter::once(0)
                    .chain(lengths.iter().scan(0, |end, length| {
                        *end += length;
                        Some(*end)
                    }))
                    .collect();
                fast.enter(x, width);
                for (layer, load) in layers.iter().zip(load) {
                    layer.forward(x, &starts, (fast, crew), load)?;
                }
            }
            Layers::Float32(layers) => {
                branch.resize(n * width, 0.0);
                for (layer, load) in layers.iter().zip(load) {
                    layer.attention.forward(x, &lengths, attention, branch)?;
                    layer.after_attention.add_and_normalise(x, branch);
                    layer.experts.forward(x, n, experts, load, branch)?;
                    layer.after_experts.add_and_normalise(x, branch);
                }
            }
        }
        let mut first = 0;
        let read_out = |&length: &usize| {
            let text = &x[first * width..(first + length) * width];
            first += length;
            read_out(text, width)
        };
        Ok(lengths.iter().map(read_out).collect())
    }
}

impl Layer {
    fn open(tensors: &Tensors, name: &str, config: &Config) -> Result<Self, Error> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let shapes = ((width, config.moe_intermediate_size), (config.num_experts, config.n_group));
        Ok(Self {
            attention: Attention::open(tensors, name, (width, config.num_attention_heads))?,
            after_attention: LayerNorm::open(tensors, &format!("{name}.norm1"), width, eps)?,
            experts: Experts::open(tensors, &format!("{name}.ffn"), shapes.0, shapes.1)?,
            after_experts: LayerNorm::open(tensors, &format!("{name}.norm2"), width, eps)?,
        })
    }
}

/// Configuration and tensors of a folder, with the bank's own intents where there are some.
///
/// # Errors
/// When a file is missing or the intents do not fit the model.
pub(crate) fn read(folder: &Folder, own: Option<&IntentAdapter>) -> Result<(Config, Tensors), Error> {
    let mut config: Config = folder.read_json("config.json")?;
    let mut tensors = Tensors::open(folder)?;
    if let Some(own) = own {
        own.apply(&mut tensors, &mut config)?;
    }
    Ok((config, tensors))
}

/// What heads read, from the last vectors of one text.
fn read_out(text: &[f32], width: usize) -> Encoded {
    let mut mean = vec![0.0; width];
    for row in text.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
    }
    #[expect(clippy::cast_precision_loss, reason = "texts have at most a few hundred tokens")]
    let count = (text.len() / width) as f32;
    mean.iter_mut().for_each(|m| *m /= count);
    let mut features = Vec::with_capacity(2 * width);
    features.extend_from_slice(&text[..width]);
    features.extend_from_slice(&mean);
    Encoded { features }
}

impl Encoded {
    /// Sentence embedding of Euclidean length 1: the mean.
    #[must_use]
    pub(crate) fn embedding(&self) -> Vec<f32> {
        let mean = &self.features[self.features.len() / 2..];
        let norm = cpu::dot(mean, mean).sqrt().max(1e-12);
        mean.iter().map(|m| m / norm).collect()
    }
}

impl Workspace {
    fn reserve(&mut self, n: usize, width: usize, config: &Config) {
        if self.x.len() < n * width {
            self.x.resize(n * width, 0.0);
        }
        self.load.resize_with(config.num_hidden_layers, Vec::new);
        self.load.iter_mut().for_each(|layer| layer.resize(config.num_experts, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Tokens;
    use crate::weights;

    #[derive(Deserialize)]
    struct Recorded {
        text: String,
        ids: Vec<u32>,
        logits: BTreeMap<String, Vec<f32>>,
        embedding: Vec<f32>,
    }

    fn furthest(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// The recipe's `PyTorch` model answered these texts with the same weights, in `f32`.
    #[test]
    fn shipped_encoder_answers_as_the_reference_did() {
        let recorded: Vec<Recorded> = serde_json::from_str(include_str!("../../weights/encoder/fixture.json")).unwrap();
        let folder = weights::encoder_inside();
        let model = MoeEncoder::open(&folder, Precision::Float32, None).unwrap();
        let tokens = Tokens::open(&folder, model.config().max_tokens).unwrap();
        let ids: Vec<Vec<u32>> = recorded.iter().map(|r| tokens.encode(&r.text).unwrap()).collect();
        let (mut workspace, mut pool) = (Workspace::default(), cpu::Pool::new(2));
        let together: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let answers = model.forward(&together, &mut workspace, &mut Crew::alone()).unwrap();
        let total: usize = ids.iter().map(Vec::len).sum();
        assert!(workspace.load.iter().all(|layer| layer.iter().sum::<u64>() == 4 * total as u64));
        for ((recorded, ids), answer) in recorded.iter().zip(&ids).zip(&answers) {
            assert_eq!(ids, &recorded.ids, "{}", recorded.text);
            assert!(furthest(&answer.embedding(), &recorded.embedding) < 1e-4, "{}", recorded.text);
            for (head, name) in model.heads().enumerate() {
                let logits = model.logits(head, answer);
                assert!(furthest(&logits, &recorded.logits[name]) < 1e-4, "{name}: {}", recorded.text);
            }
            let alone = model.forward(&[ids], &mut workspace, &mut Crew::of(&mut pool)).unwrap();
            assert!(
                furthest(&alone[0].embedding(), &answer.embedding()) < 1e-5,
                "company changes nothing: {}",
                recorded.text
            );
        }
        assert!(model.forward(&[&[]], &mut workspace, &mut Crew::alone()).is_err());
        assert!(model.forward(&[&[u32::MAX]], &mut workspace, &mut Crew::alone()).is_err());
    }

    /// int8 arithmetic answers nearly as `f32` does, and chooses the same labels.
    #[test]
    fn the_fast_form_stays_close_to_the_exact_one() {
        let recorded: Vec<Recorded> = serde_json::from_str(include_str!("../../weights/encoder/fixture.json")).unwrap();
        let model = MoeEncoder::open(&weights::encoder_inside(), Precision::Int8, None).unwrap();
        let ids: Vec<&[u32]> = recorded.iter().map(|r| r.ids.as_slice()).collect();
        let answers = model.forward(&ids, &mut Workspace::default(), &mut Crew::alone()).unwrap();
        for (recorded, answer) in recorded.iter().zip(&answers) {
            let cosine: f32 = recorded.embedding.iter().zip(&answer.embedding()).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.995, "{}: {cosine}", recorded.text);
            for (head, name) in model.heads().enumerate() {
                let logits = model.logits(head, answer);
                let top = |logits: &[f32]| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
                let sorted = |logits: &[f32]| {
                    let mut l = logits.to_vec();
                    l.sort_by(|a, b| b.total_cmp(a));
                    l[0] - l[1]
                };
                if sorted(&recorded.logits[name]) > 1.0 {
                    assert_eq!(top(&logits), top(&recorded.logits[name]), "{name}: {}", recorded.text);
                }
            }
        }
    }
}
