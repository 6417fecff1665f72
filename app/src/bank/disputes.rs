//! Disputes about payments.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Result;

/// A dispute about a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dispute {
    /// Key.
    pub id: Uuid,
    /// The number people use, from 3001.
    pub number: i64,
    /// The payment.
    pub payment_id: Uuid,
    /// Why, in the customer's words.
    pub reason: String,
    /// `open`, `refunded` or `rejected`.
    pub status: String,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

/// All disputes of a customer, newest first.
///
/// # Errors
/// When the database fails.
pub async fn disputes(db: impl PgExecutor<'_>, customer: Uuid) -> Result<Vec<Dispute>> {
    Ok(sqlx::query_as!(
        Dispute,
        "select id, number, payment_id, reason, status, created_at from disputes
         where customer_id = $1 order by created_at desc",
        customer,
    )
    .fetch_all(db)
    .await?)
}

/// Number of the dispute about a payment, if there is one.
pub(super) async fn about(connection: &mut PgConnection, payment: Uuid) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select number from disputes where payment_id = $1", payment)
        .fetch_optional(connection)
        .await?)
}

/// Opens a dispute and answers with its number; `None` when there is one about this payment already.
pub(super) async fn open(
    connection: &mut PgConnection,
    customer: Uuid,
    payment: Uuid,
    conversation: Uuid,
    reason: &str,
) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!(
        "insert into disputes (id, customer_id, payment_id, conversation_id, reason) values ($1, $2, $3, $4, $5)
         on conflict on constraint disputes_payment_unique do nothing
         returning number",
        Uuid::now_v7(),
        customer,
        payment,
        conversation,
        reason,
    )
    .fetch_optional(connection)
    .await?)
}
