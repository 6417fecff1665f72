//! Said, then checked: what the manager decided, in a generator's words.
//!
//! The typed action decides what happens; a model only chooses how it is said. Values are taken out before it is asked
//! and put back afterwards ([`places`]), and nothing it says is shown before it has been checked ([`check`]).

pub mod check;
pub mod places;
