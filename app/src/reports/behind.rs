//! `/manage/reports/{name}/conversations`: the conversations behind a figure, counted and not counted.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment};
use crate::{AppError, Result};

use super::page::Period;

/// The most that are listed.
const SHOWN: i64 = 300;

/// The figures that conversations stand behind: name, title, what the counted ones are.
const FIGURES: [(&str, &str, &str); 5] = [
    ("containment", "Contained", "no person wrote and none was asked for"),
    ("verified-resolution", "Verified resolution", "the customer confirmed it or the record shows it"),
    ("hand-off", "Hand-off", "a person took over or was asked for"),
    ("mood", "Mood, first to last message", "the last message sounds better than the first"),
    ("satisfaction", "Satisfaction", "the customer gave a rating"),
];

/// Whether a report counts conversations that can be listed.
pub(super) fn has_conversations(report: &str) -> bool {
    FIGURES.iter().any(|(figure, ..)| *figure == report)
}

#[derive(Template)]
#[template(path = "reports/behind.html")]
struct BehindPage {
    frame: Frame,
    tab: &'static str,
    name: &'static str,
    title: &'static str,
    counted_are: &'static str,
    days: i32,
    counted: usize,
    rows: Vec<Line>,
}

struct Line {
    conversation: Behind,
    began: Moment,
    counts: bool,
}

/// A conversation with everything the figures are made of.
struct Behind {
    number: i64,
    intent: String,
    created_at: DateTime<Utc>,
    ended: bool,
    contained: bool,
    verified: bool,
    how: String,
    csat: Option<i16>,
    first: Option<f64>,
    last: Option<f64>,
}

impl Behind {
    /// Whether the figure counts it; none where the figure is not about it.
    fn counts(&self, figure: &str) -> Option<bool> {
        match figure {
            "containment" => self.ended.then_some(self.contained),
            "verified-resolution" => self.ended.then_some(self.verified),
            "hand-off" => Some(!self.contained),
            "satisfaction" => self.ended.then_some(self.csat.is_some()),
            "mood" => match (self.ended, self.first, self.last) {
                (true, Some(first), Some(last)) => Some(last - first > super::conversations::CHANGE),
                _ => None,
            },
            _ => None,
        }
    }

    /// A mood from -1 to 1 as people read it.
    fn mood(score: &Option<f64>) -> String {
        score.map_or_else(|| "–".to_owned(), |score| format!("{score:+.2}"))
    }
}

/// The conversations that were counted, and those that were not.
pub(super) async fn page(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    period: web::Query<Period>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let days = period.days();
    let &(name, title, counted_are) =
        FIGURES.iter().find(|(figure, ..)| *figure == name.as_str()).ok_or(AppError::NotFound("This report"))?;
    let mut rows: Vec<Line> = behind(&app.db, days)
        .await?
        .into_iter()
        .filter_map(|conversation| {
            let counts = conversation.counts(name)?;
            Some(Line { began: Moment(conversation.created_at), conversation, counts })
        })
        .collect();
    rows.sort_by_key(|row| !row.counts);
    let section = if person.role.manages() { "manage" } else { "audit" };
    pages::html(&BehindPage {
        frame: Frame::staff(&app.config.bank_name, title, section, &person),
        tab: "reports",
        name,
        title,
        counted_are,
        days,
        counted: rows.iter().filter(|row| row.counts).count(),
        rows,
    })
}

async fn behind(db: &PgPool, days: i32) -> Result<Vec<Behind>> {
    let rows = sqlx::query_as!(
        Behind,
        r#"select c.number, replace(coalesce(c.intent, 'not recognised'), '_', ' ') as "intent!", c.created_at,
                  (c.status = 'resolved') as "ended!",
                  not exists (select 1 from messages m where m.conversation_id = c.id
                              and (m.author = 'agent' or m.action->>'type' = 'hand_off')) as "contained!",
                  coalesce((c.csat >= 4 or (c.csat is null and (c.resolved_by = 'customer' or exists (
                                select 1 from messages m where m.conversation_id = c.id and m.action->>'type' = 'act'))))
                   and not exists (select 1 from conversations again
                                   where again.id <> c.id and again.intent = c.intent
                                     and (again.customer_id = c.customer_id or again.visitor_hash = c.visitor_hash)
                                     and again.created_at between c.resolved_at and c.resolved_at + interval '7 days'),
                   false) as "verified!",
                  case when c.csat is not null then 'rated ' || c.csat
                       when c.resolved_by = 'customer' then 'ended by the customer'
                       when exists (select 1 from messages m where m.conversation_id = c.id
                                    and m.action->>'type' = 'act') then 'done in the records'
                       else 'nothing says so' end as "how!",
                  c.csat,
                  (select (m.understanding->>'sentiment_score')::float8 from messages m
                   where m.conversation_id = c.id and m.understanding->>'sentiment_score' is not null
                   order by m.seq limit 1) as first,
                  (select (m.understanding->>'sentiment_score')::float8 from messages m
                   where m.conversation_id = c.id and m.understanding->>'sentiment_score' is not null
                   order by m.seq desc limit 1) as last
           from conversations c
           where coalesce(c.resolved_at, c.created_at) >= current_date - $1::int
           order by c.created_at desc limit $2"#,
        days,
        SHOWN,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}
