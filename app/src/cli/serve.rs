//! `candor serve`.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web;
use candor_engine::Engine;
use clap::Args;

use crate::config::Config;
use crate::live::InProcess;
use crate::server::{App, serve};
use crate::{AppError, Result, db};

/// Start the program.
#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Fill an empty database with the demonstration bank, also where DATABASE_URL is given.
    #[arg(long)]
    demo: bool,
}

impl Serve {
    /// Starts everything and waits until it is told to stop.
    pub(super) fn run(self, config: Config) -> Result<()> {
        actix_web::rt::System::new().block_on(async move {
            let url = config
                .database_url
                .clone()
                .ok_or_else(|| AppError::Unavailable("DATABASE_URL is not set".to_owned()))?;
            let pool = db::open(&url, config.database_connections).await?;
            let engine = Engine::load(&candor_engine::Options::default())
                .map_err(|error| AppError::Unavailable(error.to_string()))?;
            let listener = TcpListener::bind(config.listen)
                .map_err(|error| AppError::Unavailable(format!("{}: {error}", config.listen)))?;
            let app = web::Data::new(App { config, db: pool, engine, live: Arc::new(InProcess::default()) });
            serve(app, listener)
                .map_err(|error| AppError::Internal(error.to_string()))?
                .await
                .map_err(|error| AppError::Internal(error.to_string()))
        })
    }
}
