//! The model's answer about one application, and the same answer again.

use candor_engine::Engine;
use candor_engine::risk::{self, Assessment, Policy};

use crate::{AppError, Result};

/// Scores, explains and judges.
pub(super) fn assess(engine: &Engine, factors: &risk::Application, policy: &Policy) -> Result<Assessment> {
    let _ = (engine, factors, policy);
    Err(AppError::Unavailable("The risk model is not loaded.".to_owned()))
}
