//! A risk model: its file, its checks, and the assessment of one application.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::application::{Application, Invalid};
use super::assessment::{Assessment, Attribution, Reason};
use super::calibration::CalibrationCurve;
use super::ensemble::{Ensemble, Tree, TreeError};
use super::factors::{Kind, Role};
use super::features::Feature;
use super::policy::Policy;
use super::shap::{Explainer, Scratch};

/// The only format there is so far.
pub const FORMAT: &str = "candor-risk/1";

/// A model as its file holds it (JSON). The leaves and the base already contain the affine calibration, so that
/// `probability = 1 / (1 + exp(-(base + Σ leaves)))` with nothing in between, unless a curve is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// [`FORMAT`].
    pub format: String,
    /// The model's version, unique at the bank.
    pub version: String,
    /// What it was trained on, in a sentence.
    pub description: String,
    /// How the log-odds were calibrated; already folded into base and leaves.
    pub calibration: Calibration,
    /// Where the calibration bends: from the trees' log-odds to the probability's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<CalibrationCurve>,
    /// What every row starts from, in log-odds.
    pub base: f64,
    /// The inputs, in the order of the trees' feature numbers.
    pub features: Vec<Feature>,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// The affine (Platt) calibration that training found on the calibration period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The raw log-odds were multiplied by this.
    pub slope: f64,
    /// And then this was added.
    pub intercept: f64,
}

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The bytes are no model file.
    #[error("not a model file: {0}")]
    Unreadable(String),
    /// The format is another one.
    #[error("format is {0:?}, this program reads {FORMAT:?}")]
    Format(String),
    /// A tree is broken.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The calibration's curve cannot be used.
    #[error("calibration: {0}")]
    Calibration(&'static str),
    /// An input cannot be used.
    #[error("feature {name}: {fault}")]
    Feature {
        /// The input's name.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
}

/// A model ready to score and explain. Immutable; share it between threads.
#[derive(Debug, Clone)]
pub struct Model {
    file: ModelFile,
    sha256: String,
    ensemble: Ensemble,
    explainer: Explainer,
    baseline: f64,
}

impl Model {
    /// Reads a model file and checks all of it.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn load(bytes: &[u8]) -> Result<Model, ModelError> {
        let mut file: ModelFile =
            serde_json::from_slice(bytes).map_err(|error| ModelError::Unreadable(error.to_string()))?;
        if file.format != FORMAT {
            return Err(ModelError::Format(file.format));
        }
        if let Some(curve) = &file.curve {
            curve.check().map_err(ModelError::Calibration)?;
        }
        for (position, feature) in file.features.iter().enumerate() {
            let refuse =
                |fault: &str| Err(ModelError::Feature { name: feature.factor.name.clone(), fault: fault.to_owned() });
            if feature.factor.role != Role::Input {
                return refuse("is not a model input: protected factors and time never decide");
            }
            if (feature.factor.kind == Kind::Category) == feature.categories.is_empty() {
                return refuse("a category needs a list of categories, a number must not have one");
            }
            if file.features.iter().take(position).any(|earlier| earlier.factor.name == feature.factor.name) {
                return refuse("is there twice");
            }
        }
        let categories: Vec<Option<usize>> = file
            .features
            .iter()
            .map(|feature| (feature.factor.kind == Kind::Category).then_some(feature.categories.len()))
            .collect();
        let ensemble = Ensemble::new(file.base, std::mem::take(&mut file.trees), &categories)?;
        let explainer = Explainer::new(&ensemble);
        let baseline = ensemble.baseline();
        Ok(Model { file, sha256: hex::encode(Sha256::digest(bytes)), ensemble, explainer, baseline })
    }

    /// Reads a model file from disk.
    ///
    /// # Errors
    /// When it cannot be read or is no model.
    pub fn read(path: &std::path::Path) -> Result<Model, ModelError> {
        let bytes =
            std::fs::read(path).map_err(|error| ModelError::Unreadable(format!("{}: {error}", path.display())))?;
        Model::load(&bytes)
    }

    /// The demonstration model compiled into the program.
    ///
    /// # Errors
    /// When the compiled-in file is broken; a test keeps that from happening.
    pub fn shipped() -> Result<Model, ModelError> {
        Model::load(super::SHIPPED_MODEL)
    }

    /// The model's version.
    pub fn version(&self) -> &str {
        &self.file.version
    }

    /// SHA-256 over the file's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What the model was trained on, in a sentence.
    pub fn description(&self) -> &str {
        &self.file.description
    }

    /// The calibration already folded into the trees.
    pub fn calibration(&self) -> Calibration {
        self.file.calibration
    }

    /// The curve between the trees' log-odds and the probability, where the calibration bends.
    pub fn curve(&self) -> Option<&CalibrationCurve> {
        self.file.curve.as_ref()
    }

    /// The probability of the trees' log-odds: their logistic function, through the calibration's curve where there is one.
    pub fn probability(&self, margin: f64) -> f64 {
        probability(self.file.curve.as_ref().map_or(margin, |curve| curve.apply(margin)))
    }

    /// The inputs.
    pub fn features(&self) -> &[Feature] {
        &self.file.features
    }

    /// The trees.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// The explainer, for rows that are encoded already.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    /// Log-odds when nothing is known.
    pub fn baseline(&self) -> f64 {
        self.baseline
    }

    /// Whether an application can be assessed with this model: every input must be one of its fields.
    ///
    /// # Errors
    /// The first input that an application does not have.
    pub fn accepts_applications(&self) -> Result<(), ModelError> {
        match self.file.features.iter().find(|feature| !Application::FIELDS.contains(&feature.factor.name.as_str())) {
            None => Ok(()),
            Some(feature) => Err(ModelError::Feature {
                name: feature.factor.name.clone(),
                fault: "is not a field of an application".to_owned(),
            }),
        }
    }

    /// Checks an application's values, its categories against the ones this model knows.
    ///
    /// # Errors
    /// The first field whose value cannot be right.
    pub fn validate(&self, application: &Application) -> Result<(), Invalid> {
        application.validate()?;
        for feature in &self.file.features {
            let Some(text) = application.text(&feature.factor.name) else { continue };
            if feature.factor.kind == Kind::Category && !feature.categories.iter().any(|known| known == text) {
                return Err(Invalid {
                    field: feature.factor.name.clone(),
                    expected: format!("must be one of {}", feature.categories.join(", ")),
                });
            }
        }
        Ok(())
    }

    /// An application as the trees see it.
    pub fn encode(&self, application: &Application) -> Vec<f64> {
        self.file.features.iter().map(|feature| feature.encode(application)).collect()
    }

    /// The log-odds of an application.
    pub fn margin(&self, application: &Application) -> f64 {
        self.explainer.margin(&self.encode(application))
    }

    /// Room for one thread's explanations.
    pub fn scratch(&self) -> Scratch {
        self.explainer.scratch()
    }

    /// Scores an application, explains the score and applies the policy. The same model file, application and policy
    /// give the same bits, on every machine.
    pub fn assess(&self, application: &Application, policy: &Policy) -> Assessment {
        let row = self.encode(application);
        let margin = self.explainer.margin(&row);
        let probability = self.probability(margin);
        let mut contributions = vec![0.0; row.len()];
        self.explainer.explain(&row, &mut self.explainer.scratch(), &mut contributions);

        let mut attributions: Vec<(&Feature, Attribution)> = self
            .file
            .features
            .iter()
            .zip(&contributions)
            .map(|(feature, &contribution)| (feature, attribution(feature, application, contribution)))
            .collect();
        // A stable sort: equal contributions keep the model's order.
        attributions.sort_by(|(_, a), (_, b)| b.contribution.abs().total_cmp(&a.contribution.abs()));

        let reasons = attributions
            .iter()
            .filter(|(_, attribution)| attribution.contribution >= policy.min_contribution)
            .filter(|(_, attribution)| attribution.contribution > 0.0)
            .take(policy.max_reasons)
            .map(|(feature, attribution)| {
                let (code, text) = feature.factor.reason_for(attribution.raw.as_ref(), &attribution.value);
                Reason {
                    code,
                    factor: feature.factor.name.clone(),
                    label: feature.factor.label.clone(),
                    text,
                    contribution: attribution.contribution,
                }
            })
            .collect();
        let missing = self
            .file
            .features
            .iter()
            .zip(&row)
            .filter(|(_, value)| value.is_nan())
            .map(|(feature, _)| feature.factor.name.clone())
            .collect();
        let rule_hits = policy.hits(application, probability);
        let band = policy.bands.of(probability);
        Assessment {
            probability,
            margin,
            baseline: self.baseline,
            attributions: attributions.into_iter().map(|(_, attribution)| attribution).collect(),
            reasons,
            proposal: policy.proposal(band, &rule_hits),
            rule_hits,
            missing,
            band,
            model_version: self.file.version.clone(),
            model_sha256: self.sha256.clone(),
            policy_version: policy.version,
        }
    }
}

