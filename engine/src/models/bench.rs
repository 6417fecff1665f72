//! How fast a model writes on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::backend::cpu::read_bandwidth;
use crate::weights::random::{Counted, Random, RandomFormat};
use crate::weights::{Checkpoint, Folder, Weights};

use super::causal::{BLOCK, Batch, CausalModel, Sequence};
use super::load::{LoadError, LoadOptions, build, threads};
use super::shapes;

/// What is measured.
#[derive(Debug, Clone)]
pub struct DecodeBench {
    /// Tokens in each sequence's cache when measuring begins.
    pub context: usize,
    /// Sequences that write at once.
    pub batch: usize,
    /// How long to measure.
    pub time: Duration,
    /// How the model runs.
    pub options: LoadOptions,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct DecodeFigures {
    /// The model.
    pub model: String,
    /// Number format of random weights, or `checkpoint`.
    pub weights: String,
    /// Tokens in each sequence's cache when measuring began.
    pub context: usize,
    /// Sequences that wrote at once.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Tokens read a second while the contexts were filled.
    pub prefill_tokens_per_second: f64,
    /// Tokens written a second, all sequences together.
    pub tokens_per_second: f64,
    /// Milliseconds of the median step.
    pub step_ms: f64,
    /// Megabytes of all weights.
    pub weights_mb: f64,
    /// Megabytes that a token of its own reads: weights of its way and its cache.
    pub mb_per_token: f64,
    /// Bytes read a second when all threads read memory that is in no cache of the processor's.
    pub bandwidth_gb_per_second: f64,
    /// Bytes of a step by its time, as a share of that: for one sequence at a time, where each step reads just its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_bandwidth: Option<f64>,
}

impl DecodeBench {
    /// Measures a checkpoint folder.
    ///
    /// # Errors
    /// [`LoadError`] when it can not be loaded or run.
    pub fn checkpoint(&self, folder: &Path) -> Result<DecodeFigures, LoadError> {
        let name = folder.display().to_string();
        let failed = |reason: String| LoadError { folder: name.clone(), reason };
        let folder = Folder::Disk(folder.to_owned());
        let config = folder.read_json("config.json").map_err(|error| failed(error.to_string()))?;
        let mut quiet = |_| ();
        let checkpoint = Checkpoint::open(&folder, &mut quiet).map_err(|error| failed(error.to_string()))?;
        self.measure(&name, "checkpoint", &config, &checkpoint).map_err(failed)
    }

    /// Measures random weights of a known shape in `bf16`, `int8` or `int4`.
    ///
    /// # Errors
    /// [`LoadError`] when the shape or format is not known, or memory is short.
    pub fn random(&self, shape: &str, format: &str) -> Result<DecodeFigures, LoadError> {
        let failed = |reason: String| LoadError { folder: shape.to_owned(), reason };
        let config = shapes::config(shape)
            .ok_or_else(|| failed(format!("no such shape; there are {}", shapes::NAMES.join(", "))))?;
        let kind = match format {
            "bf16" => RandomFormat::Bf16,
            "int8" => RandomFormat::Int8,
            "int4" => RandomFormat::Int4,
            other => return Err(failed(format!("no number format {other}; there are bf16, int8, int4"))),
        };
        self.measure(shape, format, &config, &Random::new(kind, 1)).map_err(failed)
    }

