//! What every handler may use, put together at start.

use std::sync::Arc;

use candor_engine::Engine;
use candor_engine::dialogue::saying::Saying;
use candor_engine::generation::Generator;
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::config::{Config, Say};
use crate::crm::SigningKey;
use crate::db::GroupCommit;
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
    /// When a configured Redis can not be reached, or a configured generative model can not be loaded.
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
        Ok(app)
    }

    /// Takes a generative model into use; the assistant speaks in its words where that is configured.
    pub fn use_generator(&mut self, generator: Arc<dyn Generator>) {
        let speaks = self.config.engine.say == Say::Generated;
        self.saying = speaks.then(|| Arc::new(Saying::new(generator.clone(), self.config.engine.tone)));
        self.generator = Some(generator);
    }

    /// The key of the API's access tokens, read on first use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_key(&self) -> Result<&SigningKey> {
        self.token_key.get_or_try_init(|| SigningKey::load(&self.db, self.config.token_key.as_deref())).await
    }
}
