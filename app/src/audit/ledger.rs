//! Reading the log: by number, by who, what, subject and time.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool};

use crate::{AppError, Result};

/// What of the log is wanted. It is the page's query, so that an address can be sent to a colleague.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only this action, for instance `decision.made`.
    pub action: String,
    /// Part of a name, or an actor's id.
    pub who: String,
    /// The kind of thing, for instance `application`, or `kind:id`, or an id.
    pub subject: String,
    /// From this day on (UTC), `YYYY-MM-DD`.
    pub from: String,
    /// Up to and with this day (UTC).
    pub to: String,
    /// Only entries with a smaller number: the next page.
    pub before: String,
}

impl Filter {
    /// The same filter without the page.
    #[must_use]
    pub fn first_page(&self) -> Self {
        Self { before: String::new(), ..self.clone() }
    }

    /// The same filter, going on below `number`.
    #[must_use]
    pub fn below(&self, number: i64) -> Self {
        Self { before: number.to_string(), ..self.clone() }
    }

    /// As the query of an address, without what is empty.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs() {
            query.append_pair(name, value);
        }
        query.finish()
    }

    /// What is filled in.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        [
            ("action", self.action.as_str()),
            ("who", self.who.as_str()),
            ("subject", self.subject.as_str()),
            ("from", self.from.as_str()),
            ("to", self.to.as_str()),
            ("before", self.before.as_str()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }

    /// Whether anything but the page is chosen.
    #[must_use]
    pub fn narrows(&self) -> bool {
        self.pairs().iter().any(|(name, _)| *name != "before")
    }

    fn day(field: &'static str, text: &str) -> Result<Option<DateTime<Utc>>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let day: NaiveDate = text.trim().parse().map_err(|_| AppError::field(field, "Enter a date as YYYY-MM-DD."))?;
        Ok(Some(day.and_time(NaiveTime::MIN).and_utc()))
    }
}

/// One entry.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerEntry {
    /// Number.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `person`, `client`, `customer` or `system`.
    pub actor_kind: String,
    /// The actor's id.
    pub actor_id: String,
    /// The actor's name at the time.
    pub actor_name: String,
    /// What was done.
    pub action: String,
    /// The kind of thing it was done to.
    pub subject_kind: String,
    /// The thing's id.
    pub subject_id: String,
    /// Canonical JSON.
    pub details: String,
    /// Hash of the entry before, in hexadecimal.
    pub previous_hash: String,
    /// Its own hash, in hexadecimal.
    pub hash: String,
}

impl LedgerEntry {
    /// The first eight digits of the hash.
    #[must_use]
    pub fn short_hash(&self) -> &str {
        self.hash.get(..8).unwrap_or(&self.hash)
    }

    /// A page of ours about the subject, where there is one.
    #[must_use]
    pub fn subject_link(&self) -> Option<String> {
        match self.subject_kind.as_str() {
            "application" => Some(format!("/audit/applications/{}", self.subject_id)),
            _ => None,
        }
    }

    /// The subject as a filter of the ledger.
    #[must_use]
    pub fn subject_filter(&self) -> String {
        Filter { subject: format!("{}:{}", self.subject_kind, self.subject_id), ..Filter::default() }.query()
    }
}

/// Up to `limit` entries, the newest first.
///
/// # Errors
/// [`AppError::Invalid`] for a date or number that is none; when the database fails.
pub async fn entries(db: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<LedgerEntry>> {
    let from = Filter::day("from", &filter.from)?;
    let until = Filter::day("to", &filter.to)?.map(|day| day + TimeDelta::days(1));
    let before = match filter.before.trim() {
        "" => None,
        text => Some(text.parse::<i64>().map_err(|_| AppError::field("before", "Enter an entry's number."))?),
    };
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (subject_kind, subject_id) = match filter.subject.trim().split_once(':') {
        Some((kind, id)) => (text(kind), text(id)),
        None => (None, text(&filter.subject)),
    };
    let entries = sqlx::query_as!(
        LedgerEntry,
        r#"select number, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, details,
                  encode(previous_hash, 'hex') as "previous_hash!", encode(hash, 'hex') as "hash!"
           from audit_entries
           where ($1::bigint is null or number < $1)
             and ($2::text is null or action = $2)
             and ($3::text is null or actor_id = $3 or position(lower($3) in lower(actor_name)) > 0)
             and ($4::text is null or subject_kind = $4)
             and ($5::text is null or subject_id = $5 or ($4 is null and subject_kind = $5))
             and ($6::timestamptz is null or at >= $6)
             and ($7::timestamptz is null or at < $7)
           order by number desc limit $8"#,
        before,
        text(&filter.action),
        text(&filter.who),
        subject_kind,
        subject_id,
        from,
        until,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(entries)
}

/// One entry by its number.
///
/// # Errors
/// [`AppError::NotFound`] when there is none with this number.
pub async fn entry(db: &PgPool, number: i64) -> Result<LedgerEntry> {
    sqlx::query_as!(
        LedgerEntry,
        r#"select number, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, details,
                  encode(previous_hash, 'hex') as "previous_hash!", encode(hash, 'hex') as "hash!"
           from audit_entries where number = $1"#,
        number,
    )
    .fetch_optional(db)
    .await?
    .ok_or(AppError::NotFound("This entry"))
}

/// Everything recorded about one thing, in order.
///
/// # Errors
/// When the database fails.
pub async fn about(db: impl PgExecutor<'_>, subject_kind: &str, subject_id: &str) -> Result<Vec<LedgerEntry>> {
    let entries = sqlx::query_as!(
        LedgerEntry,
        r#"select number, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, details,
                  encode(previous_hash, 'hex') as "previous_hash!", encode(hash, 'hex') as "hash!"
           from audit_entries where subject_kind = $1 and subject_id = $2 order by number"#,
        subject_kind,
        subject_id,
    )
    .fetch_all(db)
    .await?;
    Ok(entries)
}

/// Every action that occurs, for the filter.
///
/// # Errors
/// When the database fails.
pub(super) async fn actions(db: &PgPool) -> Result<Vec<String>> {
    // A loose index scan: one step per action, however long the log is.
    let actions = sqlx::query_scalar!(
        r#"with recursive found (action) as (
               (select action from audit_entries order by action limit 1)
               union all
               select (select e.action from audit_entries e where e.action > found.action order by e.action limit 1)
               from found where found.action is not null)
           select action as "action!" from found where action is not null"#,
    )
    .fetch_all(db)
    .await?;
    Ok(actions)
}

/// The number of the last entry, which is how many there are.
///
/// # Errors
/// When the database fails.
pub async fn length(db: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar!("select number from audit_head").fetch_one(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_becomes_an_address_and_leaves_out_what_is_empty() {
        let filter = Filter { who: "Ana Löw".to_owned(), subject: "application:7".to_owned(), ..Filter::default() };
        assert_eq!(filter.below(40).query(), "who=Ana+L%C3%B6w&subject=application%3A7&before=40");
        assert!(filter.narrows());
        assert!(!Filter::default().below(40).narrows());
    }
}
