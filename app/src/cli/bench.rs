//! `candor bench`.

use std::time::{Duration, Instant};

use candor_engine::risk::bench::bench;
use clap::{Args, Subcommand};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::config::Config;

use super::lines::JsonLines;
use super::{Failure, score, understand};

/// Measure how fast the models are on this machine; figures as JSON.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Understanding texts: one at a time, then many callers at once.
    Understand(Time),
    /// Scoring and explaining applications, one after another on one thread.
    Risk(Time),
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Time {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
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
            Self::Risk(time) => {
                let (model, policy) = (score::model(None, config)?, score::policy(None)?);
                let figures = bench(&model, &policy, Duration::from_secs(time.seconds));
                output.write(&Figures { figures, machine: Machine::this() })?;
            }
            Self::Understand(time) => {
                let figures = tokio::runtime::Runtime::new()?.block_on(understanding(config, time))?;
                output.write(&Figures { figures, machine: Machine::this() })?;
            }
        }
        output.finish()
    }
}

/// Customers' messages of usual lengths.
const TEXTS: [&str; 6] = [
    "I lost my card",
    "where is the transfer I made yesterday?",
    "My credit card ending 7730 was stolen on the bus this morning, please block it and send me a new one.",
    "why was I charged 12.50 EUR by a shop I have never been to",
    "hello",
    "I moved last month. My new address is Linden Street 12, 10115 Berlin, and my phone number changed as well. Can you update both?",
];

/// Callers that wait for an answer at the same time.
const CALLERS: usize = 64;

/// Latencies in milliseconds.
#[derive(Serialize)]
struct Understanding {
    alone_p50_ms: f64,
    alone_p99_ms: f64,
    callers: usize,
    crowded_p50_ms: f64,
    crowded_p99_ms: f64,
    crowded_texts_per_s: f64,
    texts_per_batch: f64,
}

async fn understanding(config: &Config, time: Time) -> Result<Understanding, Failure> {
    let engine = &understand::engine(config)?;
    let span = Duration::from_secs(time.seconds.max(1));
    let texts = || TEXTS.iter().cycle();
    let one = async |text: &str| {
        let begin = Instant::now();
        engine.understand(text).await.map(|_| begin.elapsed())
    };

    let mut alone = Vec::new();
    let start = Instant::now();
    for text in texts().take_while(|_| start.elapsed() < span) {
        alone.push(one(text).await?);
    }
    let before = engine.load_metrics();
    let start = Instant::now();
    let crowded: Vec<_> = stream::iter(texts().take_while(|_| start.elapsed() < span))
        .map(|text| one(text))
        .buffer_unordered(CALLERS)
        .collect()
        .await;
    let took = start.elapsed();
    let mut crowded = crowded.into_iter().collect::<Result<Vec<_>, _>>()?;
    let after = engine.load_metrics();
    let batches = u32::try_from(after.batches - before.batches).unwrap_or(u32::MAX).max(1);
    let texts = u32::try_from(crowded.len()).unwrap_or(u32::MAX);
    Ok(Understanding {
        alone_p50_ms: quantile_ms(&mut alone, 50),
        alone_p99_ms: quantile_ms(&mut alone, 99),
        callers: CALLERS,
        crowded_p50_ms: quantile_ms(&mut crowded, 50),
        crowded_p99_ms: quantile_ms(&mut crowded, 99),
        crowded_texts_per_s: f64::from(texts) / took.as_secs_f64(),
        texts_per_batch: f64::from(texts) / f64::from(batches),
    })
}

/// The time that `percent` of all did not exceed.
fn quantile_ms(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let position = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(position).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
