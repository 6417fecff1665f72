//! Past applications as they were scored at their arrival, with what is known of them since.

use candor_engine::risk::figures;
use sqlx::PgPool;

use crate::Result;

use super::conversations::length;

/// Applications whose end is known, and how many arrived in all.
pub(super) struct Labelled {
    /// Probability, truth and amount of each.
    pub(super) cases: Vec<figures::Case>,
    /// Applications that arrived in the period.
    pub(super) received: i64,
    /// Weeks since the first of them, at least one.
    pub(super) weeks: f64,
}

impl Labelled {
    /// Probability and truth of each.
    pub(super) fn scored(&self) -> Vec<(f64, bool)> {
        self.cases.iter().map(|case| (case.probability, case.fraud)).collect()
    }

    /// The share of arriving applications that so many reviews a week reach, at most all.
    pub(super) fn reached_by(&self, reviews_a_week: u32) -> f64 {
        let received = length(self.received);
        if received > 0.0 { (f64::from(reviews_a_week) * self.weeks / received).min(1.0) } else { 1.0 }
    }

    /// How many were frauds.
    pub(super) fn frauds(&self) -> usize {
        self.cases.iter().filter(|case| case.fraud).count()
    }

    /// Whether there are frauds and honest ones: with one kind alone no figure says anything.
    pub(super) fn has_both(&self) -> bool {
        let frauds = self.frauds();
        frauds > 0 && frauds < self.cases.len()
    }
}

/// The labelled applications of a period; of several labels the newest one that decides counts.
pub(super) async fn labelled(db: &PgPool, days: i32) -> Result<Labelled> {
    let rows = sqlx::query!(
        r#"select s.probability, (a.amount_minor / 100.0)::float8 as "amount!", l.kind = 'confirmed_fraud' as "fraud!"
           from applications a
           join lateral (select probability from assessments where application_id = a.id order by created_at, id limit 1) s on true
           join lateral (select kind from labels where application_id = a.id
                         and kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                         order by known_at desc, id desc limit 1) l on true
           where a.received_at >= current_date - $1::int order by a.received_at, a.id"#,
        days,
    )
    .fetch_all(db)
    .await?;
    let arrived = sqlx::query!(
        r#"select count(*) as "received!",
                  coalesce(extract(epoch from now() - min(received_at)) / (7 * 86400), 0)::float8 as "weeks!"
           from applications where received_at >= current_date - $1::int"#,
        days,
    )
    .fetch_one(db)
    .await?;
    let cases = rows
        .into_iter()
        .map(|row| figures::Case { probability: row.probability, fraud: row.fraud, amount: row.amount })
        .collect();
    Ok(Labelled { cases, received: arrived.received, weeks: arrived.weeks.max(1.0) })
}
