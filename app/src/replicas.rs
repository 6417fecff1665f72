//! The Redis that replicas share.
//!
//! Nothing lives there that must not be lost. When Redis is away, each replica goes on by itself: limits count per
//! replica, presence and events reach the own browsers, and pages fall back to what Postgres says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError};

/// A server that takes longer is treated as away: people wait for the answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// A connection attempt, at the start and later.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A connection that comes back by itself, and the knowledge whether it works.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    works: Arc<AtomicBool>,
}

impl Redis {
    /// Connects.
    ///
    /// # Errors
    /// When there is no Redis at the address: a wrong address is better said at the start.
    pub async fn connect(url: &str) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_with_config(client.clone(), config).await?;
        Ok(Self { client, connection, works: Arc::new(AtomicBool::new(true)) })
    }

    /// Whether the last command was answered.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    /// The client, for connections of its own kind.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The shared connection.
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// Takes the outcome of a command: logs when Redis goes away and when it is back, once each.
    pub(crate) fn note<T>(&self, outcome: Result<T, RedisError>) -> Option<T> {
        match outcome {
            Ok(value) => {
                if !self.works.swap(true, Ordering::Relaxed) {
                    tracing::info!("Redis is back");
                }
                Some(value)
            }
            Err(error) => {
                if self.works.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%error, "Redis does not answer; this replica goes on by itself");
                }
                None
            }
        }
    }
}
