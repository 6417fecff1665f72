//! The program as its operator meets it: started, killed, stopped, asked for help.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failed test"
)]

mod pairs;
mod process;

mod command_line;
mod faults;
mod private_postgres;
mod replicas;
