//! Complaints.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Result;

/// A complaint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Complaint {
    /// Key.
    pub id: Uuid,
    /// The number people use, from 5001.
    pub number: i64,
    /// What it is about, in the customer's words.
    pub about: String,
    /// `open`, `answered` or `closed`.
    pub status: String,
    /// Day by which the bank answers.
    pub answer_due: NaiveDate,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// All complaints of a customer, newest first.
///
/// # Errors
/// When the database fails.
pub async fn complaints(db: impl PgExecutor<'_>, customer: Uuid) -> Result<Vec<Complaint>> {
    Ok(sqlx::query_as!(
        Complaint,
        "select id, number, about, status, answer_due, created_at from complaints
         where customer_id = $1 order by created_at desc",
        customer,
    )
    .fetch_all(db)
    .await?)
}

/// Files a complaint and answers with its number. The customer may be unknown.
pub(super) async fn file(
    connection: &mut PgConnection,
    customer: Option<Uuid>,
    conversation: Uuid,
    about: &str,
    answer_due: NaiveDate,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        "insert into complaints (id, customer_id, conversation_id, about, answer_due) values ($1, $2, $3, $4, $5)
         returning number",
        Uuid::now_v7(),
        customer,
        conversation,
        about,
        answer_due,
    )
    .fetch_one(connection)
    .await?)
}
