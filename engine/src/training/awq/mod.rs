//! Activation-aware weight quantisation to 4 bits (AWQ, Lin et al. 2023, arXiv 2306.00978).
//!
//! A map's inputs are not alike: where activations are large, rounding a weight costs more. Multiplying those columns by a
//! scale before rounding, and dividing what feeds them by the same, leaves the function as it is and makes the costly weights
//! finer. The scale of each group of maps is searched on the activations of given texts ([`scales`]), then each row's largest
//! weights are cut where that costs least ([`clip`]), and the codes are written in AutoAWQ's packing ([`write`]).
//!
//! Routers, embeddings, norms and the head keep 16 or 32 bits, as usual.

mod clip;
mod groups;
mod layer;
mod observe;
mod perplexity;
mod round;
mod scales;
#[cfg(test)]
mod tests;
mod texts;
mod write;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokenizers::Tokenizer;

use crate::models::causal::ForwardError;
use crate::models::{Device, LoadError, LoadOptions, load};
use crate::weights::{Checkpoint, Folder};

pub use texts::{TextError, read_texts};

/// Why a model could not be quantised; the message names the file or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum AwqError {
    /// The model could not be loaded, before or after.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A step could not be computed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The checkpoint is not one that this can be done with.
    #[error("{0}")]
    Checkpoint(String),
    /// The texts are too few or too short.
    #[error("the texts: {0}")]
    Texts(String),
    /// A file could not be read or written.
    #[error("{file}: {reason}")]
    File {
        /// Its name.
        file: String,
        /// What the operating system said.
        reason: String,
    },
}

impl From<crate::weights::Error> for AwqError {
    fn from(error: crate::weights::Error) -> Self {
        Self::Checkpoint(error.to_string())
    }
}

/// What is quantised, and on what.
#[derive(Debug, Clone)]
pub struct Quantise {
    /// Checkpoint folder.
    pub model: PathBuf,
    /// Texts whose activations guide the search.
    pub calibration: Vec<String>,
    /// Other texts, which perplexity is measured on.
    pub test: Vec<String>,
    /// Folder to write; it is made where it is missing.
    pub out: PathBuf,
    /// Tokens of the calibration texts to look at.
    pub samples: usize,
    /// Threads; 0 takes what the machine has.
    pub threads: usize,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantised {
    /// Perplexity of the test texts with the weights as they were.
    pub perplexity_before: f64,
    /// And with those written.
    pub perplexity_after: f64,
    /// By how much it grew, in percent.
    pub loss_percent: f64,
    /// Tokens that were predicted for these figures.
    pub test_tokens: usize,
    /// Tokens that the search looked at.
    pub calibration_tokens: usize,
    /// Maps of 4 bits.
    pub maps: usize,
    /// Bytes of all tensors that were written.
    pub bytes: u64,
}

/// Tokens that a text is cut to.
const LONGEST: usize = 512;
/// Texts shorter than this predict nothing.
const SHORTEST: usize = 2;

/// Quantises a checkpoint folder and measures what was lost. `tell` hears a line for each part of the work.
///
/// # Errors
/// [`AwqError`] when the model is of 4 bits already or of an unknown kind, texts are missing, or a file can not be written.
pub fn quantise(work: &Quantise, tell: &mut dyn FnMut(&str)) -> Result<Quantised, AwqError> {
    let folder = Folder::Disk(work.model.clone());
    let config: serde_json::Value = folder.read_json("config.json")?;
    if same(&work.model, &work.out) {
        return Err(AwqError::Checkpoint("the new folder must be another one than the model's".to_owned()));
    }
    let tokenizer = Tokenizer::from_bytes(folder.read("tokenizer.json")?)
        .map_err(|error| AwqError::Checkpoint(format!("tokenizer.json: {error}")))?;
    let encode = |texts: &[String]| -> Result<Vec<Vec<u32>>, AwqError> {
        let encoded = tokenizer.encode_batch_fast(texts.to_vec(), true);
        let encoded = encoded.map_err(|error| AwqError::Texts(error.to_string()))?;
        let cut = encoded.iter().map(|text| text.get_ids().iter().take(LONGEST).copied().collect::<Vec<u32>>());
        Ok(cut.filter(|text| text.len() >= SHORTEST).collect())
    };
    let (calibration, test) = (encode(&work.calibration)?, encode(&work.test)?);
    if calibration.is_empty() || test.is_empty() {
        return Err(AwqError::Texts("some are needed to look at and some to measure".to_owned()));
    }
    let options = LoadOptions { threads: work.threads, rounding: false, device: Device::Cpu };

    tell("measuring perplexity as it is");
    let mut model = load(&work.model, options, &mut |_| ())?;
    let (before, test_tokens) = perplexity::perplexity(&mut *model, &test)?;
    drop(model);
    tell(&format!("perplexity {before:.4} on {test_tokens} tokens; looking at activations"));

    let nothing = &mut |_| ();
    let checkpoint = Checkpoint::open(&folder, nothing)?;
    let kind = groups::Kind::of(&config, &checkpoint)?;
    let (observed, calibration_tokens) =
        observe::observe(&config, &checkpoint, options, &kind, &calibration, work.samples)?;
    let mut writer = write::Writer::new(&work.out)?;
    for (number, sample) in observed.into_iter().enumerate() {
        let threads = crate::models::threads(options);
        let gain = layer::quantise(&kind, &checkpoint, number, &sample, threads, &mut writer)?;
        tell(&format!(
            "layer {} of {}: {} maps, error of the products {:.1} % of plain rounding's",
            number + 1,
            kind.layers,
            gain.maps,
            100.0 * gain.share
        ));
    }
    layer::rest(&kind, &checkpoint, &mut writer)?;
    let (maps, bytes) = writer.finish(&folder, config)?;

    tell("measuring perplexity as written");
    let mut model = load(&work.out, options, &mut |_| ())?;
    let (after, _) = perplexity::perplexity(&mut *model, &test)?;
    Ok(Quantised {
        perplexity_before: before,
        perplexity_after: after,
        loss_percent: 100.0 * (after / before - 1.0),
        test_tokens,
        calibration_tokens,
        maps,
        bytes,
    })
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
