//! What the bank measures by: its costs, what its officers can review, from when on drift is one, whose law. One row for
//! the whole bank, changed by managers, every change in the audit log.

use candor_engine::risk::figures::{Costs, StabilityBands};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{PgExecutor, PgPool};

use crate::Result;
use crate::accounts::Person;
use crate::audit::{self, Entry};

/// The settings. What was never set has the value that a new bank starts with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::reports) struct Settings {
    /// The bank's costs, in euros.
    pub(super) costs: Costs,
    /// Applications that officers can review in a week.
    pub(super) reviews_a_week: u32,
    /// From which population stability index on something is said.
    pub(super) stability: StabilityBands,
    /// The days that later ones are compared with, first and last; without them the first third of the period.
    pub(super) reference: Option<(NaiveDate, NaiveDate)>,
    /// Whose rules fairness is measured by: a code of `fairness.toml`.
    pub(super) jurisdiction: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            costs: Costs::default(),
            reviews_a_week: 10,
            stability: StabilityBands::default(),
            reference: None,
            jurisdiction: "us".to_owned(),
        }
    }
}

/// The bank's settings.
pub(super) async fn settings(db: impl PgExecutor<'_>) -> Result<Settings> {
    let body =
        sqlx::query_scalar!(r#"select body as "body: Json<Settings>" from risk_settings"#).fetch_optional(db).await?;
    Ok(body.map_or_else(Settings::default, |body| body.0))
}

/// Changes the settings, with an audit entry of what they were and what they are.
pub(super) async fn keep(db: &PgPool, person: &Person, change: impl FnOnce(&mut Settings)) -> Result<()> {
    let mut transaction = db.begin().await?;
    sqlx::query!("lock table risk_settings in share row exclusive mode").execute(&mut *transaction).await?;
    let before = settings(&mut *transaction).await?;
    let mut after = before.clone();
    change(&mut after);
    if before == after {
        return Ok(());
    }
    sqlx::query!(
        "insert into risk_settings (body, changed_by) values ($1, $2)
         on conflict (one) do update set body = excluded.body, changed_by = excluded.changed_by, changed_at = now()",
        serde_json::to_value(&after)?,
        person.id,
    )
    .execute(&mut *transaction)
    .await?;
    let entry = Entry {
        actor: &person.actor(),
        action: "risk_settings.changed",
        subject_kind: "risk_settings",
        subject_id: "bank".to_owned(),
        details: json!({ "before": before, "after": after }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    Ok(())
}
