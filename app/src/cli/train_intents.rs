//! `candor train intents`.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;

use candor_engine::dialogue::memory::MemoryKnowledge;
use candor_engine::training::intents::{Material, Progress, Recipe, Target, train};
use chrono::Utc;
use clap::Args;

use crate::config::Config;

use super::Failure;
use super::evaluate::labelled;
use super::lines::{JsonLines, open};

/// Teach the encoder your own intents from 5 to 50 examples of each.
///
/// Writes an adapter in PEFT's format, a head, the confusion matrix and a card into the folder, and the report as JSON to
/// standard output. Use them with `--adapter DIR`, or for good with `intents = DIR` under [engine] in candor.toml.
#[derive(Debug, Args)]
pub(super) struct Intents {
    /// Table with columns text and label; the label oos is for texts that belong to none. `-` is standard input.
    #[arg(long, value_name = "CSV")]
    data: PathBuf,
    /// Folder for the result (default: intents in CANDOR_HOME).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Texts without labels, one a line, on which the encoder shall go on saying what it says now.
    #[arg(long, value_name = "FILE")]
    general: Option<PathBuf>,
    /// The result's version (default: own and today's date).
    #[arg(long)]
    version: Option<String>,
    /// What the examples are, in a sentence, for the card.
    #[arg(long, default_value = "")]
    description: String,
    /// Projections of attention that adapt: query, key, value, output.
    #[arg(long, value_delimiter = ',', default_value = "query,value", value_parser = target)]
    targets: Vec<Target>,
    /// Rank of the adapters.
    #[arg(long, default_value_t = Recipe::default().rank)]
    rank: usize,
    /// What the adapters say is multiplied by alpha / rank.
    #[arg(long, default_value_t = Recipe::default().alpha)]
    alpha: f32,
    /// Highest rate of learning.
    #[arg(long, default_value_t = Recipe::default().rate)]
    rate: f64,
    /// At most so many passes over the examples.
    #[arg(long, default_value_t = Recipe::default().epochs)]
    epochs: usize,
    /// Passes without a better one before it stops.
    #[arg(long, default_value_t = Recipe::default().patience)]
    patience: usize,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn target(name: &str) -> Result<Target, String> {
    match name {
        "query" => Ok(Target::Query),
        "key" => Ok(Target::Key),
        "value" => Ok(Target::Value),
        "output" => Ok(Target::Output),
        _ => Err("must be query, key, value or output".to_owned()),
    }
}

impl Intents {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let rows = labelled(&self.data)?;
        // Passages of articles keep the embedding what searching them needs.
        let articles = crate::demo::article_files();
        let mut general: Vec<String> = articles
            .flat_map(|(_, text)| MemoryKnowledge::passages(&text))
            .filter_map(|passage| passage.texts().next())
            .collect();
        if let Some(path) = &self.general {
            for line in BufReader::new(open(Some(path))?).lines() {
                general.push(line.map_err(|error| Failure::from(error).at(path.display()))?);
            }
        }
        let out = self.out.unwrap_or_else(|| config.home.join("intents"));
        let version = self.version.unwrap_or_else(|| Utc::now().format("own-%Y-%m-%d").to_string());
        let material =
            Material { weights: config.weights.as_deref(), general: &general, version, description: self.description };
        let recipe = Recipe {
            rank: self.rank.max(1),
            alpha: self.alpha,
            targets: self.targets,
            rate: self.rate,
            epochs: self.epochs.max(1),
            patience: self.patience.max(1),
            seed: self.seed,
            ..Recipe::default()
        };
        let mut bar = Bar::new();
        let trained = train(&rows, &material, &recipe, &mut |progress| bar.show(progress))?;
        bar.end();
        trained.write(&out)?;
        eprintln!("The adapter, its head and its card are in {}", out.display());
        let mut output = JsonLines::new();
        output.write(&trained.report)?;
        output.finish()
    }
}

/// A bar on standard error: redrawn on a terminal, else a line for each epoch.
struct Bar {
    terminal: bool,
    epoch: Option<usize>,
}

impl Bar {
    const WIDTH: usize = 30;

    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), epoch: None }
    }

    fn show(&mut self, progress: &Progress) {
        let done = Self::WIDTH * progress.step / progress.steps.max(1);
        let right = progress.accuracy.map_or_else(String::new, |share| format!(", {:.1} % right", 100.0 * share));
        let line = format!(
            "[{}{}] step {} of {}, epoch {}, loss {:.3}{right}",
            "#".repeat(done),
            ".".repeat(Self::WIDTH - done),
            progress.step,
            progress.steps,
            progress.epoch + 1,
            progress.loss,
        );
        if self.terminal {
            // A bar that can not be drawn must not end the training.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        } else if self.epoch.replace(progress.epoch) != Some(progress.epoch) {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}
