//! How fast texts are understood on this machine.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Error;
use crate::Engine;

/// Figures of [`bench_understand`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyReport {
    /// Processor threads the machine has.
    pub threads: usize,
    /// One entry for each length of text and number of texts at once.
    pub figures: Vec<Latency>,
}

/// Latency and throughput of one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Tokens of each text.
    pub tokens: usize,
    /// Texts asked for at once.
    pub batch: usize,
    /// Rounds measured.
    pub rounds: usize,
    /// Median time from asking to the last answer, milliseconds.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
    /// Texts answered in a second.
    pub texts_per_second: f64,
}

/// Words of which each is one token, and no two the same: what a customer says goes to many experts, and a word said over and
/// over to few.
const WORDS: &str = "my card was stolen in the city and i need a new one before friday please send it to our old address because we will \
                     travel soon how much money can you transfer from savings account today without fee why did bank take forty dollars \
                     twice last week they said payment would be back by monday but nothing has come so far";

/// A text of so many tokens, the first and the last of which are the model's marks; each number gives another one.
fn text(number: usize, tokens: usize) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().cycle().skip(number).take(tokens.saturating_sub(2)).collect();
    words.join(" ")
}

/// Measures texts of 16 and 64 tokens, one and 32 at once, each for about `seconds`.
///
/// # Errors
/// When the engine does not answer.
pub async fn bench_understand(engine: &Engine, seconds: f64) -> Result<LatencyReport, Error> {
    let mut figures = Vec::new();
    for tokens in [16usize, 64] {
        for batch in [1usize, 32] {
            figures.push(measure(engine, tokens, batch, Duration::from_secs_f64(seconds)).await?);
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(LatencyReport { threads, figures })
}

async fn measure(engine: &Engine, tokens: usize, batch: usize, time: Duration) -> Result<Latency, Error> {
    let texts: Vec<String> = (0..batch).map(|number| text(number, tokens)).collect();
    let round = async || {
        let waiting: Vec<_> = texts.iter().map(|text| engine.reader().encode(text)).collect();
        for answer in waiting {
            std::hint::black_box(engine.reader().judge(&answer.await?));
        }
        Ok::<_, Error>(())
    };
    for _ in 0..3 {
        round().await?;
    }
    let (start, mut taken) = (Instant::now(), Vec::new());
    while taken.len() < 10 || start.elapsed() < time {
        let before = Instant::now();
        round().await?;
        taken.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    let total: f64 = taken.iter().sum();
    taken.sort_by(f64::total_cmp);
    let at =
        |percent: usize| taken.get((taken.len() * percent / 100).min(taken.len() - 1)).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let texts_per_second = (taken.len() * batch) as f64 * 1000.0 / total;
    Ok(Latency { tokens, batch, rounds: taken.len(), p50_ms: at(50), p99_ms: at(99), texts_per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_texts_are_as_long_as_they_say() {
        let engine = Engine::load(&crate::Options::default()).unwrap();
        for (number, tokens) in [(0, 16), (31, 16), (0, 64), (31, 64)] {
            assert_eq!(engine.reader().count_tokens(&text(number, tokens)), tokens);
        }
    }
}
