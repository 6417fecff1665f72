//! Decisions of officers: proposed, confirmed by a second person where the policy asks for one, final.

mod decide;
mod store;
mod verdict;

pub use decide::{Consequence, confirm, consequence, decide, refuse};
pub use store::{Decision, DecisionStatus, Outcome, find, last_final, of_application};
pub use verdict::{OVERRIDE_REASON_LETTERS, Verdict, is_override};
