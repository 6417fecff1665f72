//! Labelled applications as a training reads them.

use candor_engine::risk;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::PgPool;
use sqlx::types::Json;

use crate::Result;

/// Seconds in an average month.
const MONTH: f64 = 30.436_875 * 86_400.0;

/// An application whose end is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The factors as of its arrival: what its first score was made from. Nothing that became known later is in them.
    /// `month` orders them in time: months since the first one, with their fraction.
    pub factors: risk::Application,
    /// Whether it was a fraud.
    pub fraud: bool,
}

/// Every application that was labelled by `as_of`, oldest first. A label that came later is as unknown as it was then;
/// of several, the newest one known by then counts.
///
/// # Errors
/// When the database fails.
pub async fn labelled(db: &PgPool, as_of: DateTime<Utc>) -> Result<Vec<Labelled>> {
    let mut rows = sqlx::query!(
        r#"select s.factors as "factors: Json<risk::Application>", l.kind = 'confirmed_fraud' as "fraud!", a.received_at
           from applications a
           join lateral (select factors from assessments where application_id = a.id order by created_at, id limit 1) s
                on true
           join lateral (select kind from labels
                         where application_id = a.id and known_at <= $1
                           and kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                         order by known_at desc, id desc limit 1) l on true
           where a.received_at <= $1
           order by a.received_at, a.id"#,
        as_of,
    )
    .fetch(db);
    let mut all = Vec::new();
    let mut first = None;
    while let Some(row) = rows.try_next().await? {
        let start = *first.get_or_insert(row.received_at);
        let seconds = (row.received_at - start).to_std().unwrap_or_default().as_secs_f64();
        let mut factors = row.factors.0;
        factors.month = Some(seconds / MONTH);
        all.push(Labelled { factors, fraud: row.fraud });
    }
    Ok(all)
}
