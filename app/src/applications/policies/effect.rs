//! What a policy would have done to the applications of the last 90 days, beside the policy in force.

use candor_engine::risk::{self, Band, Policy, Proposal};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Result;

use super::super::Status;

/// Days looked back.
pub(super) const DAYS: i32 = 90;
/// Applications looked at, at most: the newest ones.
const MOST: i64 = 5000;

/// Both policies on the same applications.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Effect {
    pub(super) looked_at: usize,
    /// Applications by band.
    pub(super) bands: Vec<Row>,
    /// Applications by proposal.
    pub(super) proposals: Vec<Row>,
    /// Frauds and honest applications among those whose end is known, by whether they are flagged: referred or proposed
    /// for decline.
    pub(super) labelled: Vec<Row>,
    /// Applications for which the proposal changes, the newest first.
    pub(super) changed: Vec<Changed>,
    /// How many of them were decided otherwise than the policy would have proposed.
    pub(super) against_decision: usize,
}

/// How many applications, under the policy in force and under the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// An application that would get another proposal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Changed {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) received_at: DateTime<Utc>,
    pub(super) probability: f64,
    pub(super) before: Proposal,
    pub(super) after: Proposal,
    pub(super) status: Status,
    pub(super) fraud: Option<bool>,
}

impl Changed {
    /// What became of it, as far as it is known.
    pub(super) fn known(&self) -> &'static str {
        match self.fraud {
            Some(true) => "confirmed fraud",
            Some(false) => "ended well",
            None => "not known",
        }
    }
}

/// An application with what both policies make of it.
struct Judged {
    changed: Changed,
    bands: (Band, Band),
}

/// Applies both policies to the stored factors and probabilities; nothing is scored again.
pub(super) async fn effect(db: &PgPool, before: &Policy, after: &Policy) -> Result<Effect> {
    let rows = sqlx::query!(
        r#"select a.id, a.number, a.received_at, a.status as "status: Status", s.probability,
                  s.factors as "factors: Json<risk::Application>",
                  (select l.kind = 'confirmed_fraud' from labels l
                   where l.application_id = a.id and l.kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                   order by l.known_at desc, l.id desc limit 1) as fraud
           from applications a
           join lateral (select factors, probability from assessments
                         where application_id = a.id order by created_at, id limit 1) s on true
           where a.received_at > now() - make_interval(days => $1) and a.erased_at is null
           order by a.received_at desc, a.id desc limit $2"#,
        DAYS,
        MOST,
    )
    .fetch_all(db)
    .await?;
    let judged: Vec<Judged> = rows
        .into_iter()
        .map(|row| {
            let propose = |policy: &Policy| {
                policy.proposal(policy.bands.of(row.probability), &policy.hits(&row.factors, row.probability))
            };
            Judged {
                bands: (before.bands.of(row.probability), after.bands.of(row.probability)),
                changed: Changed {
                    id: row.id,
                    number: row.number,
                    received_at: row.received_at,
                    probability: row.probability,
                    before: propose(before),
                    after: propose(after),
                    status: row.status,
                    fraud: row.fraud,
                },
            }
        })
        .collect();
    Ok(count(judged))
}

fn count(judged: Vec<Judged>) -> Effect {
    if judged.is_empty() {
        return Effect::default();
    }
    let row = |name: &'static str, before: &dyn Fn(&Judged) -> bool, after: &dyn Fn(&Judged) -> bool| Row {
        name,
        before: judged.iter().filter(|one| before(one)).count(),
        after: judged.iter().filter(|one| after(one)).count(),
    };
    let flagged = |name: &'static str, fraud: bool, flagged: bool| {
        let counts = |one: &Judged, proposal: Proposal| {
            one.changed.fraud == Some(fraud) && (proposal != Proposal::Approve) == flagged
        };
        row(name, &|one| counts(one, one.changed.before), &|one| counts(one, one.changed.after))
    };
    let bands = [Band::Low, Band::Medium, Band::High]
        .into_iter()
        .map(|band| row(band.as_str(), &|one| one.bands.0 == band, &|one| one.bands.1 == band))
        .collect();
    let proposals = [Proposal::Approve, Proposal::Refer, Proposal::Decline]
        .into_iter()
        .map(|proposal| {
            row(proposal.as_str(), &|one| one.changed.before == proposal, &|one| one.changed.after == proposal)
        })
        .collect();
    let labelled = if judged.iter().any(|one| one.changed.fraud.is_some()) {
        vec![
            flagged("Frauds caught", true, true),
            flagged("Frauds missed", true, false),
            flagged("Honest ones flagged", false, true),
            flagged("Honest ones passed", false, false),
        ]
    } else {
        Vec::new()
    };
    let looked_at = judged.len();
    let changed: Vec<Changed> =
        judged.into_iter().map(|one| one.changed).filter(|one| one.before != one.after).collect();
    let against = |one: &&Changed| {
        matches!(
            (one.status, one.after),
            (Status::Approved, Proposal::Refer | Proposal::Decline) | (Status::Declined, Proposal::Approve)
        )
    };
    Effect { looked_at, bands, proposals, labelled, against_decision: changed.iter().filter(against).count(), changed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(before: Proposal, after: Proposal, status: Status, fraud: Option<bool>) -> Judged {
        Judged {
            bands: (Band::Low, if after == Proposal::Approve { Band::Low } else { Band::Medium }),
            changed: Changed {
                id: Uuid::nil(),
                number: 1,
                received_at: Utc::now(),
                probability: 0.1,
                before,
                after,
                status,
                fraud,
            },
        }
    }

    #[test]
    fn moves_are_counted_even_when_the_totals_stay() {
        use Proposal::{Approve, Refer};
        let effect = count(vec![
            judged(Approve, Refer, Status::Approved, Some(true)),
            judged(Refer, Approve, Status::Approved, Some(false)),
            judged(Approve, Approve, Status::Declined, None),
        ]);
        assert_eq!((effect.looked_at, effect.changed.len(), effect.against_decision), (3, 2, 1));
        assert_eq!(effect.proposals[0], Row { name: "approve", before: 2, after: 2 });
        assert_eq!(effect.bands[1], Row { name: "medium", before: 0, after: 1 });
        // The fraud that passed is caught, the honest one that was flagged passes.
        let rows: Vec<(usize, usize)> = effect.labelled.iter().map(|row| (row.before, row.after)).collect();
        assert_eq!(rows, [(0, 1), (1, 0), (1, 0), (0, 1)]);
        assert!(count(vec![judged(Approve, Refer, Status::Approved, None)]).labelled.is_empty());
        assert_eq!(count(Vec::new()), Effect::default());
    }
}
