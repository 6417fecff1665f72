//! The append-only, hash-chained log of everything that must be answered for.

mod chain;

pub use chain::{Actor, Entry, append};
