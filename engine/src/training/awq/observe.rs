//! What the maps of every layer read when the model reads texts.

use std::collections::BTreeMap;

use super::AwqError;
use super::groups::Kind;
use super::scales::Sample;
use crate::backend::cpu::Cpu;
use crate::layers::BuildError;
use crate::models::causal::{BLOCK, Batch, CausalModel, ForwardError, Sequence};
use crate::models::decoder::{Attend, Decoder, Seen, Watcher};
use crate::models::{LoadOptions, deepseek_v3, qwen3_moe, threads};
use crate::weights::Weights;

/// What one layer's maps read, token by token.
#[derive(Default)]
pub(super) struct Observed {
    /// The first maps of attention.
    pub(super) attention: Sample,
    /// Its other maps, by name.
    pub(super) inner: BTreeMap<&'static str, Sample>,
    /// The feed-forward part.
    pub(super) feed_forward: Sample,
    /// The experts of each token with their weights.
    pub(super) choices: Vec<Vec<(u32, f32)>>,
}

impl Sample {
    fn push(&mut self, row: &[f32]) {
        self.width = row.len();
        self.values.extend_from_slice(row);
    }
}

/// A decoder on the processor that can be watched.
trait Watched: CausalModel {
    fn watch(&mut self, batch: &Batch, watch: Watcher<'_, Cpu>) -> Result<(), ForwardError>;
}

impl<A: Attend<Cpu>> Watched for Decoder<Cpu, A> {
    fn watch(&mut self, batch: &Batch, watch: Watcher<'_, Cpu>) -> Result<(), ForwardError> {
        self.run(batch, &mut Vec::new(), Some(watch))
    }
}

fn open(
    config: &serde_json::Value,
    weights: &dyn Weights,
    options: LoadOptions,
    kind: &Kind,
) -> Result<Box<dyn Watched>, BuildError> {
    fn read<T: serde::de::DeserializeOwned>(config: &serde_json::Value) -> Result<T, BuildError> {
        serde_json::from_value(config.clone()).map_err(|error| BuildError::Config(error.to_string()))
    }
    let backend = Cpu::new(threads(options), options.rounding);
    Ok(match kind.latent {
        Some(_) => Box::new(deepseek_v3::open(backend, &read(config)?, weights)?),
        None => Box::new(qwen3_moe::open(backend, &read(config)?, weights)?),
    })
}

/// Lets the model read texts, spread over those given, until it read `most` tokens; answers what each layer's maps read, and
/// how many tokens there were.
pub(super) fn observe(
    config: &serde_json::Value,
    weights: &dyn Weights,
    options: LoadOptions,
    kind: &Kind,
    texts: &[Vec<u32>],
    most: usize,
) -> Result<(Vec<Observed>, usize), AwqError> {
    let mut model = open(config, weights, options, kind).map_err(|error| AwqError::Checkpoint(error.to_string()))?;
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    model.allocate_cache(longest.div_ceil(BLOCK))?;
    let mut layers: Vec<Observed> = (0..kind.layers).map(|_| Observed::default()).collect();
    let mut seen = 0;
    for text in spread(texts, most) {
        let text = text.get(..text.len().min(most - seen)).unwrap_or_default();
        let batch = alone(text).map_err(AwqError::Texts)?;
        model.watch(&batch, &mut |number, part| {
            if let Some(layer) = layers.get_mut(number) {
                layer.take(&batch, kind.latent, part);
            }
        })?;
        seen += text.len();
        if seen >= most {
            break;
        }
    }
    Ok((layers, seen))
}

/// Texts at even steps that have about so many tokens together, then the others.
fn spread(texts: &[Vec<u32>], most: usize) -> impl Iterator<Item = &Vec<u32>> {
    let all: usize = texts.iter().map(Vec::len).sum();
    let step = (all / most.max(1)).max(1);
    (0..step).flat_map(move |first| texts.iter().skip(first).step_by(step))
}

/// A text as the only sequence, in blocks from 0 on.
fn alone(text: &[u32]) -> Result<Batch, String> {
    let small = |number: usize| u32::try_from(number).map_err(|error| error.to_string());
    let positions: Vec<u32> = (0..text.len()).map(small).collect::<Result<_, _>>()?;
    let blocks = (0..text.len().div_ceil(BLOCK)).map(small).collect::<Result<_, _>>()?;
    let whole = Sequence { tokens: 0..text.len(), context: text.len(), blocks, wants_logits: false, adapter: None };
    Ok(Batch { tokens: text.to_vec(), slots: positions.clone(), positions, sequences: vec![whole] })
}

impl Observed {
    /// Keeps what a part read of every token of the batch. Latents, `rank` numbers each, are read from the cache.
    fn take(&mut self, batch: &Batch, rank: Option<usize>, part: Seen<'_, Cpu>) {
        let tokens = 0..batch.tokens.len();
        match part {
            Seen::Attention { input, inner, cache } => {
                tokens.clone().for_each(|token| self.attention.push(input.row(token)));
                for (name, buffer) in inner {
                    let sample = self.inner.entry(name).or_default();
                    tokens.clone().for_each(|token| sample.push(buffer.row(token)));
                }
                if let Some(rank) = rank {
                    let sample = self.inner.entry("kv_b_proj").or_default();
                    for slot in batch.slots.iter().filter_map(|slot| usize::try_from(*slot).ok()) {
                        sample.push(cache.row(slot).get(..rank).unwrap_or_default());
                    }
                }
            }
            Seen::FeedForward { input, choices } => {
                for token in tokens {
                    self.feed_forward.push(input.row(token));
                    self.choices.push(choices.of(token).to_vec());
                }
            }
        }
    }
}
