//! The command line. `candor serve` is the default.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// The front office of a lender in one program.
#[derive(Debug, Parser)]
#[command(name = "candor", version, about, long_about = None)]
struct Cli {
    /// Configuration file (default: candor.toml where it exists).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the program (the default).
    Serve(serve::Serve),
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("candor: {error}");
            return ExitCode::from(2);
        }
    };
    let done = match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
        Command::Serve(command) => command.run(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("candor: {error}");
            ExitCode::FAILURE
        }
    }
}
