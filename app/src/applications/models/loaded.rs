//! Models ready to score: read from their table once, then kept by their hash. A file never changes, so what is kept is
//! never stale; which one is in force is asked of Postgres each time, so that every replica agrees.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use candor_engine::risk::{Model, SHIPPED_CARD, SHIPPED_MODEL};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{AppError, Result};

use super::change;

type Loaded = RwLock<HashMap<String, Arc<Model>>>;

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(Loaded::default)
}

/// The models that score.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The one whose score counts.
    pub active: Arc<Model>,
    /// The one in shadow, with its key.
    pub shadow: Option<(Uuid, Arc<Model>)>,
}

/// The model in force, and the one in shadow. A bank that has none yet gets the one that came with the program.
///
/// # Errors
/// [`AppError::Unavailable`] when no model is in force.
pub async fn in_force(connection: &mut PgConnection) -> Result<InForce> {
    if let Some(models) = scoring(connection).await? {
        return Ok(models);
    }
    // A new bank scores with the model that came with the program.
    change::install_within(connection, SHIPPED_MODEL, SHIPPED_CARD).await?;
    scoring(connection).await?.ok_or_else(|| AppError::Unavailable("No risk model is in force.".to_owned()))
}

async fn scoring(connection: &mut PgConnection) -> Result<Option<InForce>> {
    let rows = sqlx::query!(
        r#"select id, sha256, status = 'active' as "is_active!" from risk_models where status in ('active', 'shadow')"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let (mut active, mut shadow) = (None, None);
    for row in rows {
        let model = model(connection, &row.sha256).await?;
        if row.is_active { active = Some(model) } else { shadow = Some((row.id, model)) }
    }
    Ok(active.map(|active| InForce { active, shadow }))
}

/// The model whose file has that hash.
///
/// # Errors
/// [`AppError::NotFound`] when it was never registered here.
pub async fn model(connection: &mut PgConnection, sha256: &str) -> Result<Arc<Model>> {
    let known = loaded().read().unwrap_or_else(PoisonError::into_inner).get(sha256).map(Arc::clone);
    if let Some(model) = known {
        return Ok(model);
    }
    let file = sqlx::query_scalar!("select file from risk_models where sha256 = $1", sha256)
        .fetch_optional(connection)
        .await?
        .ok_or(AppError::NotFound("This risk model"))?;
    let model = Model::load(&file).map_err(|fault| AppError::Internal(format!("risk model {sha256}: {fault}")))?;
    let model = Arc::new(model);
    loaded().write().unwrap_or_else(PoisonError::into_inner).insert(sha256.to_owned(), Arc::clone(&model));
    Ok(model)
}
