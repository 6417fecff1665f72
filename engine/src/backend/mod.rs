//! Arithmetic on buffers that the caller owns.
//!
//! A model's forward pass is a list of these operations over memory allocated once; there is no graph of tensors.

pub(crate) mod cpu;
