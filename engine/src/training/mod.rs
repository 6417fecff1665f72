//! Making models: what changes weights instead of using them.

pub mod awq;
