//! Figures over conversations.
//!
//! Containment and verified resolution are kept apart on purpose: that no person was needed does not say that the
//! customer was helped.

use chrono::NaiveDate;
use sqlx::PgPool;

use crate::Result;

use super::plot::Plot;
use super::report::{Cell, Report, heads, share};

/// One day of ended conversations.
struct Day {
    day: NaiveDate,
    ended: i64,
    contained: i64,
    verified: i64,
}

async fn days(db: &PgPool, days: i32) -> Result<Vec<Day>> {
    let found = sqlx::query_as!(
        Day,
        r#"with ended as (
             select c.resolved_at::date as day,
                    not exists (select 1 from messages m where m.conversation_id = c.id
                                and (m.author = 'agent' or m.action->>'type' = 'hand_off')) as contained,
                    (c.csat >= 4 or (c.csat is null and (c.resolved_by = 'customer' or exists (
                        select 1 from messages m where m.conversation_id = c.id and m.action->>'type' = 'act'))))
                    and not exists (select 1 from conversations again
                                    where again.id <> c.id and again.intent = c.intent
                                      and (again.customer_id = c.customer_id or again.visitor_hash = c.visitor_hash)
                                      and again.created_at between c.resolved_at and c.resolved_at + interval '7 days')
                    as verified
             from conversations c
             where c.status = 'resolved' and c.resolved_at >= current_date - $1::int)
           select d::date as "day!", count(e.day) as "ended!", count(*) filter (where e.contained) as "contained!",
                  count(*) filter (where e.verified) as "verified!"
           from generate_series((current_date - $1::int)::timestamp, current_date::timestamp, interval '1 day') d
           left join ended e on e.day = d::date group by d order by d"#,
        days,
    )
    .fetch_all(db)
    .await?;
    Ok(found)
}

/// A report of a share of each day's ended conversations.
fn daily(name: &'static str, title: &'static str, about: &'static str, days: &[Day], part: fn(&Day) -> i64) -> Report {
    let (parts, ended) = days.iter().fold((0, 0), |(parts, ended), day| (parts + part(day), ended + day.ended));
    let series: Vec<(String, Option<f64>)> =
        days.iter().map(|day| (day.day.format("%-d %b").to_string(), share(part(day), day.ended))).collect();
    Report {
        name: name.into(),
        title: title.into(),
        about: about.into(),
        figure: share(parts, ended).map(|all| (format!("{:.1} %", all * 100.0), format!("{parts} of {ended} ended"))),
        plot: Plot::line(name, title, &series),
        needs: None,
        head: heads(["Day", "Ended", title, "Share"]),
        rows: days
            .iter()
            .rev()
            .filter(|day| day.ended > 0)
            .map(|day| {
                vec![
                    Cell::Text(day.day.to_string()),
                    Cell::Count(day.ended),
                    Cell::Count(part(day)),
                    Cell::Share(share(part(day), day.ended)),
                ]
            })
            .collect(),
    }
}

/// Containment and verified resolution, each on its own.
pub(super) async fn outcomes(db: &PgPool, period: i32) -> Result<[Report; 2]> {
    let days = days(db, period).await?;
    Ok([
        daily(
            "containment",
            "Contained",
            "Ended conversations in which no person wrote and none was asked for. It says nothing about whether the \
             customer was helped.",
            &days,
            |day| day.contained,
        ),
        daily(
            "verified-resolution",
            "Verified resolution",
            "Ended conversations whose customer rated 4 or 5, or gave no rating but ended it or had something done that \
             the records show, and did not come back with the same intent within 7 days. The last 7 days can still \
             change.",
            &days,
            |day| day.verified,
        ),
    ])
}

