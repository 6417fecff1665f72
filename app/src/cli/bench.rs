//! `candor bench`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candor_engine::models::bench::{DecodeBench, DecodeFigures};
use candor_engine::models::{Device, LoadOptions, lack};
use candor_engine::risk::bench::bench;
use candor_engine::risk::import::{Imported, ImportedBench, bench_imported};
use candor_engine::understanding::{LatencyReport, bench_understand};
use candor_engine::{Engine, Options};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::Config;

use super::lines::JsonLines;
use super::{Failure, explain, score, understand};

/// Texts that may wait while understanding is measured.
const WAITING: usize = 8192;

/// Measure how fast the models are on this machine; figures as JSON.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Understanding texts of two lengths, one and 32 at once; on a GPU also thousands.
    Understand(Understand),
    /// Scoring and explaining applications, one after another on one thread; or another library's model on a table.
    Risk(Risk),
    /// Writing tokens with a generative model, on the GPU where there is one.
    Decode(Decode),
}

#[derive(Debug, Args)]
pub(super) struct Understand {
    /// What computes: auto (the GPU where one can be used), cpu or cuda; by default what `engine.device` says.
    #[arg(long)]
    device: Option<Device>,
    #[command(flatten)]
    time: Time,
}

impl Understand {
    fn run(&self, config: &Config) -> Result<LatencyReport, Failure> {
        let device = self.device.unwrap_or(config.engine.device);
        if let (Device::Auto, Some(lack)) = (device, lack()) {
            eprintln!("{lack}: the processor computes");
        }
        let engine = Engine::load(&Options { device, queue_capacity: WAITING, ..understand::options(config) })?;
        let runtime = tokio::runtime::Runtime::new()?;
        Ok(runtime.block_on(bench_understand(&engine, self.time.seconds))?)
    }
}

#[derive(Debug, Args)]
pub(super) struct Decode {
    /// Checkpoint folder to measure.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["shape", "format", "random_weights"])]
    model: Option<PathBuf>,
    /// Shape to measure with random weights: candor-generator, deepseek-v2-lite, qwen3-30b-a3b or tiny.
    #[arg(long, default_value = "candor-generator")]
    shape: String,
    /// Weights that nobody trained, which a GPU draws itself: what is measured where no folder is given.
    #[arg(long)]
    random_weights: bool,
    /// Number format of random weights: bf16, int8 or int4.
    #[arg(long, default_value = "int8")]
    format: String,
    /// Tokens in the cache when measuring begins.
    #[arg(long, default_value_t = 256)]
    context: usize,
    /// Sequences that write at once; several numbers, separated by commas, give a line each.
    #[arg(long, default_value = "1", value_delimiter = ',')]
    batch: Vec<usize>,
    /// Also measure how fast a prompt of so many tokens is read.
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    prompt: usize,
    /// What computes: auto (the GPU where one can be used), cpu or cuda.
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Threads; 0 takes what the machine has.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    time: Time,
}

impl Decode {
    fn run(self) -> Result<Vec<DecodeFigures>, Failure> {
        let options = LoadOptions { threads: self.threads, device: self.device, ..LoadOptions::default() };
        if let (Device::Auto, Some(lack)) = (self.device, lack()) {
            eprintln!("{lack}: the processor computes");
        }
        let time = Duration::try_from_secs_f64(self.time.seconds)?;
        let batches = self.batch.iter().map(|batch| *batch.max(&1)).collect();
        let bench = DecodeBench { context: self.context, batches, prompt: self.prompt, time, options };
        let figures = match &self.model {
            Some(folder) if !self.random_weights => bench.checkpoint(folder),
            _ => bench.random(&self.shape, &self.format),
        };
        Ok(figures?)
    }
}

#[derive(Debug, Args)]
pub(super) struct Risk {
    #[command(flatten)]
    time: Time,
    /// A model of XGBoost, LightGBM or ONNX instead of the shipped one.
    #[arg(long, value_name = "FILE", requires = "data")]
    model: Option<PathBuf>,
    /// Rows to explain with it.
    #[arg(long, value_name = "CSV")]
    data: Option<PathBuf>,
    /// Rows to explain them against.
    #[arg(long, value_name = "CSV")]
    background: Option<PathBuf>,
}

impl Risk {
    fn imported(&self, path: &Path, data: &Path) -> Result<Option<ImportedBench>, Failure> {
        let model = Imported::read(&std::fs::read(path)?).map_err(|error| Failure::from(error).at(path.display()))?;
        let rows = explain::table_of(&model, data)?;
        let background = match &self.background {
            Some(path) => explain::table_of(&model, path)?,
            None => Vec::new(),
        };
        Ok(bench_imported(&model, &rows, &background, Duration::try_from_secs_f64(self.time.seconds)?)?)
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Time {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// Figures beside the machine they were taken on.
#[derive(Serialize)]
struct Figures<T> {
    #[serde(flatten)]
    figures: T,
    machine: Machine,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    threads: usize,
    /// Whether the program was built with optimisation; figures of one that was not mean nothing.
    optimised: bool,
}

impl Machine {
    fn this() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            processor: name.trim_start_matches([' ', '\t', ':']).to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl Bench {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let mut output = JsonLines::new();
        match self {
            Self::Risk(risk) => match (&risk.model, &risk.data) {
                (Some(model), Some(data)) => {
                    let figures = risk.imported(model, data)?;
                    output.write(&Figures { figures, machine: Machine::this() })?;
                }
                _ => {
                    let (model, policy) = (score::model(None, config)?, score::policy(None)?);
                    let figures = bench(&model, &policy, Duration::try_from_secs_f64(risk.time.seconds)?);
                    output.write(&Figures { figures, machine: Machine::this() })?;
                }
            },
            Self::Decode(decode) => {
                for figures in decode.run()? {
                    output.write(&Figures { figures, machine: Machine::this() })?;
                }
            }
            Self::Understand(understand) => {
                let figures = understand.run(config)?;
                output.write(&Figures { figures, machine: Machine::this() })?;
            }
        }
        output.finish()
    }
}