fn attribution(feature: &Feature, application: &Application, contribution: f64) -> Attribution {
    let raw = application.value(&feature.factor.name);
    let value = feature.in_words(raw.as_ref());
    let usual = feature.usual_in_words();
    let effect = effect_in_words(contribution);
    let label = &feature.factor.label;
    let in_words = match feature.place(raw.as_ref()) {
        Some(place) => format!("{label}: {value}, {place} the usual {usual}. It {effect}."),
        None => format!("{label}: {value}. It {effect}."),
    };
    Attribution {
        factor: feature.factor.name.clone(),
        label: label.clone(),
        value,
        raw,
        usual_low: feature.usual_low,
        usual_high: feature.usual_high,
        usual,
        contribution,
        in_words,
    }
}

/// A contribution in words. 0.2 moves odds of 1 in 100 to about 1.2 in 100; 0.7 doubles them.
fn effect_in_words(contribution: f64) -> String {
    let size = contribution.abs();
    if size < 0.02 {
        return "hardly changes the score".to_owned();
    }
    let verb = if contribution > 0.0 { "raises" } else { "lowers" };
    let degree = match size {
        _ if size < 0.2 => " slightly",
        _ if size < 0.7 => "",
        _ => " strongly",
    };
    format!("{verb} the score{degree}")
}

/// The probability of log-odds. Uses an exponential that gives the same bits on every machine.
pub fn probability(margin: f64) -> f64 {
    if margin >= 0.0 {
        1.0 / (1.0 + libm::exp(-margin))
    } else {
        let odds = libm::exp(margin);
        odds / (1.0 + odds)
    }
}
