//! Candor's engine: understanding of what customers write, the dialogue that answers them, and the risk model
//! that scores loan applications.
//!
//! The crate knows no HTTP and no SQL. [`Engine`] is its facade; what it answers are the typed values of the modules.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

mod backend;
pub mod dialogue;
pub mod generation;
mod layers;
pub mod models;
pub mod risk;
mod runtime;
mod tokens;
pub mod training;
pub mod understanding;
mod weights;

pub use layers::Precision;
pub use understanding::{Entity, EntityKind, Sentiment, Understanding};

/// How an [`Engine`] is loaded.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder that holds the model folders (`encoder/`, …). `None` takes the weights compiled into the program.
    pub weights: Option<PathBuf>,
    /// Folder with the dialogue's flows, read again when they change. `None` takes the flows compiled into the program.
    pub flows: Option<PathBuf>,
    /// Folder with a bank's own intents, as [`training::intents`] writes it.
    pub intents: Option<PathBuf>,
    /// Requests that may wait before [`understanding::Error::Overloaded`] is answered.
    pub queue_capacity: usize,
    /// Threads that one forward pass may use; 0 takes what the machine has.
    pub threads: usize,
    /// Arithmetic of the encoder on the processor.
    pub precision: Precision,
    /// What the encoder runs on.
    pub device: models::Device,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            weights: None,
            flows: None,
            intents: None,
            queue_capacity: 1024,
            threads: 0,
            precision: Precision::Int8,
            device: models::Device::Auto,
        }
    }
}

/// Why an engine could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model's folder could not be read, or does not hold what its configuration promises.
    #[error("the model {model} could not be loaded: {reason}")]
    Model {
        /// Name of the model's folder.
        model: String,
        /// What was wrong.
        reason: String,
    },
    /// The risk model's file is broken.
    #[error("the risk model can not be used: {0}")]
    Risk(#[from] risk::ModelError),
    /// A flow of the dialogue is wrong; the message names file and line.
    #[error("the dialogue's flows can not be used: {0}")]
    Dialogue(#[from] dialogue::flow::FlowError),
    /// The thread that owns the model could not be started.
    #[error("the engine's worker could not be started: {0}")]
    Worker(#[from] std::io::Error),
}

/// What the engine counted since it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EngineMetrics {
    /// Requests waiting now.
    pub queue_length: usize,
    /// Requests that may wait.
    pub queue_capacity: usize,
    /// Requests refused because the queue was full.
    pub refused: u64,
    /// Requests whose caller went away before their turn.
    pub abandoned: u64,
    /// Batches run.
    pub batches: u64,
    /// Texts in those batches.
    pub texts: u64,
    /// Tokens in those batches.
    pub tokens: u64,
    /// Tokens sent to each expert: `expert_load[layer][expert]`.
    pub expert_load: Vec<Vec<u64>>,
}

/// The models of one program. Cheap to clone: clones share the models and the encoder's worker, which
/// ends with the last clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    reader: understanding::Reader,
    flows: dialogue::Flows,
    risk: risk::Model,
}

impl Engine {
    /// Loads every model and starts the worker that owns the encoder.
    ///
    /// # Errors
    /// [`EngineError::Model`] when a folder is missing or inconsistent, [`EngineError::Worker`] when no thread can start.
    pub fn load(options: &Options) -> Result<Self, EngineError> {
        let flows = dialogue::Flows::load(options.flows.as_deref())?;
        let risk = match &options.weights {
            None => risk::Model::shipped()?,
            Some(folder) => risk::Model::read(&folder.join("risk").join("model.json"))?,
        };
        let encoder = match &options.weights {
            None => weights::encoder_inside(),
            Some(folder) => weights::Folder::Disk(folder.join("encoder")),
        };
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            asked => asked,
        };
        let (own, waiting) = (options.intents.as_deref(), options.queue_capacity);
        let reader =
            understanding::Reader::load(&encoder, own, (waiting, threads), (options.device, options.precision))?;
        Ok(Self { shared: Arc::new(Shared { reader, flows, risk }) })
    }

    /// Intent, sentiment, entities and embedding of one text.
    ///
    /// # Errors
    /// [`understanding::Error::Overloaded`] when the queue is full.
    pub async fn understand(&self, text: &str) -> Result<Understanding, understanding::Error> {
        self.shared.reader.understand(text).await
    }

    /// The sentence embedding of one text: 384 numbers of Euclidean length 1.
    ///
    /// # Errors
    /// [`understanding::Error::Overloaded`] when the queue is full.
    pub async fn embed(&self, text: &str) -> Result<Vec<f32>, understanding::Error> {
        self.shared.reader.embed(text).await
    }

    /// How many tokens the encoder reads of a text: those beyond its limit are cut off.
    #[must_use]
    pub fn count_tokens(&self, text: &str) -> usize {
        self.shared.reader.count_tokens(text)
    }

    /// The dialogue manager with the flows in force now.
    #[must_use]
    pub fn dialogue(&self) -> Arc<dialogue::Manager> {
        self.shared.flows.manager()
    }

    /// Where the dialogue's flows come from.
    #[must_use]
    pub fn flows(&self) -> &dialogue::Flows {
        &self.shared.flows
    }

    /// The shipped risk model.
    #[must_use]
    pub fn risk(&self) -> &risk::Model {
        &self.shared.risk
    }

    /// What the engine counted since it was loaded.
    #[must_use]
    pub fn load_metrics(&self) -> EngineMetrics {
        let worker = self.shared.reader.worker();
        let counters = worker.counters();
        EngineMetrics {
            queue_length: worker.queue_length(),
            queue_capacity: worker.queue_capacity(),
            refused: counters.refused.load(Relaxed),
            abandoned: counters.abandoned.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            texts: counters.texts.load(Relaxed),
            tokens: counters.tokens.load(Relaxed),
            expert_load: counters.load(),
        }
    }

    pub(crate) fn reader(&self) -> &understanding::Reader {
        &self.shared.reader
    }
}
