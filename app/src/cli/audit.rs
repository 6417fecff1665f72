//! `candor audit`.

use clap::Subcommand;

use crate::config::Config;
use crate::db::Database;

use super::Failure;
use super::lines::JsonLines;

/// Check the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Read the whole chain and name the first entry that does not fit. Ends with 1 where there is one.
    Verify,
}

impl Audit {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Verify => tokio::runtime::Runtime::new()?.block_on(verify(config)),
        }
    }
}

async fn verify(config: &Config) -> Result<(), Failure> {
    let database = Database::join(config, |line| eprintln!("{line}")).await?;
    let found = crate::audit::verify(&database.pool).await;
    database.close().await;
    let found = found?;
    let mut output = JsonLines::new();
    output.write(&found)?;
    output.finish()?;
    match found.broken {
        None => Ok(()),
        Some(broken) => Err(Failure::new(format!("the chain is broken at entry {}: {}", broken.number, broken.why))),
    }
}
