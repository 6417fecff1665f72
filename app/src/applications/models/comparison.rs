//! The model in force and the one in shadow on the same applications: how often they propose the same, and how good each
//! is on what has been labelled since.

use candor_engine::risk::figures::Figures;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;

/// Both models on the applications that both scored.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    /// Applications that both scored.
    pub(super) scored: usize,
    /// How many of them end is known.
    pub(super) labelled: usize,
    /// How many of those were frauds.
    pub(super) frauds: usize,
    /// How often each pair of proposals came: in force, in shadow, count.
    pub(super) proposals: Vec<(String, String, usize)>,
    /// Applications for which they propose the same.
    pub(super) agreed: usize,
    /// Figures of the model in force and of the one in shadow; `None` while there is no fraud or no honest one.
    pub(super) figures: Option<(Figures, Figures)>,
    /// Each application, the newest first.
    pub(super) rows: Vec<Row>,
}

/// One application.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) received_at: DateTime<Utc>,
    pub(super) active: f64,
    pub(super) active_proposal: String,
    pub(super) shadow: f64,
    pub(super) shadow_proposal: String,
    pub(super) fraud: Option<bool>,
}

/// Compares on every application that `model` scored in shadow.
pub(super) async fn comparison(db: &PgPool, model: Uuid) -> Result<Comparison> {
    let rows = sqlx::query_as!(
        Row,
        r#"select a.number, a.received_at, f.probability as active, f.proposal as active_proposal,
                  s.probability as shadow, s.proposal as shadow_proposal,
                  (select l.kind = 'confirmed_fraud' from labels l
                   where l.application_id = a.id and l.kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                   order by l.known_at desc, l.id desc limit 1) as fraud
           from shadow_assessments s join applications a on a.id = s.application_id
           join lateral (select probability, proposal from assessments
                         where application_id = a.id order by created_at, id limit 1) f on true
           where s.model_id = $1 order by a.received_at desc, a.id desc"#,
        model,
    )
    .fetch_all(db)
    .await?;
    Ok(compare(rows))
}

fn compare(rows: Vec<Row>) -> Comparison {
    let mut proposals: std::collections::BTreeMap<(String, String), usize> = std::collections::BTreeMap::new();
    for row in &rows {
        *proposals.entry((row.active_proposal.clone(), row.shadow_proposal.clone())).or_default() += 1;
    }
    let labels: Vec<(f64, f64, bool)> =
        rows.iter().filter_map(|row| Some((row.active, row.shadow, row.fraud?))).collect();
    let frauds = labels.iter().filter(|(.., fraud)| *fraud).count();
    let both = frauds > 0 && frauds < labels.len();
    Comparison {
        scored: rows.len(),
        labelled: labels.len(),
        frauds,
        agreed: rows.iter().filter(|row| row.active_proposal == row.shadow_proposal).count(),
        proposals: proposals.into_iter().map(|((active, shadow), count)| (active, shadow, count)).collect(),
        figures: both.then(|| {
            let of = |pick: fn(&(f64, f64, bool)) -> (f64, bool)| {
                Figures::of(&labels.iter().map(pick).collect::<Vec<(f64, bool)>>())
            };
            (of(|(active, _, fraud)| (*active, *fraud)), of(|(_, shadow, fraud)| (*shadow, *fraud)))
        }),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(active: f64, shadow: f64, fraud: Option<bool>) -> Row {
        let word = |probability: f64| if probability < 0.5 { "approve" } else { "refer" }.to_owned();
        Row {
            number: 1,
            received_at: Utc::now(),
            active,
            active_proposal: word(active),
            shadow,
            shadow_proposal: word(shadow),
            fraud,
        }
    }

    #[test]
    fn the_better_order_has_the_better_figures_and_the_unlabelled_only_count_for_agreement() {
        let rows = vec![
            row(0.2, 0.9, Some(true)),
            row(0.6, 0.1, Some(false)),
            row(0.1, 0.2, Some(false)),
            row(0.9, 0.9, None),
        ];
        let found = compare(rows);
        assert_eq!((found.scored, found.labelled, found.frauds, found.agreed), (4, 3, 1, 2));
        let (active, shadow) = found.figures.unwrap();
        assert_eq!((active.auc, shadow.auc), (0.5, 1.0));
        assert!(compare(vec![row(0.5, 0.5, Some(true))]).figures.is_none(), "frauds alone say nothing");
    }
}
