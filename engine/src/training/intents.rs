//! A bank's own intents from a few examples each.
//!
//! Low-rank adapters on attention (Hu et al. 2021) and a head learn the examples; the rest of the encoder stays as it is, and
//! general texts, mixed in 3 to 7, hold its answers where they were.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::encoder::TrainingEncoder;
use super::material::Set;
use super::outcome::{Answer, ConfusionMatrix, temperature, threshold};
pub use super::outcome::{Confusion, Report};
use super::student::Student;
use super::{TrainingError, card};
pub use crate::models::intents::Target;
use crate::models::intents::{HeadFile, LoraConfig, NamedTensors, write_tensors};
use crate::models::moe_encoder::HeadConfig;
use crate::tokens::Tokens;
use crate::understanding::evaluate::{Labelled, OUT_OF_SCOPE, calibration_error};
use crate::weights::{self, Folder};

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Rank of the adapters.
    pub rank: usize,
    /// What the adapters say is multiplied by `alpha / rank`.
    pub alpha: f32,
    /// The projections that get an adapter.
    pub targets: Vec<Target>,
    /// Share of inputs that adapters and head do not see in a step.
    pub dropout: f32,
    /// Highest rate of learning.
    pub rate: f64,
    /// Pull towards zero in each step, times the rate.
    pub decay: f64,
    /// Probability that is spread over all labels.
    pub smoothing: f32,
    /// Share of general texts in a batch.
    pub general_share: f64,
    /// Texts in a batch.
    pub batch: usize,
    /// At most so many passes over the examples.
    pub epochs: usize,
    /// Passes without a better one after which it stops.
    pub patience: usize,
    /// Share of a label's examples that is held out.
    pub validation: f64,
    /// Everything random follows from it.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            targets: vec![Target::Query, Target::Value],
            dropout: 0.1,
            rate: 1e-3,
            decay: 0.01,
            smoothing: 0.1,
            general_share: 0.3,
            batch: 32,
            epochs: 20,
            patience: 8,
            validation: 0.1,
            seed: 1,
        }
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all, if it does not stop early.
    pub steps: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Loss of the last step.
    pub loss: f64,
    /// Share of the held-out examples that got their label after the last epoch.
    pub accuracy: Option<f64>,
}

/// An adapter and a head, not yet written.
pub struct Trained {
    /// What came of it.
    pub report: Report,
    card: String,
    lora: LoraConfig,
    low_rank: NamedTensors,
    head: HeadFile,
    classifier: NamedTensors,
    confusion: Vec<u8>,
}

impl Trained {
    /// Writes the folder that `--adapter` reads.
    ///
    /// # Errors
    /// [`TrainingError::Write`] naming the file.
    pub fn write(&self, folder: &Path) -> Result<(), TrainingError> {
        let failed = |file: &str| {
            let file = folder.join(file).display().to_string();
            move |source| TrainingError::Write { file, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(""))?;
        let json = |value: serde_json::Result<Vec<u8>>| value.map_err(std::io::Error::from);
        for (file, bytes) in [
            ("adapter_config.json", json(serde_json::to_vec_pretty(&self.lora))),
            ("head.json", json(serde_json::to_vec_pretty(&self.head))),
            ("figures.json", json(serde_json::to_vec_pretty(&self.report))),
            ("README.md", Ok(self.card.clone().into_bytes())),
            ("confusion.csv", Ok(self.confusion.clone())),
        ] {
            bytes.and_then(|bytes| std::fs::write(folder.join(file), bytes)).map_err(failed(file))?;
        }
        for (file, tensors) in [("adapter_model.safetensors", &self.low_rank), ("head.safetensors", &self.classifier)] {
            write_tensors(&folder.join(file), tensors).map_err(failed(file))?;
        }
        Ok(())
    }
}

/// What a bank brings, beside the examples.
#[derive(Debug, Clone, Default)]
pub struct Material<'a> {
    /// Folder that holds `encoder/`; `None` takes the encoder compiled into the program.
    pub weights: Option<&'a Path>,
    /// Texts without labels that the encoder's answers shall be kept on, beside the program's own.
    pub general: &'a [String],
    /// Version of the result.
    pub version: String,
    /// What the examples are, in a sentence, for the card.
    pub description: String,
}