/// How often a person takes over, and why.
pub(super) async fn hand_offs(db: &PgPool, period: i32) -> Result<Report> {
    let started = sqlx::query!(
        r#"select count(*) as "started!",
                  count(*) filter (where exists (select 1 from messages m where m.conversation_id = c.id
                                   and (m.author = 'agent' or m.action->>'type' = 'hand_off'))) as "handed!"
           from conversations c where c.created_at >= current_date - $1::int"#,
        period,
    )
    .fetch_one(db)
    .await?;
    let reasons = sqlx::query!(
        r#"select case when jsonb_typeof(m.action->'reason') = 'object' then m.action->'reason'->>'type'
                       else coalesce(m.action->>'reason', 'taken over') end as "reason!",
                  count(distinct m.conversation_id) as "conversations!"
           from messages m join conversations c on c.id = m.conversation_id
           where c.created_at >= current_date - $1::int and m.action->>'type' = 'hand_off'
           group by 1 order by 2 desc, 1"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let words = |reason: &str| reason.replace('_', " ");
    Ok(Report {
        name: "hand-off".into(),
        title: "Hand-off".into(),
        about: "Started conversations in which a person took over or was asked for, by the assistant's reason.".into(),
        figure: share(started.handed, started.started)
            .map(|all| (format!("{:.1} %", all * 100.0), format!("{} of {} started", started.handed, started.started))),
        plot: Plot::bars(
            "hand-off",
            "Hand-offs by reason",
            reasons
                .iter()
                .map(|row| (words(&row.reason), length(row.conversations), row.conversations.to_string()))
                .collect(),
        ),
        needs: None,
        head: heads(["Reason", "Conversations", "Share of started"]),
        rows: reasons
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(words(&row.reason)),
                    Cell::Count(row.conversations),
                    Cell::Share(share(row.conversations, started.started)),
                ]
            })
            .collect(),
    })
}

/// How much the mood must change between the first and the last message to count; it runs from -1 to 1.
pub(super) const CHANGE: f64 = 0.25;

/// How customers sounded at the beginning and at the end.
pub(super) async fn moods(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"with scored as (
             select m.conversation_id, m.seq, (m.understanding->>'sentiment_score')::float8 as score
             from messages m join conversations c on c.id = m.conversation_id
             where c.status = 'resolved' and c.resolved_at >= current_date - $1::int
               and m.understanding->>'sentiment_score' is not null),
           ends as (
             select conversation_id, (array_agg(score order by seq))[1] as first,
                    (array_agg(score order by seq desc))[1] as last
             from scored group by conversation_id having count(*) >= 2),
           places (place, change) as (values (1, 'better'), (2, 'about the same'), (3, 'worse'))
           select p.change as "change!", count(e.conversation_id) as "count!", avg(e.first)::float8 as first,
                  avg(e.last)::float8 as last
           from places p left join ends e on p.place =
                case when e.last - e.first > $2 then 1 when e.first - e.last > $2 then 3 else 2 end
           group by p.place, p.change order by p.place"#,
        period,
        CHANGE,
    )
    .fetch_all(db)
    .await?;
    let all: i64 = rows.iter().map(|row| row.count).sum();
    let better: i64 = rows.iter().filter(|row| row.change == "better").map(|row| row.count).sum();
    Ok(Report {
        name: "mood".into(),
        title: "Mood, first to last message".into(),
        about: "Ended conversations of two messages or more: how the customer's last message sounds beside the first. \
                The mood runs from -1 to 1; a change of a quarter counts."
            .into(),
        figure: share(better, all)
            .map(|share| (format!("{:.1} %", share * 100.0), format!("better at the end, of {all}"))),
        plot: Plot::bars(
            "mood",
            "Mood at the end beside the beginning",
            rows.iter().map(|row| (row.change.clone(), length(row.count), row.count.to_string())).collect(),
        ),
        needs: None,
        head: heads(["At the end", "Conversations", "Share", "First message", "Last message"]),
        rows: rows
            .iter()
            .filter(|_| all > 0)
            .map(|row| {
                vec![
                    Cell::Text(row.change.clone()),
                    Cell::Count(row.count),
                    Cell::Share(share(row.count, all)),
                    Cell::Mean(row.first),
                    Cell::Mean(row.last),
                ]
            })
            .collect(),
    })
}

