//! `candor serve`.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::web;
use candor_engine::Engine;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::server::{App, handlers, serve};
use crate::{AppError, Result, db, jobs};

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
            let app = web::Data::new(App::new(config, pool, engine));
            let worker = jobs::start(app.clone(), handlers());
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            let server = serve(app.clone(), listener, threads).map_err(internal)?;
            let handle = server.handle();
            let serving = actix_web::rt::spawn(server);
            told_to_stop().await.map_err(internal)?;
            app.live.close();
            handle.stop(true).await;
            serving.await.map_err(internal)?.map_err(internal)?;
            worker.stop(Duration::from_secs(10)).await;
            app.db.close().await;
            Ok(())
        })
    }
}

fn internal(error: impl std::fmt::Display) -> AppError {
    AppError::Internal(error.to_string())
}

/// Waits for Ctrl-C or SIGTERM.
async fn told_to_stop() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
