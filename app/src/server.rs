//! Assembles the web application. The only module that knows every slice.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::middleware::{Compress, NormalizePath, from_fn};
use actix_web::{App as ActixApp, HttpServer, web};
use candor_engine::dialogue::saying::Saying;
use candor_engine::generation::Generator;
use candor_engine::{Engine, risk};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::config::{Config, Say};
use crate::crm::SigningKey;
use crate::db::GroupCommit;
use crate::jobs::Handlers;
use crate::limits::{self, Limits};
use crate::live::presence::{self, PresentPeople};
use crate::live::{self, Live};
use crate::monitoring::Metrics;
use crate::replicas::Redis;
use crate::{AppError, Result};

/// What every handler may use.
pub struct App {
    /// Configuration.
    pub config: Config,
    /// Postgres.
    pub db: PgPool,
    /// Ends transactions that hold the end of the audit chain.
    pub commits: GroupCommit,
    /// Models.
    pub engine: Engine,
    /// The generative model, where one is configured.
    pub generator: Option<Arc<dyn Generator>>,
    /// What the assistant decides in that model's words, where that is configured.
    pub saying: Option<Arc<Saying>>,
    /// Events to browsers.
    pub live: Live,
    /// How often somebody may do something.
    pub limits: Limits,
    /// Who looks at what.
    pub presence: PresentPeople,
    /// What replicas share, where it is configured.
    pub redis: Option<Redis>,
    /// What is counted as it happens.
    pub metrics: Metrics,
    /// Passages of the published articles.
    pub knowledge: crate::knowledge::Index,
    /// Signs and verifies the access tokens of the API; see [`App::token_key`].
    token_key: OnceCell<SigningKey>,
}

impl App {
    /// Puts the parts together: shared through Redis where it is configured, in this process otherwise.
    ///
    /// # Errors
    /// When a configured Redis can not be reached, or a configured model can not be loaded.
    pub async fn assemble(config: Config, db: PgPool, engine: Engine) -> Result<Self> {
        let generator = crate::generation::open(&config).await?;
        let mut app = Self {
            commits: GroupCommit::start(db.clone()),
            config,
            db,
            engine,
            saying: None,
            generator: None,
            live: Arc::new(live::InProcess::default()),
            limits: Arc::new(limits::InProcess::default()),
            presence: Arc::new(presence::InProcess::default()),
            redis: None,
            metrics: Metrics::new().map_err(|error| AppError::Internal(error.to_string()))?,
            knowledge: crate::knowledge::Index::default(),
            token_key: OnceCell::new(),
        };
        if let Some(generator) = generator {
            app.use_generator(generator);
        }
        if let Some(url) = &app.config.redis_url {
            let unreachable = |error| AppError::Unavailable(format!("redis_url: Redis can not be reached: {error}"));
            let redis = Redis::connect(url).await.map_err(unreachable)?;
            app.live = Arc::new(live::Shared::subscribe(redis.clone()).await.map_err(unreachable)?);
            app.limits = Arc::new(limits::Shared::new(redis.clone()));
            app.presence = Arc::new(presence::Shared::new(redis.clone()));
            app.redis = Some(redis);
        }
        app.install_risk_model().await?;
        crate::applications::reasons::install(&app.db).await?;
        Ok(app)
    }

    /// Takes a generative model into use; the assistant speaks in its words where that is configured.
    pub fn use_generator(&mut self, generator: Arc<dyn Generator>) {
        let speaks = self.config.engine.say == Say::Generated;
        self.saying = speaks.then(|| Arc::new(Saying::new(generator.clone(), self.config.engine.tone)));
        self.generator = Some(generator);
    }

    /// Keeps the risk model that the program came with; see [`crate::applications::models::install`].
    async fn install_risk_model(&self) -> Result<()> {
        let folder = self.config.weights.as_ref().map(|folder| folder.join("risk"));
        let unreadable = |error: std::io::Error| AppError::Unavailable(format!("weights: the risk model: {error}"));
        let (file, card) = match folder {
            // A new bank gets the program's own model with its first application.
            None if crate::applications::models::list(&self.db).await?.is_empty() => return Ok(()),
            None => (risk::SHIPPED_MODEL.to_vec(), risk::SHIPPED_CARD.to_owned()),
            Some(folder) => (
                std::fs::read(folder.join("model.json")).map_err(unreadable)?,
                std::fs::read_to_string(folder.join("README.md")).unwrap_or_default(),
            ),
        };
        crate::applications::models::install(&self.db, &file, &card).await
    }

    /// The key of the API's access tokens, read on first use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_key(&self) -> Result<&SigningKey> {
        self.token_key.get_or_try_init(|| SigningKey::load(&self.db, self.config.token_key.as_deref())).await
    }
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
