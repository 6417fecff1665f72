//! The command line. `candor serve` is the default.
//!
//! Commands that read data take a file or standard input and write JSON lines to standard output; progress goes to
//! standard error, so that commands can be piped and their output checked.

mod articles;
mod audit;
mod bench;
mod chat;
mod evaluate;
mod explain;
mod failure;
mod generate;
mod in_order;
mod lines;
mod model;
mod quantize;
mod score;
mod serve;
mod table;
mod train;
mod train_intents;
mod understand;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

use failure::Failure;

/// The front office of a lender in one program.
///
/// Without a command the program starts: see `candor serve --help`. It is configured by candor.toml and by variables;
/// variables win. The ones most often needed:
///
///   DATABASE_URL    Postgres to use instead of a private one
///   REDIS_URL       Redis, where several replicas share one address
///   CANDOR_LISTEN   address and port, 127.0.0.1:8080 unless said otherwise
///   CANDOR_HOME     folder with all state of a private Postgres
#[derive(Debug, Parser)]
#[command(name = "candor", version, verbatim_doc_comment)]
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
    Understand(understand::Understand),
    Chat(chat::Chat),
    Generate(generate::Generate),
    Quantize(quantize::Quantize),
    #[command(subcommand)]
    Evaluate(evaluate::Evaluate),
    Score(score::Score),
    Explain(explain::Explain),
    #[command(subcommand)]
    Train(Box<train::Train>),
    #[command(subcommand)]
    Model(model::Model),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Runs the command line and says how it ended: 0 when all went well, 1 when it did not, 2 for a wrong setting.
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
    let done = match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
        Command::Serve(command) => command.run(config),
        Command::Understand(command) => command.run(&config),
        Command::Chat(command) => command.run(&config),
        Command::Generate(command) => command.run(),
        Command::Quantize(command) => command.run(),
        Command::Evaluate(command) => command.run(&config),
        Command::Score(command) => command.run(&config),
        Command::Explain(command) => command.run(&config),
        Command::Train(command) => command.run(&config),
        Command::Model(command) => command.run(&config),
        Command::Audit(command) => command.run(&config),
        Command::Bench(command) => command.run(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("candor: {failure}");
            ExitCode::FAILURE
        }
    }
}
