//! Refused fields of a form, as its page shows them again.

use crate::error::FieldError;

/// The refusals of one submitted form: a summary at the top, each message beside its field.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Vec<FieldError>);

impl Refusals {
    /// Nothing refused.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Refuses `field` because of `message`.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the form.
    #[must_use]
    pub fn all(&self) -> &[FieldError] {
        &self.0
    }

    /// The message beside `field`.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|error| error.field == field).map(|error| error.message.as_str())
    }
}

impl From<Vec<FieldError>> for Refusals {
    fn from(errors: Vec<FieldError>) -> Self {
        Self(errors)
    }
}
