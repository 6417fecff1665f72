//! How fast texts are understood on this machine.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Error, Reader};
use crate::Engine;

/// Figures of [`bench_understand`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyReport {
    /// Processor threads the machine has.
    pub threads: usize,
    /// The GPU that texts were read on; nothing where the processor read them.
    pub gpu: Option<String>,
    /// One entry for each length of text and number of texts at once.
    pub figures: Vec<Latency>,
    /// The same from tokens that were found before.
    pub from_tokens: Vec<Latency>,
    /// How many texts a GPU reads, one entry for each length of text, number of texts at once, and beginning. The processor's is
    /// that of 32 texts at once.
    pub throughput: Vec<Throughput>,
}

/// Throughput of one setting, everything from its beginning to the decisions of the heads that serve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Throughput {
    /// Tokens of each text.
    pub tokens: usize,
    /// Texts that wait or are read at a time.
    pub waiting: usize,
    /// What the figure begins with.
    pub beginning: Beginning,
    /// Texts measured.
    pub texts: usize,
    /// Texts answered in a second.
    pub texts_per_second: f64,
}

/// What a figure of throughput begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Beginning {
    /// Texts: tokens are found on all threads of the processor.
    Texts,
    /// Tokens that were found before.
    Tokens,
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

/// Measures texts of 16 and 64 tokens, one and 32 at once, each for about `seconds`; on a GPU also 1,024 and 4,096 at a time,
/// as far as the queue takes them.
///
/// # Errors
/// When the engine does not answer.
pub async fn bench_understand(engine: &Engine, seconds: f64) -> Result<LatencyReport, Error> {
    let (mut figures, mut from_tokens) = (Vec::new(), Vec::new());
    let time = Duration::from_secs_f64(seconds);
    for tokens in [16usize, 64] {
        for batch in [1usize, 32] {
            figures.push(measure(engine, (tokens, batch), Beginning::Texts, time).await?);
            from_tokens.push(measure(engine, (tokens, batch), Beginning::Tokens, time).await?);
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (gpu, mut throughput) = (engine.reader().gpu().map(str::to_owned), Vec::new());
    if gpu.is_some() {
        for tokens in [16usize, 64] {
            for waiting in [1024, 4096].map(|wanted| engine.reader().worker().queue_capacity().min(wanted)) {
                for beginning in [Beginning::Texts, Beginning::Tokens] {
                    throughput.push(throughput_of(engine, (tokens, waiting, threads), beginning, time).await?);
                }
            }
        }
    }
    Ok(LatencyReport { threads, gpu, figures, from_tokens, throughput })
}

/// Texts with their tokens.
type Texts = Vec<(String, Vec<u32>)>;

fn texts(reader: &Reader, numbers: Range<usize>, tokens: usize) -> Result<Texts, Error> {
    let texts = numbers.map(|number| text(number, tokens));
    texts.map(|text| reader.tokens(&text).map(|found| (text, found))).collect()
}

/// Asks for all texts at once and waits for the last answer.
async fn ask(reader: &Reader, texts: &[(String, Vec<u32>)], beginning: Beginning) -> Result<(), Error> {
    let queued = texts.iter().map(|(text, found)| {
        let tokens = match beginning {
            Beginning::Texts => reader.tokens(text)?,
            Beginning::Tokens => found.clone(),
        };
        reader.worker().submit(tokens)
    });
    for answer in queued.collect::<Result<Vec<_>, Error>>()? {
        std::hint::black_box(reader.judge(&answer.await.map_err(|_| Error::Stopped)?));
    }
    Ok(())
}

/// Several tasks each keep their share of the texts on their way: while one waits, others find tokens.
async fn throughput_of(
    engine: &Engine,
    (tokens, waiting, threads): (usize, usize, usize),
    beginning: Beginning,
    time: Duration,
) -> Result<Throughput, Error> {
    let share = waiting.div_ceil(2 * threads).max(1);
    let tasks: Vec<_> = (0..waiting / share)
        .map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let texts = texts(engine.reader(), task * share..(task + 1) * share, tokens)?;
                let (start, mut answered) = (Instant::now(), 0);
                while answered == 0 || start.elapsed() < time {
                    ask(engine.reader(), &texts, beginning).await?;
                    answered += texts.len();
                }
                Ok::<_, Error>((answered, start.elapsed()))
            })
        })
        .collect();
    let (mut texts, mut longest) = (0, Duration::ZERO);
    for task in tasks {
        let (answered, elapsed) = task.await.map_err(|_| Error::Stopped)??;
        (texts, longest) = (texts + answered, longest.max(elapsed));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let texts_per_second = texts as f64 / longest.as_secs_f64();
    Ok(Throughput { tokens, waiting, beginning, texts, texts_per_second })
}

async fn measure(
    engine: &Engine,
    (tokens, batch): (usize, usize),
    beginning: Beginning,
    time: Duration,
) -> Result<Latency, Error> {
    let texts = texts(engine.reader(), 0..batch, tokens)?;
    let round = || ask(engine.reader(), &texts, beginning);
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
