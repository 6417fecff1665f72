//! Policies: which is in force, drafts beside it, and how one takes the other's place.

mod store;

pub use store::{Status, StoredPolicy, active, find, list};
