//! The `candor` command. See `candor --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    candor::cli::run()
}
