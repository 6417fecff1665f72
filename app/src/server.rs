//! Assembles the web application. The only module that knows every slice.

use std::net::TcpListener;

use actix_web::middleware::{Compress, NormalizePath, from_fn};
use actix_web::{App as ActixApp, HttpServer, web};
use candor_engine::Engine;
use sqlx::PgPool;

use crate::config::Config;
use crate::live::Live;

/// What every handler may use.
pub struct App {
    /// Configuration.
    pub config: Config,
    /// Postgres.
    pub db: PgPool,
    /// Models.
    pub engine: Engine,
    /// Events to browsers.
    pub live: Live,
}

/// Every route of the program.
pub fn routes(config: &mut web::ServiceConfig) {
    config.configure(crate::pages::routes);
}

/// Serves on `listener` until the process is told to stop.
///
/// # Errors
/// When the listener can not be used.
pub fn serve(app: web::Data<App>, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    Ok(HttpServer::new(move || {
        ActixApp::new()
            .app_data(app.clone())
            .wrap(from_fn(crate::pages::error_pages))
            .wrap(Compress::default())
            .wrap(NormalizePath::trim())
            .configure(routes)
    })
    .listen(listener)?
    .shutdown_timeout(10)
    .run())
}
