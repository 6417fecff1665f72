//! A bank and its articles in memory: what evaluation runs against, so that thousands of conversations need no database.

mod articles;
mod bank;
mod demonstration;

pub use articles::{MemoryKnowledge, ReadPassage};
pub use bank::{MemoryBank, MemoryCustomer};
