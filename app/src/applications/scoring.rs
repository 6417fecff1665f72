//! The model's answer about one application.

use candor_engine::Engine;
use candor_engine::risk::{self, Assessment, Policy};

use crate::{AppError, Result};

/// Scores, explains and judges. A value that the model can not know is refused by name.
pub(super) fn assess(engine: &Engine, factors: &risk::Application, policy: &Policy) -> Result<Assessment> {
    let model = engine.risk();
    model.validate(factors).map_err(|fault| AppError::field(fault.field, format!("This {}.", fault.expected)))?;
    Ok(model.assess(factors, policy))
}
