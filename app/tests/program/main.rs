//! The program as its operator meets it: started, killed, stopped, asked for help.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failed test"
)]

mod process;

mod command_line;
mod private_postgres;
mod replicas;
