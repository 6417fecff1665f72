//! The queue: which applications, in which order.

use candor_engine::dialogue::Money;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;

use super::super::{Channel, Status};

/// What of the queue is wanted. It is the page's query, so that an address can be sent to a colleague.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    /// Part of a name, a mail address or a number.
    pub(super) q: String,
    /// `low`, `medium` or `high`.
    pub(super) band: String,
    /// A status, `open` (also when empty) or `all`.
    pub(super) status: String,
    /// A channel.
    pub(super) channel: String,
    /// `me`, `nobody` or empty.
    pub(super) who: String,
    /// At least so much, in whole units.
    pub(super) from: String,
    /// At most so much, in whole units.
    pub(super) to: String,
    /// `deadline` (also when empty), `age`, `amount`, `risk` or `name`.
    pub(super) sort: String,
    /// `down` turns the order round.
    pub(super) dir: String,
    /// 1, 2, 3 …
    pub(super) page: String,
}

/// Applications on a page.
pub(super) const PAGE: i64 = 25;
/// The orders a table can have, with what each sorts by when not turned round.
pub(super) const SORTS: [&str; 5] = ["deadline", "age", "amount", "risk", "name"];

impl Filter {
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        [
            ("q", self.q.trim()),
            ("band", self.band.as_str()),
            ("status", self.status.as_str()),
            ("channel", self.channel.as_str()),
            ("who", self.who.as_str()),
            ("from", self.from.trim()),
            ("to", self.to.trim()),
            ("sort", self.sort.as_str()),
            ("dir", self.dir.as_str()),
            ("page", self.page.as_str()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }

    /// The address of the queue with this filter.
    pub(super) fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs() {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if query.is_empty() { "/credit".to_owned() } else { format!("/credit?{query}") }
    }

    /// Whether anything but order and page is chosen.
    pub(super) fn narrows(&self) -> bool {
        self.pairs().iter().any(|(name, _)| !["sort", "dir", "page"].contains(name))
    }

    pub(super) fn sorted_by(&self) -> &str {
        if SORTS.contains(&self.sort.as_str()) { &self.sort } else { "deadline" }
    }

    pub(super) fn is_turned(&self) -> bool {
        self.dir == "down"
    }

    /// The address that sorts by `column`, turned round when it is the present order.
    pub(super) fn sorting(&self, column: &str) -> String {
        let turn = self.sorted_by() == column && !self.is_turned();
        Self {
            sort: column.to_owned(),
            dir: if turn { "down".to_owned() } else { String::new() },
            page: String::new(),
            ..self.clone()
        }
        .address()
    }

    /// For `aria-sort`.
    pub(super) fn aria_sort(&self, column: &str) -> &'static str {
        if self.sorted_by() != column {
            return "none";
        }
        // Newest, largest and riskiest come first unless turned round.
        let falls = ["age", "amount", "risk"].contains(&column);
        if falls == self.is_turned() { "ascending" } else { "descending" }
    }

    pub(super) fn on_page(&self, page: i64) -> String {
        Self { page: if page <= 1 { String::new() } else { page.to_string() }, ..self.clone() }.address()
    }

    pub(super) fn page_number(&self) -> i64 {
        self.page.parse().unwrap_or(1).clamp(1, 100_000)
    }

    fn statuses(&self) -> Vec<String> {
        let chosen = Status::ALL.into_iter().filter(|status| match self.status.as_str() {
            "" | "open" => status.is_open(),
            "all" => true,
            one => status.as_str() == one,
        });
        chosen.map(|status| status.as_str().to_owned()).collect()
    }
}

/// One line of the queue.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) channel: Channel,
    pub(super) status: Status,
    pub(super) band: String,
    pub(super) proposal: String,
    pub(super) probability: f64,
    pub(super) received_at: DateTime<Utc>,
    pub(super) decide_by: DateTime<Utc>,
    pub(super) assignee: Option<String>,
    pub(super) total: i64,
}

impl Line {
    pub(super) fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency.clone())
    }
}

