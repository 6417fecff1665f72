//! `candor model`.

use std::path::{Path, PathBuf};

use candor_engine::risk::training::Variant;
use clap::Subcommand;
use serde_json::json;

use crate::applications::models;
use crate::audit::Actor;
use crate::config::Config;
use crate::db::Database;

use super::Failure;
use super::lines::JsonLines;
use super::train::ALTERNATIVES;

/// Keep risk models.
#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Register a model with its card, as `candor train risk` writes them. It scores nothing until a manager lets it score
    /// in shadow, and counts only when a second person puts it in force.
    Add {
        /// Folder with model.json and README.md, and alternatives.json where the training searched for any.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

impl Model {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Add { folder } => tokio::runtime::Runtime::new()?.block_on(add(config, &folder)),
        }
    }
}

async fn add(config: &Config, folder: &Path) -> Result<(), Failure> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| Failure::from(error).at(path.display()))
    };
    let (file, card) = (read("model.json")?, String::from_utf8_lossy(&read("README.md")?).into_owned());
    let variants: Vec<Variant> = match read(ALTERNATIVES) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| Failure::from(error).at(ALTERNATIVES))?,
        // The training did not search.
        Err(_) if !folder.join(ALTERNATIVES).exists() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let database = Database::join(config, |line| eprintln!("{line}")).await?;
    let registered = register(&database, &file, &card, &variants).await;
    database.close().await;
    let mut output = JsonLines::new();
    output.write(&json!({ "id": registered? }))?;
    output.finish()
}

async fn register(database: &Database, file: &[u8], card: &str, variants: &[Variant]) -> crate::Result<uuid::Uuid> {
    let mut transaction = database.pool.begin().await?;
    let id = models::register(&mut transaction, &Actor::System, file, card).await?;
    if !variants.is_empty() {
        models::keep_alternatives(&mut transaction, id, variants).await?;
    }
    transaction.commit().await?;
    Ok(id)
}