/// Trains own intents on `rows`; the label [`OUT_OF_SCOPE`] marks texts that belong to none.
///
/// # Errors
/// [`TrainingError::Data`] when there are fewer than two labels or two examples of one, [`TrainingError::Model`] when the
/// encoder can not be read.
pub fn train(
    rows: &[Labelled],
    material: &Material<'_>,
    recipe: &Recipe,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Trained, TrainingError> {
    let start = Instant::now();
    let folder = match material.weights {
        None => weights::encoder_inside(),
        Some(folder) => Folder::Disk(folder.join("encoder")),
    };
    let encoder = TrainingEncoder::open(&folder)?;
    let tokens = Tokens::open(&folder, encoder.config().max_tokens)?;
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let labels = labels_of(rows)?;
    let set = Set::of(rows, &labels, (&encoder, &tokens), material.general, recipe, &mut rng)?;
    let mut student = Student::new(&encoder, &set, &labels, recipe)?;
    let (epochs, best) = student.learn(&set, recipe, &mut rng, tell)?;

    let foreign = labels.len() - 1;
    let answers = student.answers(&set, |text| text.held_out && text.label.is_some())?;
    let temperature = temperature(&answers);
    let threshold = threshold(&answers, foreign, temperature);
    let own: Vec<&Answer> = answers.iter().filter(|answer| answer.label != foreign).collect();
    let judged: Vec<(bool, f32)> = own
        .iter()
        .map(|answer| {
            let best = answer.best();
            (best == answer.label, answer.probabilities(temperature).get(best).copied().unwrap_or_default())
        })
        .collect();
    let matrix = ConfusionMatrix::new(&labels, answers.iter().map(|answer| (answer.label, answer.best())));
    let (agreement, cosine) = student.kept_skill(&set)?;
    let right = judged.iter().filter(|(right, _)| *right).count();
    let report = Report {
        version: material.version.clone(),
        encoder: encoder.config().version.clone(),
        rows: rows.len(),
        labels: labels.len() - 1,
        held_out: own.len(),
        general_texts: set.texts.iter().filter(|text| text.general).count(),
        foreign_texts: set.texts.iter().filter(|text| text.general && text.label.is_some()).count(),
        trained_numbers: student.variables().map(|variable| variable.as_tensor().elem_count()).sum(),
        epochs,
        best_epoch: best,
        accuracy: right as f64 / own.len().max(1) as f64,
        ece: calibration_error(judged.iter().copied()),
        temperature,
        threshold,
        agreement,
        cosine,
        seconds: start.elapsed().as_secs_f64(),
        confusions: matrix.confusions(),
    };
    let head = HeadConfig { labels, temperature, threshold };
    Ok(Trained {
        card: card::card(&report, recipe, &material.description),
        lora: LoraConfig {
            base_model_name_or_path: report.encoder.clone(),
            peft_type: "LORA".to_owned(),
            task_type: "FEATURE_EXTRACTION".to_owned(),
            r: recipe.rank,
            lora_alpha: recipe.alpha,
            lora_dropout: recipe.dropout,
            target_modules: recipe.targets.iter().map(|target| target.module().to_owned()).collect(),
            bias: "none".to_owned(),
            fan_in_fan_out: false,
            inference_mode: true,
            use_rslora: false,
            use_dora: false,
        },
        low_rank: student.low_rank()?,
        head: HeadFile { version: material.version.clone(), out_of_scope: OUT_OF_SCOPE.to_owned(), head },
        classifier: student.classifier()?,
        confusion: matrix.csv().map_err(|error| TrainingError::Data(error.to_string()))?,
        report,
    })
}

/// The labels by name, [`OUT_OF_SCOPE`] last whether it was given or not.
fn labels_of(rows: &[Labelled]) -> Result<Vec<String>, TrainingError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        if row.text.trim().is_empty() || row.label.trim().is_empty() {
            return Err(TrainingError::Data(format!("row {}: text and label must not be empty", number + 1)));
        }
        *counts.entry(row.label.as_str()).or_default() += 1;
    }
    counts.remove(OUT_OF_SCOPE);
    if counts.len() < 2 {
        return Err(TrainingError::Data("at least two labels are needed beside oos".to_owned()));
    }
    if let Some((label, _)) = counts.iter().find(|(_, count)| **count < 2) {
        return Err(TrainingError::Data(format!(
            "the label {label} has one example; at least two are needed, better five"
        )));
    }
    Ok(counts.into_keys().chain([OUT_OF_SCOPE]).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