/// The lines of a filter, `limit` of them from `offset`; each carries how many there are in all.
pub(super) async fn lines(db: &PgPool, me: Uuid, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<Line>> {
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    // What is no number narrows nothing: the field shows what was typed.
    let minor = |text: &str| text.trim().parse::<i64>().ok().map(|whole| whole.saturating_mul(100));
    let lines = sqlx::query_as!(
        Line,
        r#"select a.id, a.number, a.applicant ->> 'name' as "name!", a.applicant ->> 'email' as "email!",
                  a.amount_minor, a.currency, a.channel as "channel: Channel", a.status as "status: Status",
                  s.band, s.proposal, s.probability, a.received_at, a.decide_by, p.name as "assignee?",
                  count(*) over () as "total!"
           from applications a
           join lateral (select band, proposal, probability from assessments
                         where application_id = a.id order by created_at desc, id desc limit 1) s on true
           left join people p on p.id = a.assignee_id
           where a.status = any($1)
             and ($2::text is null or position(lower($2) in lower((a.applicant ->> 'name') || ' ' || coalesce(a.email, '') || ' ' || a.number)) > 0)
             and ($3::text is null or s.band = $3)
             and ($4::text is null or a.channel = $4)
             and ($5::text is null or ($5 = 'me' and a.assignee_id = $6) or ($5 = 'nobody' and a.assignee_id is null))
             and ($7::bigint is null or a.amount_minor >= $7)
             and ($8::bigint is null or a.amount_minor <= $8)
           order by
             case when $9 = 'deadline' and not $10 then a.decide_by end asc,
             case when $9 = 'deadline' and $10 then a.decide_by end desc,
             case when $9 = 'age' and not $10 then a.received_at end desc,
             case when $9 = 'age' and $10 then a.received_at end asc,
             case when $9 = 'amount' and not $10 then a.amount_minor end desc,
             case when $9 = 'amount' and $10 then a.amount_minor end asc,
             case when $9 = 'risk' and not $10 then s.probability end desc,
             case when $9 = 'risk' and $10 then s.probability end asc,
             case when $9 = 'name' and not $10 then lower(a.applicant ->> 'name') end asc,
             case when $9 = 'name' and $10 then lower(a.applicant ->> 'name') end desc,
             a.number
           limit $11 offset $12"#,
        &filter.statuses(),
        text(&filter.q),
        text(&filter.band),
        text(&filter.channel),
        text(&filter.who),
        me,
        minor(&filter.from),
        minor(&filter.to),
        filter.sorted_by(),
        filter.is_turned(),
        limit,
        offset,
    )
    .fetch_all(db)
    .await?;
    Ok(lines)
}

/// Open applications by band, and those that wait for a second person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) high: i64,
    pub(super) medium: i64,
    pub(super) low: i64,
    pub(super) second: i64,
    pub(super) due: i64,
}

pub(super) async fn counts(db: &PgPool) -> Result<Counts> {
    let counts = sqlx::query_as!(
        Counts,
        r#"select count(*) filter (where s.band = 'high') as "high!", count(*) filter (where s.band = 'medium') as "medium!",
                  count(*) filter (where s.band = 'low') as "low!",
                  count(*) filter (where a.status = 'pending_second') as "second!",
                  count(*) filter (where a.decide_by < now() + interval '7 days') as "due!"
           from applications a
           join lateral (select band from assessments
                         where application_id = a.id order by created_at desc, id desc limit 1) s on true
           where a.status in ('received', 'documents', 'referred', 'pending_second')"#,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_twice_by_the_same_column_turns_it_round() {
        let filter = Filter { band: "high".to_owned(), page: "3".to_owned(), ..Filter::default() };
        assert_eq!(filter.sorting("risk"), "/credit?band=high&sort=risk");
        let filter = Filter { sort: "risk".to_owned(), ..filter };
        assert_eq!(filter.sorting("risk"), "/credit?band=high&sort=risk&dir=down");
        assert_eq!((filter.aria_sort("risk"), filter.aria_sort("age")), ("descending", "none"), "the riskiest first");
        let turned = Filter { dir: "down".to_owned(), ..filter.clone() };
        assert_eq!(turned.aria_sort("risk"), "ascending");
        assert_eq!(filter.on_page(2), "/credit?band=high&sort=risk&page=2");
    }

    #[test]
    fn an_empty_filter_shows_what_is_open() {
        assert_eq!(Filter::default().statuses(), ["received", "documents", "referred", "pending_second"]);
        assert!(!Filter::default().narrows());
    }
}