/// What customers said at the end.
pub(super) async fn satisfaction(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select s as "score!", count(c.id) as "ratings!"
           from generate_series(1, 5) s
           left join conversations c on c.csat = s and c.status = 'resolved'
                and c.resolved_at >= current_date - $1::int
           group by s order by s desc"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let ratings: i64 = rows.iter().map(|row| row.ratings).sum();
    let points: i64 = rows.iter().map(|row| row.ratings * i64::from(row.score)).sum();
    let mean = share(points, ratings);
    Ok(Report {
        name: "satisfaction".into(),
        title: "Satisfaction".into(),
        about: "Ratings from 1 (poor) to 5 (very good), asked at the end of a conversation.".into(),
        figure: mean.map(|mean| (format!("{mean:.2}"), format!("mean of {ratings} ratings"))),
        plot: Plot::bars(
            "satisfaction",
            "Ratings",
            rows.iter().map(|row| (row.score.to_string(), length(row.ratings), row.ratings.to_string())).collect(),
        ),
        needs: None,
        head: heads(["Rating", "Conversations", "Share"]),
        rows: rows
            .iter()
            .filter(|_| ratings > 0)
            .map(|row| {
                vec![
                    Cell::Text(row.score.to_string()),
                    Cell::Count(row.ratings),
                    Cell::Share(share(row.ratings, ratings)),
                ]
            })
            .collect(),
    })
}

/// How long customers wait for the first words.
pub(super) async fn first_responses(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"with turns as (
             select c.id,
                    min(m.created_at) filter (where m.author = 'customer') as asked,
                    min(m.created_at) filter (where m.author in ('assistant', 'agent')) as answered,
                    min(m.created_at) filter (where m.action->>'type' = 'hand_off') as handed,
                    min(m.created_at) filter (where m.author = 'agent') as taken
             from conversations c join messages m on m.conversation_id = c.id
             where c.created_at >= current_date - $1::int group by c.id),
           waits as (
             select 1 as place, 'Anybody: from the first question' as who, extract(epoch from answered - asked)::float8 as s
             from turns where answered > asked
             union all
             select 2, 'A person: from the hand-off', extract(epoch from taken - handed)::float8
             from turns where taken > handed)
           select who as "who!", count(*) as "count!", percentile_cont(0.5) within group (order by s) as median,
                  percentile_cont(0.9) within group (order by s) as most
           from waits group by place, who order by place"#,
        period,
    )
    .fetch_all(db)
    .await?;
    Ok(Report {
        name: "first-response".into(),
        title: "First response".into(),
        about: "Time from the customer's first message to the first answer, and from a hand-off to the first words \
                of a person. Nine in ten waited no longer than the last column."
            .into(),
        figure: None,
        plot: None,
        needs: None,
        head: heads(["Answer", "Conversations", "Median", "9 in 10 within"]),
        rows: rows
            .into_iter()
            .map(|row| {
                vec![Cell::Text(row.who), Cell::Count(row.count), Cell::Seconds(row.median), Cell::Seconds(row.most)]
            })
            .collect(),
    })
}

/// What customers come for.
pub(super) async fn intents(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select coalesce(c.intent, 'not recognised') as "intent!", count(*) as "count!",
                  count(*) filter (where not exists (select 1 from messages m where m.conversation_id = c.id
                                   and (m.author = 'agent' or m.action->>'type' = 'hand_off'))) as "contained!",
                  avg(c.csat)::float8 as csat
           from conversations c where c.created_at >= current_date - $1::int
           group by 1 order by 2 desc, 1 limit 25"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let words = |intent: &str| intent.replace('_', " ");
    Ok(Report {
        name: "intents".into(),
        title: "Conversations by intent".into(),
        about: "The 25 intents that most started conversations were last recognised as.".into(),
        figure: None,
        plot: Plot::bars(
            "intents",
            "The ten most frequent intents",
            rows.iter().take(10).map(|row| (words(&row.intent), length(row.count), row.count.to_string())).collect(),
        ),
        needs: None,
        head: heads(["Intent", "Conversations", "Without a person", "Mean rating"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(words(&row.intent)),
                    Cell::Count(row.count),
                    Cell::Share(share(row.contained, row.count)),
                    Cell::Mean(row.csat),
                ]
            })
            .collect(),
    })
}

/// A count as a bar's length.
pub(super) fn length(count: i64) -> f64 {
    u32::try_from(count).map_or(0.0, f64::from)
}
