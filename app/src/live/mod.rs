//! Fan-out of what just happened to the browsers that look at it.
//!
//! [`Live`] has two backs with one face: a broadcast channel in the process, or Redis publish/subscribe
//! between replicas. Events are hints: whoever receives one reads the truth from Postgres, so a lost event costs a
//! refresh, never a fact.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Event {
    /// Where it happened: `conversation:UUID`, `inbox`, `credit`, `person:UUID`.
    pub topic: String,
    /// What: `message`, `typing`, `presence`, `assigned`, `status`, …
    pub kind: String,
    /// Small facts about it.
    pub data: Value,
}

/// The topic of one conversation.
#[must_use]
pub fn conversation_topic(id: Uuid) -> String {
    format!("conversation:{id}")
}

/// The agents' inbox.
pub const INBOX: &str = "inbox";
/// The officers' queue.
pub const CREDIT: &str = "credit";

/// A carrier of events to every replica, this one included.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Sends to everybody who listens, in every replica. Failures are logged, never returned: an event is a hint.
    async fn publish(&self, event: Event);
    /// Everything published from now on.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
}

/// The fan-out that the rest of the program holds.
pub type Live = Arc<dyn Fanout>;

/// One replica: a broadcast channel.
pub struct InProcess {
    sender: broadcast::Sender<Event>,
}

impl Default for InProcess {
    fn default() -> Self {
        Self { sender: broadcast::channel(4096).0 }
    }
}

#[async_trait]
impl Fanout for InProcess {
    async fn publish(&self, event: Event) {
        // No receiver is no failure: nobody is looking.
        let _ = self.sender.send(event);
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
