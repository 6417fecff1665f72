//! The encoder of [`crate::models::moe_encoder`] in a form that gradients can be followed through.
//!
//! Texts' tokens lie end to end; only attention, which needs rectangles, lays them out by text and takes them back. Tokens are
//! sorted by expert, so that an expert is one product. The choice of experts has no gradient; their gates have.
#![expect(clippy::indexing_slicing, reason = "places follow from token counts that `Batch` is made of")]

use std::sync::Arc;

use candle_core::{D, Device, Result, Tensor};
use rand_chacha::ChaCha8Rng;

use super::TrainingError;
use super::frozen::{Affine, Norm, Part, gelu};
use super::lora::Lora;
use super::pieces::{sigmoid, softmax};
use crate::backend::cpu;
use crate::models::intents::Target;
use crate::models::moe_encoder::Config;
use crate::weights::{Error, Folder, Tensors};

/// The encoder's parameters, all frozen.
pub(super) struct TrainingEncoder {
    config: Config,
    words: Vec<f32>,
    positions: Vec<f32>,
    segment: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    heads: Vec<Affine>,
}

struct Layer {
    query: Affine,
    key: Affine,
    value: Affine,
    out: Affine,
    after_attention: Norm,
    router: Affine,
    selection_bias: Vec<f32>,
    gate_scale: f64,
    rise: Affine,
    fall: Affine,
    /// `[width]`.
    fall_bias: Tensor,
    after_experts: Norm,
}

/// What the encoder says about some texts.
pub(super) struct Features {
    /// First vector beside the mean, `[texts, 2 · width]`: what heads read.
    pub(super) both: Tensor,
    /// The mean, `[texts, width]`.
    pub(super) mean: Tensor,
}

impl TrainingEncoder {
    /// Reads the model of a folder.
    pub(super) fn open(folder: &Folder) -> std::result::Result<Self, TrainingError> {
        let config: Config = folder.read_json("config.json")?;
        let tensors = Tensors::open(folder)?;
        let (width, inner, experts) = (config.hidden_size, config.moe_intermediate_size, config.num_experts);
        let norm = |name: &str| -> std::result::Result<Norm, Error> {
            let read = |part: &str| tensors.get(&format!("{name}.{part}"), &[width]);
            Ok(Norm::new(read("weight")?, read("bias")?, config.layer_norm_eps))
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            let read = |part: &str, shape: &[usize]| tensors.get(&format!("layers.{i}.{part}"), shape);
            let (weight, bias) = (read("qkv.weight", &[3 * width, width])?, read("qkv.bias", &[3 * width])?);
            let third = |part: usize| {
                let weight = weight[part * width * width..(part + 1) * width * width].to_vec();
                Affine::new(weight, Some(bias[part * width..(part + 1) * width].to_vec()), (1, width, width))
            };
            let rise = (read("ffn.w1", &[experts, inner, width])?, read("ffn.b1", &[experts, inner])?);
            let out = (read("out.weight", &[width, width])?, read("out.bias", &[width])?);
            layers.push(Layer {
                query: third(0)?,
                key: third(1)?,
                value: third(2)?,
                out: Affine::new(out.0, Some(out.1), (1, width, width))?,
                after_attention: norm(&format!("layers.{i}.norm1"))?,
                router: Affine::new(read("ffn.router", &[experts, width])?, None, (1, experts, width))?,
                selection_bias: read("ffn.selection_bias", &[experts])?,
                gate_scale: f64::from(read("ffn.gate_scale", &[1])?[0]),
                rise: Affine::new(rise.0, Some(rise.1), (experts, inner, width))?,
                fall: Affine::new(read("ffn.w2", &[experts, width, inner])?, None, (experts, width, inner))?,
                fall_bias: Tensor::from_vec(read("ffn.b2", &[width])?, width, &Device::Cpu)?,
                after_experts: norm(&format!("layers.{i}.norm2"))?,
            });
        }
        let heads = config.heads.iter().map(|(name, head)| {
            let labels = head.labels.len();
            let read = |part: &str, shape: &[usize]| tensors.get(&format!("heads.{name}.{part}"), shape);
            let (weight, bias) = (read("weight", &[labels, 2 * width])?, read("bias", &[labels])?);
            Ok::<_, TrainingError>(Affine::new(weight, Some(bias), (1, labels, 2 * width))?)
        });
        Ok(Self {
            words: tensors.get("words", &[config.vocab_size, width])?,
            positions: tensors.get("positions", &[config.max_position_embeddings, width])?,
            segment: tensors.get("types", &[width])?,
            norm: norm("norm")?,
            layers,
            heads: heads.collect::<std::result::Result<_, _>>()?,
            config,
        })
    }

