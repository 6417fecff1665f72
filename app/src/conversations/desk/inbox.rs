//! The list of conversations.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::conversations::Channel;
use crate::{Result, bank};

use super::filter::{Filter, Tab, channel_label};
use super::mood::{self, Spark};
use super::stamp::Stamp;
use super::view::Viewer;

/// Who is not identified.
pub(super) const VISITOR: &str = "Visitor";
/// Customers whose name or number a search may match.
const CUSTOMERS: i64 = 500;
/// Conversations on one page of the list.
pub(super) const PAGE: i64 = 40;

/// A conversation as the list shows it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) number: i64,
    /// The customer's name, or "Visitor".
    pub(super) who: String,
    /// The last words, or the passage the search found.
    pub(super) words: String,
    /// Whether the words are a match of the search.
    pub(super) matched: bool,
    /// Who wrote the last words, where it was not the customer.
    pub(super) words_by: &'static str,
    pub(super) intent: Option<String>,
    pub(super) status: String,
    /// The channel in words, where it is not the web.
    pub(super) channel: Option<&'static str>,
    /// The mood's name, for the class.
    pub(super) sentiment: Option<String>,
    /// The mood in a word.
    pub(super) mood: Option<&'static str>,
    pub(super) spark: Option<Spark>,
    /// Since when a person is awaited.
    pub(super) waiting: Option<Stamp>,
    pub(super) last: Stamp,
    /// The colleague who has it, where it is not the reader.
    pub(super) assignee: Option<String>,
    pub(super) mine: bool,
    /// Who else has it open.
    pub(super) viewers: Vec<Viewer>,
}

/// A page of the list.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    pub(super) rows: Vec<Row>,
    /// Conversations that pass the filter, on all pages.
    pub(super) total: i64,
}

/// How many open conversations each tab holds, without further filters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) unassigned: i64,
    pub(super) mine: i64,
    pub(super) all: i64,
}

impl Counts {
    /// The count of one tab.
    pub(super) fn of(self, tab: Tab) -> i64 {
        match tab {
            Tab::Unassigned => self.unassigned,
            Tab::Mine => self.mine,
            Tab::All => self.all,
        }
    }
}

struct Record {
    id: Uuid,
    number: i64,
    status: String,
    channel: Channel,
    customer_id: Option<Uuid>,
    assignee_id: Option<Uuid>,
    assignee: Option<String>,
    intent: Option<String>,
    sentiment: Option<String>,
    last_words: String,
    last_author: String,
    waiting_since: Option<DateTime<Utc>>,
    last_message_at: DateTime<Utc>,
    scores: Vec<f32>,
    found: Option<String>,
    total: i64,
}

