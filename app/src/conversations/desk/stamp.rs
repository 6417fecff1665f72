//! Times as agents read them: short and relative, exact on demand.

use chrono::{DateTime, Utc};

/// What is less than a minute ago.
const NOW: &str = "now";

/// A point in time, ready for a `time` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// For `datetime`.
    pub(super) iso: String,
    /// For `title`.
    pub(super) exact: String,
    /// How long ago: `now`, `4 min`, `2 h`, `3 d`.
    pub(super) since: String,
    /// The hour and minute, and the day where it is not today: `14:02`, `3 Nov 14:02`.
    pub(super) clock: String,
}

impl Stamp {
    /// The stamp of `at`, seen from `now`.
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let clock = if at.date_naive() == now.date_naive() { "%H:%M" } else { "%-d %b %H:%M" };
        Self {
            iso: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            exact: at.format("%A %-d %B %Y, %H:%M:%S UTC").to_string(),
            since: since((now - at).num_seconds()),
            clock: at.format(clock).to_string(),
        }
    }
}

impl Stamp {
    /// The same as a time that somebody has waited: `under 1 min`, `4 min`, `2 h`, `3 d`.
    pub(super) fn waited(&self) -> &str {
        if self.since == NOW { "under 1 min" } else { &self.since }
    }
}

/// A duration in the largest unit that fits.
fn since(seconds: i64) -> String {
    match seconds {
        ..60 => NOW.to_owned(),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_short_and_names_the_day_when_it_is_not_today() {
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        let at = |text: &str| Stamp::new(text.parse().unwrap(), now);
        assert_eq!(at("2026-11-23T14:59:30Z").since, "now");
        assert_eq!(at("2026-11-23T14:59:30Z").waited(), "under 1 min");
        assert_eq!(at("2026-11-23T14:02:00Z").since, "58 min");
        assert_eq!(at("2026-11-23T14:02:00Z").waited(), "58 min");
        assert_eq!(at("2026-11-23T14:02:00Z").clock, "14:02");
        assert_eq!(at("2026-11-20T14:02:00Z").since, "3 d");
        assert_eq!(at("2026-11-20T14:02:00Z").clock, "20 Nov 14:02");
    }
}
