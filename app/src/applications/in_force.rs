//! What an application is scored with.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use candor_engine::risk::Policy;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;

use super::{models, policies};

/// The policy and the models in force.
pub(super) struct InForce {
    pub(super) policy_id: Uuid,
    pub(super) policy: Arc<Policy>,
    pub(super) models: models::InForce,
}

/// Asks Postgres in one step what is in force, each time, so that every replica agrees. What a policy says does not change
/// once it is in force, nor does a model's file: both are read once and kept by their keys.
pub(super) async fn in_force(connection: &mut PgConnection) -> Result<InForce> {
    let rows = sqlx::query!(
        r#"select p.id as "policy_id!", m.id as "model_id!", m.sha256 as "sha256!", m.status = 'active' as "is_active!"
           from policies p cross join risk_models m
           where p.status = 'active' and m.status in ('active', 'shadow')"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let (mut active, mut shadow) = (None, None);
    for row in &rows {
        let model = models::model(connection, &row.sha256).await?;
        if row.is_active { active = Some(model) } else { shadow = Some((row.model_id, model)) }
    }
    if let (Some(active), Some(row)) = (active, rows.first()) {
        let policy = policy(connection, row.policy_id).await?;
        return Ok(InForce { policy_id: row.policy_id, policy, models: models::InForce { active, shadow } });
    }
    // A new bank has neither: both are installed.
    let policy = policies::active(connection).await?;
    let models = models::in_force(connection).await?;
    Ok(InForce { policy_id: policy.id, policy: Arc::new(policy.body), models })
}

/// What the policy in force with that key says.
async fn policy(connection: &mut PgConnection, id: Uuid) -> Result<Arc<Policy>> {
    static KNOWN: OnceLock<RwLock<HashMap<Uuid, Arc<Policy>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(RwLock::default);
    if let Some(policy) = known.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return Ok(Arc::clone(policy));
    }
    let policy = Arc::new(policies::find(connection, id).await?.body);
    known.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&policy));
    Ok(policy)
}
