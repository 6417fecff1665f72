//! The web server: every route, every kind of job. The only module that knows every slice.

use std::net::TcpListener;

use actix_web::middleware::{Compress, NormalizePath, from_fn};
use actix_web::{App as ActixApp, HttpServer, web};
use candor_engine::Engine;
use sqlx::PgPool;

use crate::Result;
use crate::app::App;
use crate::config::Config;
use crate::jobs::Handlers;

/// Puts the parts together and lets each slice keep in the database what the program brings.
///
/// # Errors
/// As [`App::assemble`]; when a configured risk model can not be read or the database fails.
pub async fn open(config: Config, db: PgPool, engine: Engine) -> Result<App> {
    let app = App::assemble(config, db, engine).await?;
    crate::applications::models::install_brought(&app.db, app.config.weights.as_deref()).await?;
    crate::applications::reasons::install(&app.db).await?;
    Ok(app)
}

/// Every route of the program.
pub fn routes(config: &mut web::ServiceConfig) {
    config.configure(crate::pages::routes).configure(crate::monitoring::routes);
    config.configure(crate::accounts::routes).configure(crate::audit::routes);
    config.configure(crate::manage::routes).configure(crate::reports::routes);
    config.configure(crate::conversations::chat::routes);
    config.configure(crate::knowledge::routes);
    config.configure(crate::crm::routes).configure(crate::openai::routes);
    config.configure(crate::conversations::desk::routes);
    config.configure(crate::applications::routes);
}

/// What does the jobs of each kind. A slice adds one line `.with(its handler)`.
#[must_use]
pub fn handlers() -> Handlers {
    Handlers::default()
        .with(crate::conversations::AnswerLater)
        .with(crate::conversations::silence::Remind)
        .with(crate::conversations::Summarise)
        .with(crate::webhooks::Deliver::default())
        .with(crate::applications::letters::MailLetter)
        .with(crate::applications::retention::EraseApplications)
}

/// Serves on `listener` with `workers` threads until its handle stops it. Signals are the caller's business.
///
/// # Errors
/// When the listener can not be used.
pub fn serve(app: web::Data<App>, listener: TcpListener, workers: usize) -> std::io::Result<actix_web::dev::Server> {
    Ok(HttpServer::new(move || {
        ActixApp::new()
            .app_data(app.clone())
            .wrap(from_fn(crate::accounts::same_origin))
            .wrap(from_fn(crate::pages::error_pages))
            .wrap(Compress::default())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(crate::monitoring::security_headers))
            .wrap(from_fn(crate::monitoring::observe))
            .configure(routes)
    })
    .workers(workers)
    // A stream's next piece leaves at once, and not when the one before has been acknowledged.
    .tcp_nodelay(true)
    .disable_signals()
    .listen(listener)?
    .shutdown_timeout(10)
    .run())
}
