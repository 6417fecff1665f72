//! Said, then checked: what the manager decided, in a generator's words. The typed action decides what happens; a model
//! only chooses how it is said, and nothing it says is shown before it has been checked.

pub mod places;
