//! How fast a model writes on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::backend::Backend as _;
use crate::backend::cpu::read_bandwidth;
use crate::weights::random::{Counted, Random, RandomFormat};
use crate::weights::{Checkpoint, Folder, Weights};

use super::causal::{BLOCK, Batch, CausalModel, Sequence};
use super::load::{LoadError, LoadOptions, Machine, build_on, threads};
use super::shapes;

/// What is measured.
#[derive(Debug, Clone)]
pub struct DecodeBench {
    /// Tokens in each sequence's cache when measuring begins.
    pub context: usize,
    /// Sequences that write at once, a measurement for each.
    pub batches: Vec<usize>,
    /// Tokens of a prompt whose reading is measured; 0 leaves that out.
    pub prompt: usize,
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
    /// What computed: the GPU's name, or `processor`.
    pub device: String,
    /// Number format of random weights, or `checkpoint`.
    pub weights: String,
    /// Tokens in each sequence's cache when measuring began.
    pub context: usize,
    /// Sequences that wrote at once.
    pub batch: usize,
    /// Threads of the processor.
    pub threads: usize,
    /// Tokens of the prompt whose reading was measured.
    pub prompt: usize,
    /// Tokens of that prompt read a second; those of the contexts where no prompt was measured.
    pub prefill_tokens_per_second: f64,
    /// Tokens written a second, all sequences together.
    pub tokens_per_second: f64,
    /// Milliseconds of the median step.
    pub step_ms: f64,
    /// Megabytes of all weights.
    pub weights_mb: f64,
    /// Megabytes that a token of its own reads: weights of its way and its cache.
    pub mb_per_token: f64,
    /// Megabytes that a step of all sequences reads: weights of the experts that any of them goes to, and all caches.
    pub mb_per_step: f64,
    /// Bytes a second that the machine moves: all threads reading memory that is in no cache, or a copy within the GPU's
    /// memory, read and written.
    pub bandwidth_gb_per_second: f64,
    /// Bytes of a step by its time, as a share of that.
    pub share_of_bandwidth: f64,
}

impl DecodeBench {
    /// Measures a checkpoint folder.
    ///
    /// # Errors
    /// [`LoadError`] when it can not be loaded or run.
    pub fn checkpoint(&self, folder: &Path) -> Result<Vec<DecodeFigures>, LoadError> {
        let name = folder.display().to_string();
        let failed = |reason: String| LoadError { folder: name.clone(), reason };
        let folder = Folder::Disk(folder.to_owned());
        let config = folder.read_json("config.json").map_err(|error| failed(error.to_string()))?;
        let mut quiet = |_| ();
        let checkpoint = Checkpoint::open(&folder, &mut quiet).map_err(|error| failed(error.to_string()))?;
        let machine = Machine::find(self.options).map_err(|error| failed(error.to_string()))?;
        self.measure(machine, (&name, "checkpoint"), &config, &checkpoint).map_err(failed)
    }

    /// Measures random weights of a known shape in `bf16`, `int8` or `int4`. A GPU draws them itself.
    ///
    /// # Errors
    /// [`LoadError`] when the shape or format is not known, or memory is short.
    pub fn random(&self, shape: &str, format: &str) -> Result<Vec<DecodeFigures>, LoadError> {
        let failed = |reason: String| LoadError { folder: shape.to_owned(), reason };
        let config = shapes::config(shape)
            .ok_or_else(|| failed(format!("no such shape; there are {}", shapes::NAMES.join(", "))))?;
        let kind = match format {
            "bf16" => RandomFormat::Bf16,
            "int8" => RandomFormat::Int8,
            "int4" => RandomFormat::Int4,
            other => return Err(failed(format!("no number format {other}; there are bf16, int8, int4"))),
        };
        let machine = Machine::find(self.options).map_err(|error| failed(error.to_string()))?;
        let weights = match &machine {
            Machine::Cpu(_) => Random::new(kind, 1),
            Machine::Cuda(_) => Random::drawn(kind, 1),
        };
        self.measure(machine, (shape, format), &config, &weights).map_err(failed)
    }

