//! What the list shows, as a query string that can be sent to a colleague.

use serde::Deserialize;

use crate::conversations::Channel;

/// Longest search that is looked at, in characters.
const LONGEST_SEARCH: usize = 200;

/// The query string as it comes: everything is text, and what can not be read is left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    tab: String,
    intent: String,
    sentiment: String,
    channel: String,
    waiting: String,
    status: String,
    q: String,
    page: String,
    /// Asks for one part of the page instead of the whole: `list`, `thread` or `person`.
    pub(super) part: String,
    /// Puts a canned response into the composer.
    pub(super) canned: String,
    /// Puts the suggested reply into the composer when it is `suggestion`.
    pub(super) insert: String,
    /// What was just done, for the notice above the thread.
    pub(super) done: String,
    /// Shows the thread from its first message.
    pub(super) from: String,
}

/// Whose conversations are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    /// Those that wait for a person and nobody has.
    #[default]
    Unassigned,
    /// The signed-in person's.
    Mine,
    /// Everybody's, those of the assistant too.
    All,
}

impl Tab {
    /// All tabs in the order they are shown.
    pub(super) const ALL: [Self; 3] = [Self::Unassigned, Self::Mine, Self::All];

    /// The name in the query string.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Mine => "mine",
            Self::All => "all",
        }
    }

    /// The tab in words.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unassigned => "Unassigned",
            Self::Mine => "Mine",
            Self::All => "All",
        }
    }
}

/// Values of the filters that have a fixed set, with their words.
pub(super) const STATUSES: [(&str, &str); 4] = [
    ("waiting", "Waiting for a person"),
    ("agent", "With an agent"),
    ("assistant", "With the AI"),
    ("resolved", "Resolved"),
];
pub(super) const SENTIMENTS: [(&str, &str); 3] =
    [("negative", "Unhappy"), ("neutral", "Calm"), ("positive", "Pleased")];
pub(super) const CHANNELS: [(&str, &str); 4] = [("web", "Web"), ("api", "CRM"), ("phone", "Phone"), ("email", "Mail")];
pub(super) const WAITS: [(&str, &str); 4] =
    [("2", "Over 2 min"), ("10", "Over 10 min"), ("60", "Over 1 hour"), ("480", "Over 8 hours")];

/// A channel in words.
pub(super) fn channel_label(channel: Channel) -> &'static str {
    CHANNELS.iter().find(|(name, _)| *name == channel.as_str()).map_or("", |(_, label)| label)
}

/// What the list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) tab: Tab,
    pub(super) intent: Option<String>,
    pub(super) sentiment: Option<String>,
    pub(super) channel: Option<String>,
    /// Minutes somebody has waited for a person, at least.
    pub(super) waiting: Option<i32>,
    pub(super) status: Option<String>,
    pub(super) search: Option<String>,
    /// From 1.
    pub(super) page: i64,
}

impl From<&Query> for Filter {
    fn from(query: &Query) -> Self {
        let known = |value: &str, set: &[(&str, &str)]| {
            set.iter().find(|(name, _)| *name == value).map(|(name, _)| (*name).to_owned())
        };
        let search: String = query.q.trim().chars().filter(|c| !c.is_control()).take(LONGEST_SEARCH).collect();
        let search = Some(search).filter(|text| !text.is_empty());
        // A search looks everywhere unless a tab was named.
        let tab = Tab::ALL.into_iter().find(|tab| tab.name() == query.tab);
        let tab = tab.unwrap_or(if search.is_some() { Tab::All } else { Tab::default() });
        Self {
            tab,
            intent: Some(query.intent.trim().to_owned()).filter(|intent| !intent.is_empty()),
            sentiment: known(&query.sentiment, &SENTIMENTS),
            channel: known(&query.channel, &CHANNELS),
            waiting: known(&query.waiting, &WAITS).and_then(|minutes| minutes.parse().ok()),
            status: known(&query.status, &STATUSES),
            search,
            page: query.page.parse().ok().filter(|page| (1..=10_000).contains(page)).unwrap_or(1),
        }
    }
}

impl Filter {
    /// The query string, without the question mark and without what is not set.
    pub(super) fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("tab", self.tab.name());
        let waiting = self.waiting.map(|minutes| minutes.to_string());
        for (name, value) in [
            ("intent", &self.intent),
            ("sentiment", &self.sentiment),
            ("channel", &self.channel),
            ("waiting", &waiting),
            ("status", &self.status),
            ("q", &self.search),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        query.finish()
    }

    /// The same filter on another tab, from its first page. Filters stay: the counts of two tabs are then comparable.
    pub(super) fn on(&self, tab: Tab) -> Self {
        Self { tab, page: 1, ..self.clone() }
    }

    /// The same filter on another page.
    pub(super) fn at(&self, page: i64) -> Self {
        Self { page, ..self.clone() }
    }

    /// How many filters narrow the tab.
    pub(super) fn count(&self) -> usize {
        [&self.intent, &self.sentiment, &self.channel, &self.status].into_iter().flatten().count()
            + usize::from(self.waiting.is_some())
    }

    /// Whether it asks for a wait of so many minutes, as a select offers them.
    pub(super) fn waits(&self, minutes: &str) -> bool {
        self.waiting.is_some_and(|waiting| minutes.parse() == Ok(waiting))
    }

    /// Whether anything narrows the tab.
    pub(super) fn narrows(&self) -> bool {
        self.count() > 0 || self.search.is_some()
    }

    /// A conversation's number, where the search is one.
    pub(super) fn number(&self) -> Option<i64> {
        self.search.as_deref().and_then(|text| text.trim_start_matches('#').parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Filter {
        let query: Query = actix_web::web::Query::from_query(query).map(actix_web::web::Query::into_inner).unwrap();
        Filter::from(&query)
    }

    #[test]
    fn a_link_says_the_same_as_the_filter_it_was_made_of() {
        let sent = filter(
            "tab=mine&intent=block_card&sentiment=negative&channel=web&waiting=10&status=agent&q=50%25+off&page=3",
        );
        assert_eq!(sent.waiting, Some(10));
        assert_eq!(sent.count(), 5);
        assert_eq!(filter(&sent.query()), sent);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let read = filter("tab=theirs&sentiment=furious&waiting=3&status=&page=-1&q=+");
        assert_eq!(read.query(), "tab=unassigned");
        assert!(!read.narrows());
    }

    #[test]
    fn a_search_looks_everywhere_unless_a_tab_is_named() {
        assert_eq!(filter("q=card").tab, Tab::All);
        assert_eq!(filter("q=card&tab=mine").tab, Tab::Mine);
        assert_eq!(filter("q=%231004").number(), Some(1004));
    }
}
