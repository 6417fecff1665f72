//! Decisions of officers: proposed, confirmed by a second person where the policy asks for one, final.

mod store;

pub use store::{Decision, DecisionStatus, Outcome, last_final, of_application};
