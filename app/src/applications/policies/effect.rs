//! What a draft would have proposed for the applications of the last 90 days.

use candor_engine::risk::{self, Policy, Proposal};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::Result;

/// Days looked back.
pub(super) const DAYS: i32 = 90;
/// Applications looked at, at most: the newest ones.
const MOST: i64 = 5000;

/// How many applications each policy proposes what for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) looked_at: usize,
    pub(super) rows: Vec<Row>,
    /// Applications for which the proposal changes.
    pub(super) moved: usize,
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) proposal: &'static str,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// Applies both policies to the stored factors and probabilities; nothing is scored again.
pub(super) async fn effect(db: &PgPool, before: &Policy, after: &Policy) -> Result<Effect> {
    let rows = sqlx::query!(
        r#"select factors as "factors: Json<risk::Application>", probability from assessments
           where created_at > now() - make_interval(days => $1) order by created_at desc limit $2"#,
        DAYS,
        MOST,
    )
    .fetch_all(db)
    .await?;
    let pairs: Vec<(Proposal, Proposal)> = rows
        .iter()
        .map(|row| {
            let propose = |policy: &Policy| {
                policy.proposal(policy.bands.of(row.probability), &policy.hits(&row.factors, row.probability))
            };
            (propose(before), propose(after))
        })
        .collect();
    Ok(count(&pairs))
}

fn count(pairs: &[(Proposal, Proposal)]) -> Effect {
    let rows = [Proposal::Approve, Proposal::Refer, Proposal::Decline]
        .into_iter()
        .map(|proposal| Row {
            proposal: proposal.as_str(),
            before: pairs.iter().filter(|(before, _)| *before == proposal).count(),
            after: pairs.iter().filter(|(_, after)| *after == proposal).count(),
        })
        .collect();
    Effect { looked_at: pairs.len(), rows, moved: pairs.iter().filter(|(before, after)| before != after).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_counted_even_when_the_totals_stay() {
        let effect = count(&[(Proposal::Approve, Proposal::Refer), (Proposal::Refer, Proposal::Approve)]);
        assert_eq!((effect.looked_at, effect.moved), (2, 2));
        assert_eq!(effect.rows[0], Row { proposal: "approve", before: 1, after: 1 });
    }
}