/// The conversations that pass the filter, those that wait longest first.
///
/// A conversation counts as unassigned when a person is awaited and nobody holds it; a hold that ran out is none.
pub(super) async fn list(db: &PgPool, filter: &Filter, reader: Uuid) -> Result<Inbox> {
    let customers: Vec<Uuid> = match &filter.search {
        Some(words) => bank::search_customers(db, words, CUSTOMERS).await?.into_iter().map(|found| found.id).collect(),
        None => Vec::new(),
    };
    let records = sqlx::query_as!(
        Record,
        r#"with listed as (
               select c.*, p.name as assignee, count(*) over () as total
               from conversations c
               left join people p on p.id = c.assignee_id and (c.assignee_hold_until is null or c.assignee_hold_until > now())
               where (case $1
                          when 'unassigned' then p.id is null and c.status = coalesce($7, 'waiting')
                          when 'mine' then p.id = $2
                          else true end)
                 and ($3::text is null or c.intent = $3)
                 and ($4::text is null or c.sentiment = $4)
                 and ($5::text is null or c.channel = $5)
                 and ($6::int is null or c.waiting_since < now() - make_interval(mins => $6))
                 and (case when $7::text is not null then c.status = $7
                           else c.status <> 'resolved' or $8::text is not null end)
                 and ($8::text is null
                      or c.number = $10
                      or c.customer_id = any($9)
                      or exists (select from messages m
                                 where m.conversation_id = c.id and m.search @@ websearch_to_tsquery('english', $8)))
               order by c.waiting_since nulls last, c.last_message_at desc, c.id
               limit $11 offset $12)
           select l.id as "id!", l.number as "number!", l.status as "status!", l.channel as "channel!: Channel", l.customer_id,
                  case when l.assignee is not null then l.assignee_id end as assignee_id, l.assignee as "assignee?", l.intent, l.sentiment,
                  l.last_words as "last_words!", l.last_author as "last_author!", l.waiting_since,
                  l.last_message_at as "last_message_at!", l.total as "total!",
                  array(select score from (
                            select m.seq, (m.understanding ->> 'sentiment_score')::real as score
                            from messages m
                            where m.conversation_id = l.id and m.author = 'customer' and m.understanding ? 'sentiment_score'
                            order by m.seq desc limit 12) recent
                        order by seq) as "scores!: Vec<f32>",
                  (select ts_headline('english', m.text, websearch_to_tsquery('english', $8), 'MaxWords=14, MinWords=6, StartSel="", StopSel=""')
                   from messages m
                   where m.conversation_id = l.id and m.search @@ websearch_to_tsquery('english', $8)
                   order by m.seq desc limit 1) as found
           from listed l
           order by l.waiting_since nulls last, l.last_message_at desc, l.id"#,
        filter.tab.name(),
        reader,
        filter.intent,
        filter.sentiment,
        filter.channel,
        filter.waiting,
        filter.status,
        filter.search,
        &customers,
        filter.number(),
        PAGE,
        (filter.page - 1) * PAGE,
    )
    .fetch_all(db)
    .await?;
    let now = Utc::now();
    let total = records.first().map_or(0, |record| record.total);
    let known: Vec<Uuid> = records.iter().filter_map(|record| record.customer_id).collect();
    let names = bank::names(db, &known).await?;
    let rows = records.into_iter().map(|record| row(record, &names, reader, now)).collect();
    Ok(Inbox { rows, total })
}

fn row(record: Record, names: &HashMap<Uuid, String>, reader: Uuid, now: DateTime<Utc>) -> Row {
    let mine = record.assignee_id == Some(reader);
    Row {
        id: record.id,
        number: record.number,
        who: record.customer_id.and_then(|id| names.get(&id)).map_or_else(|| VISITOR.to_owned(), Clone::clone),
        matched: record.found.is_some(),
        words_by: if record.found.is_some() { "" } else { author(&record.last_author) },
        words: record.found.unwrap_or(record.last_words),
        intent: record.intent.as_deref().map(intent_label),
        status: record.status,
        channel: Some(record.channel).filter(|channel| *channel != Channel::Web).map(channel_label),
        mood: record.sentiment.as_deref().map(mood::word),
        sentiment: record.sentiment,
        spark: Spark::new(&record.scores),
        waiting: record.waiting_since.map(|since| Stamp::new(since, now)),
        last: Stamp::new(record.last_message_at, now),
        assignee: record.assignee.filter(|_| !mine),
        mine,
        viewers: Vec::new(),
    }
}

fn author(name: &str) -> &'static str {
    match name {
        "assistant" => "AI",
        "agent" => "Agent",
        "note" => "Note",
        _ => "",
    }
}

/// An intent's name in words: `block_card` becomes `Block card`.
pub(super) fn intent_label(intent: &str) -> String {
    let words = intent.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// How many conversations wait, are the reader's, are open.
pub(super) async fn counts(db: &PgPool, reader: Uuid) -> Result<Counts> {
    let counts = sqlx::query_as!(
        Counts,
        r#"select count(*) filter (where status = 'waiting' and (assignee_id is null or assignee_hold_until <= now())) as "unassigned!",
                  count(*) filter (where assignee_id = $1 and (assignee_hold_until is null or assignee_hold_until > now())) as "mine!",
                  count(*) as "all!"
           from conversations where status <> 'resolved'"#,
        reader,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// The intents that conversations have, for the filter: (name, words).
pub(super) async fn intents(db: &PgPool) -> Result<Vec<(String, String)>> {
    let names = sqlx::query_scalar!(
        r#"select distinct intent as "intent!" from conversations where intent is not null order by 1"#
    )
    .fetch_all(db)
    .await?;
    Ok(names.into_iter().map(|name| (name.clone(), intent_label(&name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_reads_as_words() {
        assert_eq!(intent_label("block_card"), "Block card");
        assert_eq!(intent_label(""), "");
    }
}
