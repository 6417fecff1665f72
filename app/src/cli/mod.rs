//! The command line. `candor serve` is the default.

mod failure;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

use failure::Failure;

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
    Serve(serve::Serve),
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    // TLS for mail, webhooks and databases; a second provider can not be there before this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("candor: {error}");
            return ExitCode::from(2);
        }
    };
    let done: Result<(), Failure> = match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
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
