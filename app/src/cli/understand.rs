//! `candor understand`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use candor_engine::{Engine, Options};
use clap::Args;
use futures::{StreamExt, stream};

use crate::config::Config;

use super::Failure;
use super::lines::{JsonLines, open};

/// Understand texts: intent, confidence, scope, sentiment and entities.
///
/// Reads a text a line and writes what was understood as a JSON line, in the same order.
#[derive(Debug, Args)]
pub(super) struct Understand {
    /// Texts, one a line; standard input where it is left out.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    own: OwnIntents,
}

/// The bank's own intents.
#[derive(Debug, Clone, Args)]
pub(super) struct OwnIntents {
    /// Folder with own intents, as `candor train intents` writes it, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub(super) adapter: Option<PathBuf>,
}

impl OwnIntents {
    /// The engine with them, where there are some.
    pub(super) fn engine(&self, config: &Config) -> Result<Engine, Failure> {
        load(config, self.adapter.clone().or_else(|| config.engine.intents.clone()))
    }
}

/// Texts that are under way at a time: enough for the engine to form full batches.
const AT_ONCE: usize = 256;

impl Understand {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let engine = self.own.engine(config)?;
        let texts = BufReader::new(open(self.file.as_deref())?).lines();
        tokio::runtime::Runtime::new()?.block_on(async {
            let mut output = JsonLines::new();
            let mut understood = stream::iter(texts)
                .map(|text| async { Ok::<_, Failure>(engine.understand(&text?).await?) })
                .buffered(AT_ONCE);
            while let Some(understanding) = understood.next().await {
                output.write(&understanding?)?;
            }
            output.finish()
        })
    }
}

/// The engine with the configured weights and own intents.
pub(super) fn engine(config: &Config) -> Result<Engine, Failure> {
    load(config, config.engine.intents.clone())
}

fn load(config: &Config, intents: Option<PathBuf>) -> Result<Engine, Failure> {
    Ok(Engine::load(&Options { intents, ..options(config) })?)
}

/// How the configuration asks for the engine to be loaded.
pub(super) fn options(config: &Config) -> Options {
    Options {
        weights: config.weights.clone(),
        flows: config.engine.flows.clone(),
        intents: config.engine.intents.clone(),
        device: config.engine.device,
        ..Options::default()
    }
}
