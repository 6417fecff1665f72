//! Past applications as they were scored at their arrival, with what is known of them since.

use std::sync::Arc;

use candor_engine::risk::importance::Sample;
use candor_engine::risk::{self, Model, figures};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::{AppError, Result};

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

/// Applications that are looked at, at most: the newest ones.
pub(super) const MOST: i64 = 20_000;
/// Applications that are explained, at most: the newest ones.
pub(super) const EXPLAINED: usize = 1000;

/// An application with what was scored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    pub(super) received_at: DateTime<Utc>,
    /// The probability at its arrival.
    pub(super) probability: f64,
    /// Whether the policy proposed to refer or to decline.
    pub(super) flagged: bool,
    /// Whether it was declined; `None` while it is not decided.
    pub(super) declined: Option<bool>,
    /// What was scored.
    pub(super) factors: risk::Application,
    /// Whether it was a fraud, where that is known.
    pub(super) fraud: Option<bool>,
}

/// The applications of a period, the oldest first. What was erased is not among them.
pub(super) async fn cases(db: &PgPool, days: i32) -> Result<Vec<Case>> {
    let rows = sqlx::query!(
        r#"select a.received_at, s.probability, s.proposal <> 'approve' as "flagged!", a.status,
                  s.factors as "factors: Json<risk::Application>",
                  (select l.kind = 'confirmed_fraud' from labels l
                   where l.application_id = a.id and l.kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                   order by l.known_at desc, l.id desc limit 1) as fraud
           from applications a
           join lateral (select factors, probability, proposal from assessments
                         where application_id = a.id order by created_at, id limit 1) s on true
           where a.received_at >= current_date - $1::int and a.erased_at is null
           order by a.received_at desc, a.id desc limit $2"#,
        days,
        MOST,
    )
    .fetch_all(db)
    .await?;
    let cases = rows.into_iter().rev().map(|row| Case {
        received_at: row.received_at,
        probability: row.probability,
        flagged: row.flagged,
        declined: match row.status.as_str() {
            "approved" => Some(false),
            "declined" => Some(true),
            _ => None,
        },
        factors: row.factors.0,
        fraud: row.fraud,
    });
    Ok(cases.collect())
}

/// Explains the newest cases by the model, away from the threads that answer requests, and gives the cases back with them.
pub(super) async fn explained(model: Arc<Model>, cases: Vec<Case>) -> Result<(Vec<Case>, Sample)> {
    tokio::task::spawn_blocking(move || {
        let skipped = cases.len().saturating_sub(EXPLAINED);
        let sample = Sample::explain(&model, cases.iter().skip(skipped).map(|case| &case.factors));
        (cases, sample)
    })
    .await
    .map_err(|error| AppError::Internal(format!("explaining past applications: {error}")))
}
