//! Fraud risk of loan applications: scored by boosted trees, explained exactly, judged by a policy.
//!
//! See `README.md` in this folder for the method and its sources.

mod application;
mod assessment;
pub mod bench;
mod calibration;
mod cell;
pub mod demo;
mod ensemble;
mod explain;
mod factors;
pub mod fairness;
mod features;
pub mod figures;
mod generator;
pub mod import;
pub mod importance;
mod interactions;
mod layout;
mod model;
#[cfg(test)]
mod model_tests;
mod paths;
mod policy;
mod quadrature;
mod rules;
mod shap;
#[cfg(test)]
mod shap_tests;
pub mod tables;
pub mod training;
pub mod whatif;

pub use application::{Application, Invalid, Value};
pub use assessment::{Assessment, Attribution, Reason};
pub use calibration::CalibrationCurve;
pub use cell::Cell;
pub use ensemble::{Ensemble, MAX_FEATURES_ON_A_PATH, Tree, TreeError};
pub use explain::{Contributions, Explanation, MissingColumns, RowExplainer};
pub use factors::{Catalogue, Direction, Factor, Kind, Leeway, Monotone, Role, Unit};
pub use features::{Feature, UnreadableCell};
pub use generator::{Generated, Generator, Pattern};
pub use interactions::{InteractionScratch, Interactions};
pub use model::{Calibration, FORMAT, Model, ModelError, ModelFile, probability};
pub use policy::{Band, Bands, Policy, PolicyError, Proposal, Proposals, RuleHit};
pub use rules::{Comparison, Condition, Operand, Operator, Rule};
pub use shap::{Explainer, Scratch};

/// The file of the shipped model.
pub const SHIPPED_MODEL: &[u8] = include_bytes!("../../weights/risk/model.json");

/// The card of the shipped model, in Markdown.
pub const SHIPPED_CARD: &str = include_str!("../../weights/risk/README.md");
