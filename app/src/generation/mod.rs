//! The generator that this program uses: a checkpoint folder on this machine, or a server of the OpenAI protocol.

mod remote;

use std::path::Path;
use std::sync::Arc;

use candor_engine::generation::{Generator, Local, LocalOptions};
use tokio::sync::OnceCell;

use crate::config::{Config, EngineConfig};
use crate::{AppError, Result};

pub use remote::Remote;

/// The configured generator; the shipped one where nothing is configured; `None` where that could not start.
///
/// # Errors
/// When the configured model can not be used; the message names the key and what is wrong.
pub async fn open(config: &Config) -> Result<Option<Arc<dyn Generator>>> {
    let Some(model) = &config.engine.model else {
        // Nobody asked for it: without it everything else still works, and `/v1` says what is missing.
        let started = shipped(config).await;
        return Ok(started.inspect_err(|error| tracing::error!(%error, "the shipped generator did not start")).ok());
    };
    let wrong = |reason: String| AppError::Unavailable(format!("engine.model: {reason}"));
    if let Some(url) = model_address(model) {
        let remote = Remote::connect(&url, &config.engine).map_err(|error| wrong(error.to_string()))?;
        return Ok(Some(Arc::new(remote)));
    }
    let folder = Path::new(model).to_owned();
    if !folder.is_dir() {
        return Err(wrong(format!("there is no folder {model}")));
    }
    let options = local_options(&folder, &config.engine);
    let loaded = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || Local::open(&folder, &options)
    });
    let local = loaded.await.map_err(|error| wrong(error.to_string()))?.map_err(|error| wrong(error.to_string()))?;
    for (name, adapter) in adapters(&folder) {
        local.load_adapter(&name, &adapter).await.map_err(|error| wrong(format!("adapter {name}: {error}")))?;
    }
    Ok(Some(Arc::new(local)))
}

/// The shipped generator, started once for the whole program; `weights` may hold another one.
async fn shipped(config: &Config) -> Result<Arc<dyn Generator>> {
    static SHIPPED: OnceCell<Arc<dyn Generator>> = OnceCell::const_new();
    let options = LocalOptions {
        name: config.engine.model_name.clone().unwrap_or_else(|| "candor-generator".to_owned()),
        cache_bytes: config.engine.cache_mib.saturating_mul(1 << 20),
        device: config.engine.device,
        ..LocalOptions::default()
    };
    let folder = config.weights.as_ref().map(|weights| weights.join("generator")).filter(|folder| folder.is_dir());
    let start = || async move {
        let started = tokio::task::spawn_blocking(move || match folder {
            Some(folder) => Local::open(&folder, &options),
            None => Local::shipped(&options),
        });
        let local = started.await.map_err(|error| AppError::Internal(error.to_string()))?;
        let local: Arc<dyn Generator> = Arc::new(local.map_err(|error| AppError::Unavailable(error.to_string()))?);
        Ok::<_, AppError>(local)
    };
    SHIPPED.get_or_try_init(start).await.cloned()
}

/// The model as an address, where it is one and not a folder.
pub(crate) fn model_address(model: &str) -> Option<url::Url> {
    let url = url::Url::parse(model).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

fn local_options(folder: &Path, config: &EngineConfig) -> LocalOptions {
    let name = config.model_name.clone().or_else(|| Some(folder.file_name()?.to_str()?.to_owned()));
    let defaults = LocalOptions::default();
    LocalOptions {
        name: name.unwrap_or_else(|| defaults.name.clone()),
        cache_bytes: config.cache_mib.saturating_mul(1 << 20),
        device: config.device,
        ..defaults
    }
}

/// Adapters that lie in the model's folder: `adapters/NAME/`.
fn adapters(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder.join("adapters")) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let mut found: Vec<_> =
        folders.filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path()))).collect();
    found.sort();
    found
}
