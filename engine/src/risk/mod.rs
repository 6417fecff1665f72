//! Fraud risk of loan applications: scored by boosted trees, explained exactly, judged by a policy.
//!
//! See `README.md` in this folder for the method and its sources.

mod application;
mod assessment;
mod factors;
mod policy;
mod rules;

pub use application::{Application, Invalid, Value};
pub use assessment::{Assessment, Attribution, Reason};
pub use factors::{Catalogue, Factor, Kind, Monotone, Role, Unit};
pub use policy::{Band, Bands, Policy, PolicyError, Proposal, Proposals, RuleHit};
pub use rules::{Comparison, Condition, Operand, Operator, Rule};
