//! The model's answer about one application.

use candor_engine::risk::{self, Assessment, Model, Policy};

use crate::{AppError, Result};

/// Scores, explains and judges. A value that the model can not know is refused by name.
pub(super) fn assess(model: &Model, factors: &risk::Application, policy: &Policy) -> Result<Assessment> {
    model.validate(factors).map_err(|fault| AppError::field(fault.field, format!("This {}.", fault.expected)))?;
    Ok(model.assess(factors, policy))
}
