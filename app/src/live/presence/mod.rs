//! Who is looking at what.
//!
//! A page that shows something says so every [`REFRESH`]; whoever stays silent for [`EXPIRY`] is taken as gone, so
//! a closed laptop does not block a conversation.

mod redis;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use redis::Shared;

/// How often a page repeats that it is looked at.
pub const REFRESH: Duration = Duration::from_secs(10);
/// After this silence a person is gone.
pub const EXPIRY: Duration = Duration::from_secs(30);

/// Somebody who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The person's id.
    pub person: Uuid,
    /// The person's name.
    pub name: String,
    /// What they do there.
    pub doing: Doing,
}

/// What somebody does at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Has it open.
    Viewing,
    /// Writes a reply.
    Replying,
}

/// People by place. A place is a topic of [`crate::live`], for instance `conversation:UUID`.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Comes, stays, or changes what they do. Returns whether that is new to others, so that only then an event is sent.
    async fn enter(&self, place: &str, who: Present) -> bool;
    /// Goes. A person with the same place open twice comes back with the other page's next refresh.
    async fn leave(&self, place: &str, person: Uuid);
    /// Who is at each of `places`, in the order of the places and of the names.
    async fn at(&self, places: &[String]) -> Vec<Vec<Present>>;
}

/// The presence that the rest of the program holds.
pub type PresentPeople = Arc<dyn Presence>;

/// People at one place, each with the time until which they are taken as there.
type People = HashMap<Uuid, (Present, Instant)>;

/// One replica: a map in the process.
#[derive(Default)]
pub struct InProcess {
    places: Mutex<HashMap<String, People>>,
}

impl InProcess {
    fn enter_at(&self, place: &str, who: Present, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // People are few and places are visited often: sweeping at each visit keeps the map as small as the desk.
        places.retain(|_, people| {
            people.retain(|_, (_, until)| *until > now);
            !people.is_empty()
        });
        let known = places
            .entry(place.to_owned())
            .or_default()
            .insert(who.person, (who.clone(), now + EXPIRY))
            .is_some_and(|(before, _)| before == who);
        !known
    }

    fn at_time(&self, place: &str, now: Instant) -> Vec<Present> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let people = places.get(place).into_iter().flat_map(HashMap::values);
        by_name(people.filter(|(_, until)| *until > now).map(|(who, _)| who.clone()).collect())
    }
}

/// A stable order for pages.
pub(super) fn by_name(mut people: Vec<Present>) -> Vec<Present> {
    people.sort_by(|a, b| (&a.name, a.person).cmp(&(&b.name, b.person)));
    people
}

#[async_trait]
impl Presence for InProcess {
    async fn enter(&self, place: &str, who: Present) -> bool {
        self.enter_at(place, who, Instant::now())
    }

    async fn leave(&self, place: &str, person: Uuid) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(people) = places.get_mut(place) {
            people.remove(&person);
        }
    }

    async fn at(&self, places: &[String]) -> Vec<Vec<Present>> {
        let now = Instant::now();
        places.iter().map(|place| self.at_time(place, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(name: &str, doing: Doing) -> Present {
        Present { person: Uuid::from_u128(u128::from(name.as_bytes()[0])), name: name.to_owned(), doing }
    }

    #[test]
    fn people_are_seen_until_they_fall_silent() {
        let presence = InProcess::default();
        let start = Instant::now();
        assert!(presence.enter_at("a", present("Mia", Doing::Viewing), start));
        assert!(!presence.enter_at("a", present("Mia", Doing::Viewing), start), "staying is no news");
        assert!(presence.enter_at("a", present("Mia", Doing::Replying), start), "replying is");
        presence.enter_at("a", present("Ben", Doing::Viewing), start + Duration::from_secs(20));
        let names = |at: Instant| presence.at_time("a", at).into_iter().map(|who| who.name).collect::<Vec<_>>();
        assert_eq!(names(start + Duration::from_secs(20)), ["Ben", "Mia"]);
        assert_eq!(names(start + Duration::from_secs(31)), ["Ben"]);
        assert!(names(start + Duration::from_secs(51)).is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_is_gone_at_once() {
        let presence = InProcess::default();
        let mia = present("Mia", Doing::Viewing);
        presence.enter("a", mia.clone()).await;
        presence.leave("a", mia.person).await;
        assert_eq!(presence.at(&["a".to_owned(), "b".to_owned()]).await, [vec![], vec![]]);
    }
}