    fn measure(
        &self,
        name: &str,
        format: &str,
        config: &serde_json::Value,
        weights: &dyn Weights,
    ) -> Result<DecodeFigures, String> {
        let number = |key: &str| config.get(key).and_then(serde_json::Value::as_u64);
        let tied = config.get("tie_word_embeddings").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let counted = Counted::new(weights, tied);
        let mut model = build(config, &counted, self.options).map_err(|error| error.to_string())?;
        let chosen = number("num_experts_per_tok").and_then(|k| usize::try_from(k).ok()).unwrap_or(1);
        let (of_a_token, all) = counted.bytes(chosen, model.shape().experts);
        let threads = threads(self.options);
        let mut run = Run::fill(&mut *model, self.batch, self.context)?;
        let mut steps = Vec::new();
        let start = Instant::now();
        while steps.is_empty() || start.elapsed() < self.time {
            let before = Instant::now();
            run.step(&mut *model)?;
            steps.push(before.elapsed().as_secs_f64());
        }
        let seconds: f64 = steps.iter().sum();
        let tokens = (steps.len() * self.batch) as f64;
        steps.sort_unstable_by(f64::total_cmp);
        let median = steps.get(steps.len() / 2).copied().unwrap_or_default();
        let cached = model.shape().bytes_per_block / BLOCK * self.context;
        let bandwidth = read_bandwidth(threads);
        let bytes = (of_a_token + cached) as f64;
        Ok(DecodeFigures {
            model: name.to_owned(),
            weights: format.to_owned(),
            context: self.context,
            batch: self.batch,
            threads,
            prefill_tokens_per_second: run.prefill,
            tokens_per_second: tokens / seconds,
            step_ms: 1e3 * median,
            weights_mb: all as f64 / 1e6,
            mb_per_token: bytes / 1e6,
            bandwidth_gb_per_second: bandwidth / 1e9,
            share_of_bandwidth: (self.batch == 1).then(|| bytes / median / bandwidth),
        })
    }
}

/// Sequences that write whatever is likeliest.
struct Run {
    batch: Batch,
    /// Positions that a sequence may reach before it goes on from `start` again.
    limit: usize,
    start: usize,
    vocabulary: usize,
    logits: Vec<f32>,
    /// Tokens a second.
    prefill: f64,
}

impl Run {
    fn fill(model: &mut dyn CausalModel, sequences: usize, context: usize) -> Result<Self, String> {
        let (longest, vocabulary) = (model.shape().longest_context, model.shape().vocabulary);
        let limit = (context + 256).min(longest);
        let each = limit.div_ceil(BLOCK);
        model.allocate_cache(each * sequences).map_err(|error| error.to_string())?;
        let context = context.clamp(1, longest.saturating_sub(1));
        let (mut logits, begun) = (Vec::new(), Instant::now());
        let mut batch = Batch::default();
        for number in 0..sequences {
            let mut done = 0;
            while done < context {
                let end = context.min(done + 256);
                let mut part = Batch::default();
                add(&mut part, number * each, each, done..end, |position| position * 7919 % vocabulary)?;
                model.forward(&part, &mut logits).map_err(|error| error.to_string())?;
                done = end;
            }
            add(&mut batch, number * each, each, context..context + 1, |_| 1)?;
        }
        let prefill = (sequences * context) as f64 / begun.elapsed().as_secs_f64();
        Ok(Self { batch, limit, start: context, vocabulary, logits, prefill })
    }

    fn step(&mut self, model: &mut dyn CausalModel) -> Result<(), String> {
        model.forward(&self.batch, &mut self.logits).map_err(|error| error.to_string())?;
        let best = self.logits.chunks(self.vocabulary.max(1)).map(|logits| {
            let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(token, _)| u32::try_from(token).unwrap_or_default())
        });
        self.batch.tokens.iter_mut().zip(best).for_each(|(token, best)| *token = best);
        // The cache is kept near the size that the figure is for.
        let grown = self.batch.sequences.first().map_or(0, |sequence| sequence.context);
        self.place(if grown < self.limit { grown } else { self.start });
        Ok(())
    }

    /// Puts the next token of every sequence at this position.
    fn place(&mut self, position: usize) {
        let small = |number: usize| u32::try_from(number).unwrap_or_default();
        for (index, sequence) in self.batch.sequences.iter_mut().enumerate() {
            sequence.context = position + 1;
            let block = sequence.blocks.get(position / BLOCK).copied().unwrap_or_default();
            let (place, slot) = (self.batch.positions.get_mut(index), self.batch.slots.get_mut(index));
            if let (Some(place), Some(slot)) = (place, slot) {
                *place = small(position);
                *slot = block * small(BLOCK) + small(position % BLOCK);
            }
        }
    }
}

/// Adds a sequence whose blocks are `blocks` from `first` on.
fn add(
    batch: &mut Batch,
    first: usize,
    blocks: usize,
    positions: std::ops::Range<usize>,
    token: impl Fn(usize) -> usize,
) -> Result<(), String> {
    let small = |number: usize| u32::try_from(number).map_err(|error| error.to_string());
    let start = batch.tokens.len();
    for position in positions.clone() {
        batch.tokens.push(small(token(position))?);
        batch.positions.push(small(position)?);
        batch.slots.push(small(first * BLOCK + position)?);
    }
    batch.sequences.push(Sequence {
        tokens: start..batch.tokens.len(),
        context: positions.end,
        blocks: (first..first + blocks).map(small).collect::<Result<_, _>>()?,
        wants_logits: true,
        adapter: None,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_measured_with_the_bytes_its_way_reads() {
        let time = Duration::from_millis(1);
        let bench = DecodeBench { context: 20, batch: 2, time, options: LoadOptions { threads: 2, rounding: true } };
        let figures = bench.random("candor-generator", "int8").unwrap();
        assert!(figures.tokens_per_second > 0.0 && figures.share_of_bandwidth.is_none());
        // 47 M parameters, of which a token meets 19 M; a byte each, and scales.
        assert!((45.0..50.0).contains(&figures.weights_mb), "{figures:?}");
        assert!((17.0..21.0).contains(&figures.mb_per_token), "{figures:?}");
        assert!(bench.random("gpt-9", "int8").unwrap_err().to_string().contains("candor-generator"));
        assert!(bench.random("candor-generator", "int3").unwrap_err().to_string().contains("int4"));
    }
}
