//! From a checkpoint folder to a model that runs.

use std::path::Path;

use serde::Deserialize;

use crate::backend::Backend;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Cuda, Lack};
use crate::layers::BuildError;
use crate::weights::{Checkpoint, Folder, Progress, Weights};

use super::causal::CausalModel;
use super::{deepseek_v3, qwen3_moe};

/// How a checkpoint is loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Threads of a forward pass; 0 takes what the machine has.
    pub threads: usize,
    /// Whether products with weights of 8 and 4 bits round the activations to bytes, which is several times faster.
    /// Without it every product is one of `f32`, as a reference computes it.
    pub rounding: bool,
    /// What computes.
    pub device: Device,
}

/// What computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The GPU where there is one that can be used, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU; where there is none, loading fails.
    Cuda,
}

impl std::str::FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(format!("there is no device {other}; there are auto, cpu, cuda")),
        }
    }
}

/// What is missing on this machine for a GPU to be used, in one line; nothing where it seems that one can be.
#[must_use]
pub fn lack() -> Option<String> {
    Cuda::lack().map(|lack| lack.to_string())
}

/// The machine that a model is built for.
pub(crate) enum Machine {
    /// The processor.
    Cpu(Box<Cpu>),
    /// A GPU.
    Cuda(Box<Cuda>),
}

impl Machine {
    /// Finds what `options` ask for.
    ///
    /// # Errors
    /// [`BuildError::Machine`] where a GPU was asked for and can not be used.
    pub(crate) fn find(options: LoadOptions) -> Result<Self, BuildError> {
        let cpu = || Self::Cpu(Box::new(Cpu::new(threads(options), options.rounding)));
        if options.device == Device::Cpu {
            return Ok(cpu());
        }
        match Cuda::open() {
            Ok(gpu) => {
                tracing::info!(gpu = gpu.name(), "the GPU computes");
                Ok(Self::Cuda(Box::new(gpu)))
            }
            Err(lack) if options.device == Device::Cuda => Err(BuildError::Machine(lack.to_string())),
            Err(lack @ Lack::Kernel { .. }) => {
                tracing::error!(%lack, "the processor computes");
                Ok(cpu())
            }
            Err(lack) => {
                tracing::info!(%lack, "the processor computes");
                Ok(cpu())
            }
        }
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 0, rounding: true, device: Device::Auto }
    }
}

/// Why a checkpoint could not be loaded; the message names the file or the tensor.
#[derive(Debug, thiserror::Error)]
#[error("{folder}: {reason}")]
pub struct LoadError {
    /// The folder.
    pub folder: String,
    /// What is wrong, naming the file or the tensor.
    pub reason: String,
}

/// Loads the model of a checkpoint folder: `config.json` and safetensors shards, which are mapped and not copied where
/// their format allows. `progress` is called for each tensor.
///
/// # Errors
/// [`LoadError`] naming the file or tensor that is missing, cut short or of another shape.
pub fn load(
    folder: &Path,
    options: LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Box<dyn CausalModel>, LoadError> {
    load_from(&Folder::Disk(folder.to_owned()), options, progress)
        .map_err(|error| LoadError { folder: folder.display().to_string(), reason: error.to_string() })
}

/// Loads from wherever a folder's files are.
///
/// # Errors
/// [`BuildError`] naming what is wrong.
pub(crate) fn load_from(
    folder: &Folder,
    options: LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Box<dyn CausalModel>, BuildError> {
    let config: serde_json::Value = folder.read_json("config.json")?;
    let checkpoint = Checkpoint::open(folder, progress)?;
    build(&config, &checkpoint, options)
}

/// Builds the model that a configuration describes.
///
/// # Errors
/// [`BuildError`] naming what is wrong.
pub(crate) fn build(
    config: &serde_json::Value,
    weights: &dyn Weights,
    options: LoadOptions,
) -> Result<Box<dyn CausalModel>, BuildError> {
    build_on(Machine::find(options)?, config, weights)
}

/// Builds the model that a configuration describes on a machine.
///
/// # Errors
/// [`BuildError`] naming what is wrong.
pub(crate) fn build_on(
    machine: Machine,
    config: &serde_json::Value,
    weights: &dyn Weights,
) -> Result<Box<dyn CausalModel>, BuildError> {
    match machine {
        Machine::Cpu(cpu) => open(*cpu, config, weights),
        Machine::Cuda(gpu) => open(*gpu, config, weights),
    }
}

fn open<B: Backend>(
    backend: B,
    config: &serde_json::Value,
    weights: &dyn Weights,
) -> Result<Box<dyn CausalModel>, BuildError> {
    let kind = config.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
    match kind {
        "deepseek_v2" | "deepseek_v3" => Ok(Box::new(deepseek_v3::open(backend, &read(config)?, weights)?)),
        "qwen3_moe" => Ok(Box::new(qwen3_moe::open(backend, &read(config)?, weights)?)),
        other => Err(BuildError::Config(format!(
            "model_type is {other:?}; deepseek_v2, deepseek_v3 and qwen3_moe are supported"
        ))),
    }
}

/// Threads of a forward pass.
#[must_use]
pub(crate) fn threads(options: LoadOptions) -> usize {
    match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        asked => asked,
    }
}

fn read<T: serde::de::DeserializeOwned>(config: &serde_json::Value) -> Result<T, BuildError> {
    serde_json::from_value(config.clone()).map_err(|error| BuildError::Config(error.to_string()))
}
