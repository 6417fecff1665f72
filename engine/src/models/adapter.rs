//! Low-rank adapters in the format of PEFT (`adapter_config.json`, `adapter_model.safetensors`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::backend::Backend;
use crate::layers::Projection;
use crate::weights::{Checkpoint, Folder};

use super::causal::{AdapterError, AdapterId};

#[derive(Deserialize)]
struct Config {
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    alpha_pattern: serde_json::Map<String, serde_json::Value>,
}

/// Reads an adapter and gives each projection its part. A tensor that belongs to none is an error: an adapter that is
/// only half applied answers wrongly without a sign.
///
/// # Errors
/// [`AdapterError`] naming the file or the tensor.
pub(super) fn load<'m, B: Backend>(
    folder: &Path,
    backend: &B,
    id: AdapterId,
    projections: impl Iterator<Item = &'m mut Projection<B>>,
) -> Result<(), AdapterError> {
    let refused = |error: crate::weights::Error| AdapterError(error.to_string());
    let folder = Folder::Disk(folder.to_owned());
    let config: Config = folder.read_json("adapter_config.json").map_err(refused)?;
    if config.use_dora || !config.rank_pattern.is_empty() || !config.alpha_pattern.is_empty() || config.r == 0 {
        let what = "adapter_config.json: only plain LoRA of one rank is supported (no DoRA, no patterns)";
        return Err(AdapterError(what.to_owned()));
    }
    let rank = config.r as f32;
    let scale = config.lora_alpha / if config.use_rslora { rank.sqrt() } else { rank };
    let mut quiet = |_| ();
    let tensors = Checkpoint::open_file(&folder, "adapter_model.safetensors", &mut quiet).map_err(refused)?;
    let left: RefCell<BTreeSet<String>> = RefCell::new(tensors.names().map(str::to_owned).collect());
    for projection in projections {
        projection.adapt(backend, id, scale, &mut |name| {
            let part = |which: &str| format!("base_model.model.{name}.{which}");
            let (down, up) = (part("lora_A"), part("lora_B"));
            let Some(inputs) = tensors.shape(&format!("{down}.weight")) else { return Ok(None) };
            let outputs = tensors.shape(&format!("{up}.weight"));
            let (&[rank, columns], Some(&[rows, also_rank])) = (inputs, outputs) else {
                return Err(AdapterError(format!("{down}.weight and {up}.weight are not two matrices")));
            };
            left.borrow_mut().remove(&format!("{down}.weight"));
            left.borrow_mut().remove(&format!("{up}.weight"));
            let down = tensors.matrix(&down, rank, columns).map_err(refused)?;
            let up = tensors.matrix(&up, rows, also_rank).map_err(refused)?;
            Ok(Some((down, up)))
        })?;
    }
    match left.into_inner().first() {
        None => Ok(()),
        Some(name) => Err(AdapterError(format!("{name} belongs to no map of attention that adapters can be added to"))),
    }
}
