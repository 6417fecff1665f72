//! People by place, for all replicas: a Redis hash per place.

use async_trait::async_trait;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::replicas::Redis;

use super::{EXPIRY, InProcess, Presence, Present, by_name};

/// One field of the hash.
#[derive(Serialize, Deserialize)]
struct Kept {
    who: Present,
    /// Milliseconds since 1970.
    until: i64,
}

/// Presence in all replicas. Without Redis each one knows its own people.
pub struct Shared {
    redis: Redis,
    own: InProcess,
}

impl Shared {
    /// Presence kept in `redis`.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, own: InProcess::default() }
    }
}

fn key(place: &str) -> String {
    format!("candor:presence:{place}")
}

#[async_trait]
impl Presence for Shared {
    async fn enter(&self, place: &str, who: Present) -> bool {
        let own_news = self.own.enter(place, who.clone()).await;
        let now = Utc::now().timestamp_millis();
        let expiry = i64::try_from(EXPIRY.as_millis()).unwrap_or(i64::MAX);
        let person = who.person.to_string();
        let Ok(kept) = serde_json::to_string(&Kept { who: who.clone(), until: now + expiry }) else { return own_news };
        let before = ::redis::pipe()
            .hget(key(place), &person)
            .hset(key(place), &person, kept)
            .ignore()
            .pexpire(key(place), expiry)
            .ignore()
            .query_async::<(Option<String>,)>(&mut self.redis.connection())
            .await;
        match self.redis.note(before) {
            Some((before,)) => {
                let before = before.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
                !before.is_some_and(|before| before.until > now && before.who == who)
            }
            None => own_news,
        }
    }

    async fn leave(&self, place: &str, person: Uuid) {
        self.own.leave(place, person).await;
        let left =
            ::redis::cmd("HDEL").arg(key(place)).arg(person.to_string()).exec_async(&mut self.redis.connection()).await;
        self.redis.note(left);
    }

    async fn at(&self, places: &[String]) -> Vec<Vec<Present>> {
        if places.is_empty() {
            return Vec::new();
        }
        let mut pipe = ::redis::pipe();
        for place in places {
            pipe.hvals(key(place));
        }
        let found = pipe.query_async::<Vec<Vec<String>>>(&mut self.redis.connection()).await;
        let Some(found) = self.redis.note(found) else { return self.own.at(places).await };
        let now = Utc::now().timestamp_millis();
        let present = |texts: Vec<String>| {
            let kept = texts.iter().filter_map(|text| serde_json::from_str::<Kept>(text).ok());
            by_name(kept.filter(|kept| kept.until > now).map(|kept| kept.who).collect())
        };
        found.into_iter().map(present).collect()
    }
}
