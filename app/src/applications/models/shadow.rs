//! What the model in shadow says of an application.

use candor_engine::risk::{self, Model, Policy};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;

/// Scores in shadow and keeps it, in the transaction that keeps the score that counts.
pub(in crate::applications) async fn keep(
    connection: &mut PgConnection,
    (model_id, model): (Uuid, &Model),
    application: Uuid,
    policy_id: Uuid,
    policy: &Policy,
    factors: &risk::Application,
) -> Result<()> {
    let margin = model.margin(factors);
    let probability = model.probability(margin);
    let band = policy.bands.of(probability);
    let proposal = policy.proposal(band, &policy.hits(factors, probability));
    sqlx::query!(
        "insert into shadow_assessments
            (id, application_id, model_id, policy_id, probability, margin, band, proposal)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        application,
        model_id,
        policy_id,
        probability,
        margin,
        band.as_str(),
        proposal.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
