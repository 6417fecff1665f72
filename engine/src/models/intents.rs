//! A bank's own intents beside the shipped ones: a low-rank adapter of the encoder in PEFT's format, and a head.
//!
//! A folder holds `adapter_config.json` and `adapter_model.safetensors` (tensors named as PEFT names those of a BERT),
//! `head.json` and `head.safetensors`. The adapter is added to the encoder's weights when they are loaded, before they are
//! rounded: serving costs nothing more than the head.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::moe_encoder::{Config, HeadConfig};
use crate::weights::{Error, Folder, Tensors};

/// Name of the head with the bank's own intents.
pub(crate) const OWN: &str = "own";

/// A projection of attention that an adapter can be added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// The projection of what the heads say.
    Output,
}

impl Target {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Query, Self::Key, Self::Value, Self::Output];

    /// Its name in `target_modules`.
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::Output => "attention.output.dense",
        }
    }

    /// Its tensors' name in layer `layer`, without `.lora_A.weight`.
    pub(crate) fn tensor(self, layer: usize) -> String {
        let place = match self {
            Self::Query | Self::Key | Self::Value => format!("attention.self.{}", self.module()),
            Self::Output => self.module().to_owned(),
        };
        format!("base_model.model.encoder.layer.{layer}.{place}")
    }

    /// The encoder's tensor that holds its weights, and the first of its `width` rows there.
    fn home(self, layer: usize, width: usize) -> (String, usize) {
        match self {
            Self::Query => (format!("layers.{layer}.qkv.weight"), 0),
            Self::Key => (format!("layers.{layer}.qkv.weight"), width),
            Self::Value => (format!("layers.{layer}.qkv.weight"), 2 * width),
            Self::Output => (format!("layers.{layer}.out.weight"), 0),
        }
    }
}

/// `adapter_config.json`, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoraConfig {
    /// Version of the encoder that the adapter belongs to.
    pub(crate) base_model_name_or_path: String,
    pub(crate) peft_type: String,
    pub(crate) task_type: String,
    pub(crate) r: usize,
    pub(crate) lora_alpha: f32,
    pub(crate) lora_dropout: f32,
    pub(crate) target_modules: Vec<String>,
    pub(crate) bias: String,
    pub(crate) fan_in_fan_out: bool,
    pub(crate) inference_mode: bool,
    #[serde(default)]
    pub(crate) use_rslora: bool,
    #[serde(default)]
    pub(crate) use_dora: bool,
}

/// `head.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeadFile {
    /// Version, named beside the encoder's in every answer.
    pub(crate) version: String,
    /// The label that means none of the others.
    pub(crate) out_of_scope: String,
    #[serde(flatten)]
    pub(crate) head: HeadConfig,
}

/// A folder's adapter and head.
pub(crate) struct IntentAdapter {
    lora: LoraConfig,
    head: HeadFile,
    low_rank: Tensors,
    classifier: Tensors,
}

impl IntentAdapter {
    /// Reads a folder.
    ///
    /// # Errors
    /// When a file is missing, does not parse, or asks for a kind of adapter that is not supported.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let folder = Folder::Disk(folder.to_owned());
        let refused = |file: &str, reason: &str| Error::File { file: file.to_owned(), reason: reason.to_owned() };
        let lora: LoraConfig = folder.read_json("adapter_config.json")?;
        if lora.peft_type != "LORA" || lora.use_dora || lora.use_rslora || lora.r == 0 || lora.fan_in_fan_out {
            return Err(refused("adapter_config.json", "only plain LoRA is supported"));
        }
        let head: HeadFile = folder.read_json("head.json")?;
        let sound = head.head.temperature > 0.0 && head.head.threshold.is_finite();
        if head.head.labels.len() < 2 || !head.head.labels.contains(&head.out_of_scope) || !sound {
            return Err(refused("head.json", "labels, temperature and threshold do not fit each other"));
        }
        Ok(Self {
            low_rank: Tensors::open_file(&folder, "adapter_model.safetensors")?,
            classifier: Tensors::open_file(&folder, "head.safetensors")?,
            lora,
            head,
        })
    }

    /// Adds the adapter to an encoder's tensors and the head to its configuration.
    ///
    /// # Errors
    /// When the adapter was made for another encoder, or a tensor does not fit it.
    pub(crate) fn apply(&self, tensors: &mut Tensors, config: &mut Config) -> Result<(), Error> {
        let base = &self.lora.base_model_name_or_path;
        if *base != config.version {
            let reason = format!("was trained for {base}, but the encoder is {}: train it again", config.version);
            return Err(Error::File { file: "adapter_config.json".to_owned(), reason });
        }
        let (width, rank) = (config.hidden_size, self.lora.r);
        let scale = self.lora.lora_alpha / rank as f32;
        let mut used = 0;
        for layer in 0..config.num_hidden_layers {
            for target in Target::ALL {
                let name = target.tensor(layer);
                let (down, up) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
                if !self.low_rank.has(&down) {
                    continue;
                }
                used += 2;
                let down = self.low_rank.get(&down, &[rank, width])?;
                let up = self.low_rank.get(&up, &[width, rank])?;
                let (home, first) = target.home(layer, width);
                let rows = if matches!(target, Target::Output) { width } else { 3 * width };
                let mut weight = tensors.get(&home, &[rows, width])?;
                let changed = weight.chunks_exact_mut(width.max(1)).skip(first).zip(up.chunks_exact(rank));
                for (row, up) in changed {
                    for (factor, down) in up.iter().zip(down.chunks_exact(width.max(1))) {
                        row.iter_mut().zip(down).for_each(|(w, d)| *w += scale * factor * d);
                    }
                }
                tensors.replace(home, vec![rows, width], weight);
            }
        }
        if used != self.low_rank.names().count() {
            let reason = "holds tensors that belong to no projection of attention".to_owned();
            return Err(Error::File { file: "adapter_model.safetensors".to_owned(), reason });
        }
        let labels = self.head.head.labels.len();
        for (part, shape) in [("weight", vec![labels, 2 * width]), ("bias", vec![labels])] {
            let values = self.classifier.get(part, &shape)?;
            tensors.replace(format!("heads.{OWN}.{part}"), shape, values);
        }
        config.heads.insert(OWN.to_owned(), self.head.head.clone());
        config.out_of_scope.insert(OWN.to_owned(), self.head.out_of_scope.clone());
        config.version = format!("{} + {}", config.version, self.head.version);
        Ok(())
    }
}

/// Shapes and values of tensors by name.
pub(crate) type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes tensors by name to a safetensors file.
///
/// # Errors
/// When the file can not be written.
pub(crate) fn write_tensors(file: &Path, tensors: &NamedTensors) -> Result<(), std::io::Error> {
    let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, (shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, (shape, bytes)) in &bytes {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, (*shape).clone(), bytes)
            .map_err(std::io::Error::other)?;
        views.push((*name, view));
    }
    safetensors::serialize_to_file(views, None, file).map_err(std::io::Error::other)
}
