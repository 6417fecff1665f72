//! Fan-out of what just happened to the browsers that look at it.
//!
//! [`Live`] has two backs with one face: a broadcast channel in the process, or Redis publish/subscribe
//! between replicas. Events are hints: whoever receives one reads the truth from Postgres, so a lost event costs a
//! refresh, never a fact.

pub mod presence;
mod redis;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

pub use redis::Shared;

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
    /// Everything published from now on. `Closed` means that the program stops: the stream to the browser ends.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
    /// Those who listen in this replica.
    fn listeners(&self) -> usize;
    /// Ends every subscription, because the program stops.
    fn close(&self);
}

/// The fan-out that the rest of the program holds.
pub type Live = Arc<dyn Fanout>;

/// Events a slow listener may be behind before it misses some and must read everything again.
const BACKLOG: usize = 4096;

/// One replica: a broadcast channel.
pub struct InProcess {
    /// `None` once closed.
    sender: Mutex<Option<broadcast::Sender<Event>>>,
}

impl Default for InProcess {
    fn default() -> Self {
        Self { sender: Mutex::new(Some(broadcast::channel(BACKLOG).0)) }
    }
}

impl InProcess {
    /// Ends every subscription, so that browsers come back and read everything again; new ones go on.
    fn restart(&self) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *sender = broadcast::channel(BACKLOG).0;
        }
    }

    /// Gives an event to those who listen in this process.
    fn deliver(&self, event: Event) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // No receiver is no failure: nobody is looking.
            let _ = sender.send(event);
        }
    }
}

#[async_trait]
impl Fanout for InProcess {
    async fn publish(&self, event: Event) {
        self.deliver(event);
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        match self.sender.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(sender) => sender.subscribe(),
            // Its sender is dropped at once: the receiver reads `Closed`.
            None => broadcast::channel(1).1,
        }
    }

    fn listeners(&self) -> usize {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map_or(0, broadcast::Sender::receiver_count)
    }

    fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_what_is_published_until_the_program_stops() {
        let live = InProcess::default();
        let mut receiver = live.subscribe();
        let event = Event { topic: INBOX.to_owned(), kind: "message".to_owned(), data: Value::Null };
        live.publish(event.clone()).await;
        assert_eq!(receiver.recv().await, Ok(event));
        assert_eq!(live.listeners(), 1);
        live.close();
        assert_eq!(receiver.recv().await, Err(broadcast::error::RecvError::Closed));
        assert_eq!(live.subscribe().recv().await, Err(broadcast::error::RecvError::Closed));
    }
}
