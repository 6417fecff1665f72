//! `candor score`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use candor_engine::risk::{Application, Model, Policy};
use clap::Args;

use crate::config::Config;

use super::Failure;
use super::lines::{JsonLines, open};

/// Score loan applications: probability, attributions, reasons and what the policy proposes.
///
/// Reads an application a line as JSON (fields left out are missing values) and writes its assessment as JSON.
#[derive(Debug, Args)]
pub(super) struct Score {
    /// Applications, JSON lines; standard input where it is left out.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Model to use instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Policy in TOML to use instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Score {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let model = model(self.model.as_deref(), config)?;
        model.accepts_applications()?;
        let policy = policy(self.policy.as_deref())?;
        let mut output = JsonLines::new();
        for (number, line) in BufReader::new(open(self.file.as_deref())?).lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let at = |failure: Failure| failure.at(format!("line {}", number + 1));
            let application: Application = serde_json::from_str(&line).map_err(|error| at(error.into()))?;
            model.validate(&application).map_err(|error| at(error.into()))?;
            output.write(&model.assess(&application, &policy))?;
        }
        output.finish()
    }
}

/// The model in `file`, else the one that the program would use.
pub(super) fn model(file: Option<&Path>, config: &Config) -> Result<Model, Failure> {
    let configured = config.weights.as_ref().map(|folder| folder.join("risk/model.json"));
    match file.or(configured.as_deref()) {
        Some(path) => Model::read(path).map_err(|error| Failure::from(error).at(path.display())),
        None => Ok(Model::shipped()?),
    }
}

/// The policy in `file`, else the shipped one.
pub(super) fn policy(file: Option<&Path>) -> Result<Policy, Failure> {
    let Some(path) = file else { return Ok(Policy::shipped()?) };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::from(error).at(path.display()))?;
    Policy::parse(&text).map_err(|error| Failure::from(error).at(path.display()))
}
