//! Events between replicas: Redis publish/subscribe.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use redis::RedisError;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::replicas::Redis;

use super::{Event, Fanout, InProcess};

/// The channel of all replicas.
const CHANNEL: &str = "candor:live";
/// Pause before the subscription is tried again, doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An event on its way.
#[derive(Serialize, Deserialize)]
struct Envelope {
    /// The replica that sent it, which has delivered it to its own browsers already.
    from: Uuid,
    event: Event,
}

/// Events to the browsers of all replicas. Without Redis each replica tells its own.
pub struct Shared {
    redis: Redis,
    replica: Uuid,
    own: Arc<InProcess>,
    subscription: JoinHandle<()>,
}

impl Shared {
    /// Subscribes, and stays subscribed on the current runtime.
    ///
    /// # Errors
    /// When the first subscription fails.
    pub async fn subscribe(redis: Redis) -> Result<Self, RedisError> {
        let own = Arc::new(InProcess::default());
        let replica = Uuid::new_v4();
        let messages = messages(&redis).await?;
        let subscription = tokio::spawn(receive(redis.clone(), replica, Arc::clone(&own), messages));
        Ok(Self { redis, replica, own, subscription })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.subscription.abort();
    }
}

async fn messages(redis: &Redis) -> Result<redis::aio::PubSubStream, RedisError> {
    let mut subscription = redis.client().get_async_pubsub().await?;
    subscription.subscribe(CHANNEL).await?;
    Ok(subscription.into_on_message())
}

/// Gives what other replicas send to the browsers of this one.
async fn receive(redis: Redis, replica: Uuid, own: Arc<InProcess>, mut stream: redis::aio::PubSubStream) {
    loop {
        while let Some(message) = stream.next().await {
            match serde_json::from_slice::<Envelope>(message.get_payload_bytes()) {
                Ok(envelope) if envelope.from == replica => {}
                Ok(envelope) => own.deliver(envelope.event),
                Err(error) => tracing::warn!(%error, "an event of another replica could not be read"),
            }
        }
        tracing::warn!("the subscription to other replicas' events ended");
        stream = subscribe_again(&redis).await;
        // What was sent in between is lost: whoever listens reads everything again.
        own.restart();
        tracing::info!("subscribed to other replicas' events again");
    }
}

async fn subscribe_again(redis: &Redis) -> redis::aio::PubSubStream {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        if let Ok(stream) = messages(redis).await {
            return stream;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[async_trait]
impl Fanout for Shared {
    async fn publish(&self, event: Event) {
        // Own browsers first: they hear of it even when Redis is away.
        self.own.deliver(event.clone());
        let Ok(envelope) = serde_json::to_vec(&Envelope { from: self.replica, event }) else { return };
        let mut connection = self.redis.connection();
        let sent = redis::cmd("PUBLISH").arg(CHANNEL).arg(envelope).exec_async(&mut connection).await;
        self.redis.note(sent);
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.own.subscribe()
    }

    fn listeners(&self) -> usize {
        self.own.listeners()
    }

    fn close(&self) {
        self.own.close();
    }
}