    fn measure(
        &self,
        machine: Machine,
        (name, format): (&str, &str),
        config: &serde_json::Value,
        weights: &dyn Weights,
    ) -> Result<Vec<DecodeFigures>, String> {
        let number = |key: &str| config.get(key).and_then(serde_json::Value::as_u64);
        let tied = config.get("tie_word_embeddings").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let threads = threads(self.options);
        let (device, bandwidth, piece) = match &machine {
            Machine::Cpu(_) => ("processor".to_owned(), read_bandwidth(threads), CPU_PIECE),
            Machine::Cuda(gpu) => {
                let bandwidth = gpu.copy_bandwidth().map_err(|error| error.to_string())?;
                (gpu.name().unwrap_or_default().to_owned(), bandwidth, GPU_PIECE)
            }
        };
        let counted = Counted::new(weights, tied);
        let mut model = build_on(machine, config, &counted).map_err(|error| error.to_string())?;
        let model = &mut *model;
        let chosen = number("num_experts_per_tok").and_then(|k| usize::try_from(k).ok()).unwrap_or(1);
        let (of_a_token, all) = counted.bytes(chosen, model.shape().experts);
        let prompt = if self.prompt == 0 { 0.0 } else { read_prompt(model, self.prompt, piece)? };
        let mut figures = Vec::new();
        for &batch in &self.batches {
            let mut run = Run::fill(model, batch, self.context, piece)?;
            // What is made once, kernels and recordings, belongs to no step.
            (0..3).try_for_each(|_| run.step(model))?;
            let (mut steps, start) = (Vec::new(), Instant::now());
            while steps.is_empty() || start.elapsed() < self.time {
                let before = Instant::now();
                run.step(model)?;
                steps.push(before.elapsed().as_secs_f64());
            }
            let seconds: f64 = steps.iter().sum();
            let tokens = (steps.len() * batch) as f64;
            steps.sort_unstable_by(f64::total_cmp);
            let median = steps.get(steps.len() / 2).copied().unwrap_or_default();
            let cached = model.shape().bytes_per_block / BLOCK * self.context;
            let bytes =
                (counted.bytes_of_experts(run.share_of_experts(model)?) + (batch * cached) as f64, of_a_token + cached);
            figures.push(DecodeFigures {
                model: name.to_owned(),
                device: device.clone(),
                weights: format.to_owned(),
                context: self.context,
                batch,
                threads,
                prompt: self.prompt,
                prefill_tokens_per_second: if self.prompt == 0 { run.prefill } else { prompt },
                tokens_per_second: tokens / seconds,
                step_ms: 1e3 * median,
                weights_mb: all as f64 / 1e6,
                mb_per_token: bytes.1 as f64 / 1e6,
                mb_per_step: bytes.0 / 1e6,
                bandwidth_gb_per_second: bandwidth / 1e9,
                share_of_bandwidth: bytes.0 / median / bandwidth,
            });
        }
        Ok(figures)
    }
}

/// Tokens that are read in one step.
const CPU_PIECE: usize = 256;
const GPU_PIECE: usize = 8192;

/// Reads a prompt twice, and answers the tokens a second of the second time: kernels and memory are there then.
fn read_prompt(model: &mut dyn CausalModel, tokens: usize, piece: usize) -> Result<f64, String> {
    let vocabulary = model.shape().vocabulary;
    model.allocate_cache(tokens.div_ceil(BLOCK)).map_err(|error| error.to_string())?;
    let mut seconds = 0.0;
    for _ in 0..2 {
        let (mut done, begun) = (0, Instant::now());
        while done < tokens {
            let end = tokens.min(done + piece);
            let mut part = Batch::default();
            add(&mut part, 0, tokens.div_ceil(BLOCK), done..end, |position| position * 7919 % vocabulary)?;
            model.likeliest(&part, &mut Vec::new()).map_err(|error| error.to_string())?;
            done = end;
        }
        seconds = begun.elapsed().as_secs_f64();
    }
    Ok(tokens as f64 / seconds)
}