    /// The model's configuration.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The shipped heads' logits, `[texts, labels]` each, in the order of [`Config::heads`].
    pub(super) fn logits(&self, features: &Features) -> Result<Vec<Tensor>> {
        self.heads.iter().map(|head| head.forward(&features.both)).collect()
    }

    /// Encodes texts; every one has between one token and as many as there are places. With `rng`, the maps drop out.
    pub(super) fn forward(
        &self,
        texts: &[&[u32]],
        lora: Option<&Lora>,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Features> {
        let batch = Batch::of(texts)?;
        let adapt = |place: (usize, Target), x: &Tensor, y: Tensor, rng: &mut Option<&mut ChaCha8Rng>| match lora {
            Some(lora) => lora.add(place, x, y, rng.as_deref_mut()),
            None => Ok(y),
        };
        let mut x = self.norm.forward(&self.embed(texts)?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let query = adapt((i, Target::Query), &x, layer.query.forward(&x)?, &mut rng)?;
            let key = adapt((i, Target::Key), &x, layer.key.forward(&x)?, &mut rng)?;
            let value = adapt((i, Target::Value), &x, layer.value.forward(&x)?, &mut rng)?;
            let mixed = batch.attend(&query, &key, &value, self.config.num_attention_heads)?;
            let said = adapt((i, Target::Output), &mixed, layer.out.forward(&mixed)?, &mut rng)?;
            x = layer.after_attention.forward(&(x + said)?)?;
            let said = layer.experts(&x, self.config.n_group)?;
            x = layer.after_experts.forward(&(x + said)?)?;
        }
        let mean = batch.shares.matmul(&x)?;
        Ok(Features { both: Tensor::cat(&[&x.index_select(&batch.firsts, 0)?, &mean], 1)?, mean })
    }

    /// Vectors of words, places and segment, `[tokens, width]`.
    fn embed(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let width = self.config.hidden_size;
        let mut out = Vec::new();
        for ids in texts {
            for (place, &id) in ids.iter().enumerate() {
                let rows = (
                    self.words.get(id as usize * width..(id as usize + 1) * width),
                    self.positions.get(place * width..(place + 1) * width),
                );
                let (Some(word), Some(place)) = rows else { candle_core::bail!("a token without a vector") };
                out.extend(word.iter().zip(place).zip(&self.segment).map(|((w, p), s)| w + p + s));
            }
        }
        let tokens = out.len() / width.max(1);
        Tensor::from_vec(out, (tokens, width), &Device::Cpu)
    }
}

impl Layer {
    fn experts(&self, x: &Tensor, groups: usize) -> Result<Tensor> {
        let (n, width) = x.dims2()?;
        let logits = self.router.forward(x)?;
        let rows = logits.to_vec2::<f32>()?;
        let experts = self.selection_bias.len();
        let copies = experts / groups.max(1);
        // As the router chooses: the first of equals wins.
        let chosen = |row: &[f32], group: usize| {
            let first = group * copies;
            let score = |expert: usize| cpu::sigmoid(row[expert]) + self.selection_bias[expert];
            (first..first + copies).fold(first, |best, expert| if score(expert) > score(best) { expert } else { best })
        };
        let mut taken = vec![Vec::new(); experts];
        for (token, row) in rows.iter().enumerate() {
            (0..groups).for_each(|group| taken[chosen(row, group)].push((token, group)));
        }
        let (mut tokens, mut gates, mut back) = (Vec::new(), Vec::new(), vec![0u32; n * groups]);
        let mut parts = Vec::new();
        for (map, taken) in taken.iter().enumerate().filter(|(_, taken)| !taken.is_empty()) {
            parts.push(Part { map, rows: tokens.len()..tokens.len() + taken.len() });
            for &(token, group) in taken {
                back[token * groups + group] = number(tokens.len())?;
                tokens.push(number(token)?);
                gates.push(number(token * experts + map)?);
            }
        }
        let (pairs, parts): (usize, Arc<[Part]>) = (tokens.len(), parts.into());
        let list = |numbers: Vec<u32>| Tensor::from_vec(numbers, pairs, &Device::Cpu);
        let gates = logits.flatten_all()?.index_select(&list(gates)?, 0)?;
        let gates = (sigmoid(&(gates * self.gate_scale)?)? * 2.0)?.reshape((pairs, 1))?;
        let inner = gelu(&self.rise.by_parts(&x.index_select(&list(tokens)?, 0)?, Arc::clone(&parts))?)?;
        let said = self.fall.by_parts(&inner, parts)?.broadcast_mul(&gates)?;
        let said = said.index_select(&list(back)?, 0)?.reshape((n, groups, width))?.sum(1)?;
        said.broadcast_add(&self.fall_bias)
    }
}

/// Where the tokens of some texts lie.
struct Batch {
    texts: usize,
    longest: usize,
    /// The token of each place `[texts · longest]`; places beyond a text's end have its first.
    laid_out: Tensor,
    /// The place of each token `[tokens]`.
    taken_back: Tensor,
    /// 0 within a text, very low beyond its end, `[texts, 1, 1, longest]`.
    mask: Tensor,
    /// The first token of each text.
    firsts: Tensor,
    /// `[texts, tokens]`: a token's share in its text's mean.
    shares: Tensor,
}

impl Batch {
    fn of(texts: &[&[u32]]) -> Result<Self> {
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        let (tokens, longest) = (lengths.iter().sum::<usize>(), lengths.iter().copied().max().unwrap_or(0));
        if lengths.contains(&0) {
            candle_core::bail!("a text without a token");
        }
        let (mut laid_out, mut taken_back, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        let (mut firsts, mut shares) = (Vec::new(), vec![0.0f32; texts.len() * tokens]);
        let mut first = 0;
        for (text, &length) in lengths.iter().enumerate() {
            for place in 0..longest {
                laid_out.push(number(if place < length { first + place } else { first })?);
                mask.push(if place < length { 0.0f32 } else { -1e9 });
            }
            for place in 0..length {
                taken_back.push(number(text * longest + place)?);
                shares[text * tokens + first + place] = 1.0 / length as f32;
            }
            firsts.push(number(first)?);
            first += length;
        }
        let list = |numbers: Vec<u32>| {
            let count = numbers.len();
            Tensor::from_vec(numbers, count, &Device::Cpu)
        };
        Ok(Self {
            texts: texts.len(),
            longest,
            laid_out: list(laid_out)?,
            taken_back: list(taken_back)?,
            mask: Tensor::from_vec(mask, (texts.len(), 1, 1, longest), &Device::Cpu)?,
            firsts: list(firsts)?,
            shares: Tensor::from_vec(shares, (texts.len(), tokens), &Device::Cpu)?,
        })
    }

    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
        let width = query.dim(1)?;
        let size = width / heads.max(1);
        let by_head = |x: &Tensor| {
            let x = x.index_select(&self.laid_out, 0)?;
            x.reshape((self.texts, self.longest, heads, size))?.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (by_head(&(query / (size as f64).sqrt())?)?, by_head(key)?, by_head(value)?);
        let scores = query.matmul(&key.transpose(D::Minus2, D::Minus1)?.contiguous()?)?;
        let mixed = softmax(&scores.broadcast_add(&self.mask)?)?.matmul(&value)?;
        let mixed = mixed.transpose(1, 2)?.reshape((self.texts * self.longest, width))?;
        mixed.index_select(&self.taken_back, 0)
    }
}

fn number(place: usize) -> Result<u32> {
    u32::try_from(place).map_err(|_| candle_core::Error::Msg("too many tokens at once".to_owned()))
}
