//! What would change an application's score: the smallest changes of what the applicant could change, found exactly, for
//! the officer, and in the letter of a decline where the policy lets it say so.

use std::sync::Arc;

use candor_engine::risk::whatif::{Alternative, Question, what_if};
use candor_engine::risk::{Band, Model, Proposal};

use crate::{AppError, Result};

use super::assessments::StoredAssessment;

/// What would bring an application under a threshold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WhatIf {
    /// The band below the threshold: low, or medium where no change reaches low.
    pub(super) band: Band,
    /// Where the band above it begins.
    pub(super) threshold: f64,
    /// The smallest changes first, each with what the policy would then propose.
    pub(super) ways: Vec<(Alternative, Proposal)>,
    /// False where the search was cut short: then there may be smaller ones.
    pub(super) complete: bool,
}

/// Searches what would bring an application into a lower band, with the model and the policy of its assessment. `None`
/// where it is in the lowest band already.
///
/// # Errors
/// When the search is cut off by the end of the program.
pub(super) async fn what_would_change(model: Arc<Model>, stored: &StoredAssessment) -> Result<Option<WhatIf>> {
    let stored = stored.clone();
    tokio::task::spawn_blocking(move || search(&model, &stored))
        .await
        .map_err(|error| AppError::Internal(format!("what would change it: {error}")))
}

fn search(model: &Model, stored: &StoredAssessment) -> Option<WhatIf> {
    let policy = &stored.policy;
    let goals = match stored.assessment.band {
        Band::Low => return None,
        Band::Medium => vec![(Band::Low, policy.bands.medium)],
        Band::High => vec![(Band::Low, policy.bands.medium), (Band::Medium, policy.bands.high)],
    };
    let mut nothing = None;
    for (band, threshold) in goals {
        let answer = what_if(model, &stored.factors, &Question::under(threshold));
        let found = WhatIf {
            band,
            threshold,
            complete: answer.complete,
            ways: answer
                .alternatives
                .into_iter()
                .map(|way| {
                    let changed = way.apply(&stored.factors);
                    let hits = policy.hits(&changed, way.probability);
                    let proposal = policy.proposal(policy.bands.of(way.probability), &hits);
                    (way, proposal)
                })
                .collect(),
        };
        if !found.ways.is_empty() {
            return Some(found);
        }
        nothing.get_or_insert(found);
    }
    nothing
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Application, Policy};
    use chrono::Utc;
    use uuid::Uuid;

    use super::*;

    fn stored(factors: Application) -> StoredAssessment {
        let (model, policy) = (Model::shipped().unwrap(), Policy::shipped().unwrap());
        StoredAssessment {
            id: Uuid::nil(),
            application_id: Uuid::nil(),
            policy_id: Uuid::nil(),
            assessment: model.assess(&factors, &policy),
            factors,
            policy,
            created_at: Utc::now(),
        }
    }

    #[test]
    fn every_way_leads_into_the_band_it_names_and_rules_still_count() {
        let model = Model::shipped().unwrap();
        let mut searched = 0;
        for demo in candor_engine::risk::demo::applications(3, 200, 30) {
            let stored = stored(demo.application);
            let found = search(&model, &stored);
            assert_eq!(found.is_none(), stored.assessment.band == Band::Low);
            for (way, proposal) in found.iter().flat_map(|found| &found.ways) {
                searched += 1;
                let again = model.assess(&way.apply(&stored.factors), &stored.policy);
                assert_eq!((again.band, again.proposal), (found.as_ref().unwrap().band, *proposal));
            }
        }
        assert!(searched > 10, "{searched}");
    }
}