/// Sequences that write whatever is likeliest.
struct Run {
    batch: Batch,
    /// Positions that a sequence may reach before it goes on from `start` again.
    limit: usize,
    start: usize,
    likeliest: Vec<u32>,
    /// Tokens a second.
    prefill: f64,
}

impl Run {
    fn fill(model: &mut dyn CausalModel, sequences: usize, context: usize, piece: usize) -> Result<Self, String> {
        let (longest, vocabulary) = (model.shape().longest_context, model.shape().vocabulary);
        let limit = (context + 256).min(longest);
        let each = limit.div_ceil(BLOCK);
        model.allocate_cache(each * sequences).map_err(|error| error.to_string())?;
        let context = context.clamp(1, longest.saturating_sub(1));
        let (mut likeliest, begun) = (Vec::new(), Instant::now());
        let mut batch = Batch::default();
        for number in 0..sequences {
            let mut done = 0;
            while done < context {
                let end = context.min(done + piece);
                let mut part = Batch::default();
                // Every sequence has a text of its own.
                let token = |position: usize| (position * 7919 + number * 104_729) % vocabulary;
                add(&mut part, number * each, each, done..end, token)?;
                model.likeliest(&part, &mut likeliest).map_err(|error| error.to_string())?;
                done = end;
            }
            let next = likeliest.first().map_or(1, |token| usize::try_from(*token).unwrap_or_default());
            add(&mut batch, number * each, each, context..context + 1, |_| next)?;
        }
        let prefill = (sequences * context) as f64 / begun.elapsed().as_secs_f64();
        Ok(Self { batch, limit, start: context, likeliest, prefill })
    }

    fn step(&mut self, model: &mut dyn CausalModel) -> Result<(), String> {
        model.likeliest(&self.batch, &mut self.likeliest).map_err(|error| error.to_string())?;
        self.batch.tokens.iter_mut().zip(&self.likeliest).for_each(|(token, best)| *token = *best);
        // The cache is kept near the size that the figure is for.
        let grown = self.batch.sequences.first().map_or(0, |sequence| sequence.context);
        self.place(if grown < self.limit { grown } else { self.start });
        Ok(())
    }

    /// The share of all experts that a step reads, over a few steps.
    fn share_of_experts(&mut self, model: &mut dyn CausalModel) -> Result<f64, String> {
        let (mut busy, mut all) = (0u32, 0u32);
        for _ in 0..4 {
            let before = model.expert_load();
            self.step(model)?;
            for (before, after) in before.iter().flatten().zip(model.expert_load().iter().flatten()) {
                busy += u32::from(after > before);
                all += 1;
            }
        }
        Ok(f64::from(busy) / f64::from(all.max(1)))
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
        let options = LoadOptions { threads: 2, rounding: true, device: crate::models::Device::Cpu };
        let bench = DecodeBench { context: 20, batches: vec![1, 2], prompt: 30, time, options };
        let all = bench.random("candor-generator", "int8").unwrap();
        let [one, figures] = all.as_slice() else { panic!("two figures") };
        assert!(figures.tokens_per_second > 0.0 && figures.prefill_tokens_per_second > 0.0);
        // One sequence reads what a token reads; two read the experts of both, and less than twice as much.
        assert!((one.mb_per_step - one.mb_per_token).abs() < 0.01 * one.mb_per_token, "{one:?}");
        assert!((1.01..1.9).contains(&(figures.mb_per_step / one.mb_per_step)), "{all:?}");
        // 47 M parameters, of which a token meets 19 M; a byte each, and scales.
        assert!((45.0..50.0).contains(&figures.weights_mb), "{figures:?}");
        assert!((17.0..21.0).contains(&figures.mb_per_token), "{figures:?}");
        assert!(bench.random("gpt-9", "int8").unwrap_err().to_string().contains("candor-generator"));
        assert!(bench.random("candor-generator", "int3").unwrap_err().to_string().contains("int4"));
    }
}
