//! What became known of applications after they were scored: officers' verdicts and later outcomes, each with the time at
//! which the bank knew it. They are what the next model is trained on and what the present one is measured by.

mod label;
mod store;
mod training;

pub use label::{Label, LabelKind, Source};
pub use store::{known, of_application, record};
pub use training::{Labelled, labelled};
