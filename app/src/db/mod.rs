//! Postgres: which one, the pool and the migrations.

pub mod embedded;
mod group_commit;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use thiserror::Error;

use crate::config::Config;

use embedded::{Embedded, EmbeddedError};

pub use group_commit::{GroupCommit, Together};

/// All migrations, compiled in. Forward only.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Connections that end by themselves are closed within this time at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A connection that was not used for so long is asked whether it still lives before it is used again.
const RESTED: Duration = Duration::from_millis(200);

/// Why there is no database.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The private Postgres could not be started.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The server of `DATABASE_URL` can not be reached. The address itself holds a password and is not shown.
    #[error("the database of DATABASE_URL can not be used: {0}")]
    Connect(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date: {0}")]
    Migrate(#[from] MigrateError),
}

/// An open database with the current schema.
pub struct Database {
    /// The pool that the program uses.
    pub pool: PgPool,
    embedded: Option<Embedded>,
}

impl Database {
    /// Opens the Postgres of `DATABASE_URL`, or starts the private one, and brings the schema up to date. `tell`
    /// receives a line for each longer step.
    ///
    /// # Errors
    /// When there is no Postgres, or it can not be used.
    pub async fn open(config: &Config, tell: impl Fn(&str) + Clone + Send + Sync + 'static) -> Result<Self, OpenError> {
        let (options, embedded) = if let Some(url) = &config.database_url {
            (PgConnectOptions::from_str(url).map_err(OpenError::Connect)?.application_name("candor"), None)
        } else {
            let embedded = Embedded::start(&config.home, tell.clone()).await?;
            tell(&format!("Postgres {} runs in {}", embedded.version(), config.home.display()));
            (embedded.options(), Some(embedded))
        };
        let database = Self { pool: connect(config, options).await?, embedded };
        if let Err(error) = MIGRATIONS.run(&database.pool).await {
            database.close().await;
            return Err(error.into());
        }
        Ok(database)
    }

    /// Like [`Database::open`], for a command beside a running program: its private Postgres is used where it runs.
    ///
    /// # Errors
    /// When there is no Postgres, or it can not be used.
    pub async fn join(config: &Config, tell: impl Fn(&str) + Clone + Send + Sync + 'static) -> Result<Self, OpenError> {
        match Self::open(config, tell).await {
            Err(OpenError::Embedded(EmbeddedError::InUse { home, .. })) => {
                Ok(Self { pool: connect(config, embedded::running_in(&home)).await?, embedded: None })
            }
            opened => opened,
        }
    }

    /// Whether this is the private Postgres.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Ends all connections, and stops the private Postgres.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.pool.close()).await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

async fn connect(config: &Config, options: PgConnectOptions) -> Result<PgPool, OpenError> {
    PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(Duration::from_secs(10))
        // A connection that was used a moment ago is there: only one that rested is asked first.
        .test_before_acquire(false)
        .before_acquire(|connection, rest| {
            Box::pin(async move {
                if rest.idle_for < RESTED {
                    return Ok(true);
                }
                Ok(connection.ping().await.is_ok())
            })
        })
        .connect_with(options)
        .await
        .map_err(OpenError::Connect)
}
