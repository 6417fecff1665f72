//! Figures over applications and the people who decide them.

use sqlx::PgPool;

use crate::Result;

use super::conversations::length;
use super::plot::Plot;
use super::report::{Cell, Report, heads, share};

/// What became of applications, by the band of their last assessment.
pub(super) async fn outcomes(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select s.band as "band!", count(*) as "received!",
                  count(*) filter (where a.status not in ('approved', 'declined', 'withdrawn')) as "open!",
                  count(*) filter (where a.status = 'approved') as "approved!",
                  count(*) filter (where a.status = 'declined') as "declined!",
                  count(*) filter (where a.status = 'withdrawn') as "withdrawn!"
           from applications a
           join lateral (select band from assessments s where s.application_id = a.id
                         order by s.created_at desc, s.id desc limit 1) s on true
           where a.received_at >= current_date - $1::int
           group by s.band order by case s.band when 'low' then 1 when 'medium' then 2 when 'high' then 3 else 4 end"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let received: i64 = rows.iter().map(|row| row.received).sum();
    let approved: i64 = rows.iter().map(|row| row.approved).sum();
    let decided: i64 = rows.iter().map(|row| row.approved + row.declined).sum();
    Ok(Report {
        name: "applications".into(),
        title: "Applications by band and outcome".into(),
        about: "Received applications by the band of their last assessment. The rate counts decided ones only.".into(),
        figure: share(approved, decided).map(|all| {
            (format!("{:.1} %", all * 100.0), format!("approved of {decided} decided, {received} received"))
        }),
        plot: Plot::bars(
            "applications",
            "Applications by band",
            rows.iter().map(|row| (sentence(&row.band), length(row.received), row.received.to_string())).collect(),
        ),
        needs: None,
        head: heads(["Band", "Received", "Open", "Approved", "Declined", "Withdrawn", "Approval rate"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(sentence(&row.band)),
                    Cell::Count(row.received),
                    Cell::Count(row.open),
                    Cell::Count(row.approved),
                    Cell::Count(row.declined),
                    Cell::Count(row.withdrawn),
                    Cell::Share(share(row.approved, row.approved + row.declined)),
                ]
            })
            .collect(),
    })
}

/// How often each officer decides against the policy's proposal.
pub(super) async fn overrides(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select p.name as "name!", count(*) as "decisions!",
                  count(*) filter (where d.is_override) as "overrides!",
                  count(*) filter (where d.is_override and d.outcome = 'approved') as "towards_approval!",
                  count(*) filter (where d.seconded_by is not null) as "seconded!",
                  count(*) filter (where d.status = 'rejected') as "rejected!"
           from decisions d join people p on p.id = d.decided_by
           where d.created_at >= current_date - $1::int group by p.id, p.name order by 3 desc, 2 desc, 1"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let decisions: i64 = rows.iter().map(|row| row.decisions).sum();
    let overrides: i64 = rows.iter().map(|row| row.overrides).sum();
    Ok(Report {
        name: "overrides".into(),
        title: "Overrides by officer".into(),
        about:
            "Decisions that differ from the policy's proposal. A rate far from the colleagues' is worth a look, not \
                a verdict: officers do not see the same applications."
                .into(),
        figure: share(overrides, decisions)
            .map(|all| (format!("{:.1} %", all * 100.0), format!("{overrides} of {decisions} decisions"))),
        plot: Plot::bars(
            "overrides",
            "Override rate by officer",
            rows.iter()
                .filter_map(|row| {
                    let rate = share(row.overrides, row.decisions)?;
                    Some((row.name.clone(), rate, format!("{:.1} %", rate * 100.0)))
                })
                .collect(),
        ),
        needs: None,
        head: heads([
            "Officer",
            "Decisions",
            "Overrides",
            "Towards approval",
            "Seconded",
            "Refused by the second",
            "Rate",
        ]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(row.name.clone()),
                    Cell::Count(row.decisions),
                    Cell::Count(row.overrides),
                    Cell::Count(row.towards_approval),
                    Cell::Count(row.seconded),
                    Cell::Count(row.rejected),
                    Cell::Share(share(row.overrides, row.decisions)),
                ]
            })
            .collect(),
    })
}

fn sentence(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
