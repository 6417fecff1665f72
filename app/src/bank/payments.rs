//! Payments on the accounts of a customer.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// A payment on one of the customer's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Key.
    pub id: Uuid,
    /// The account it was booked on.
    pub account_id: Uuid,
    /// The card it was made with.
    pub card_id: Option<Uuid>,
    /// `card`, `transfer_in`, `transfer_out`, `direct_debit`, `salary`, `fee` or `cash`.
    pub kind: String,
    /// The other side.
    pub counterparty: String,
    /// What it is for.
    pub reference: String,
    /// Cents; negative for money that left.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// `pending`, `completed`, `failed` or `returned`.
    pub status: String,
    /// The same in words for the customer; may be empty.
    pub status_detail: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// When a pending one should arrive.
    pub expected_on: Option<NaiveDate>,
    /// Whether there is a dispute about it.
    pub disputed: bool,
}

/// Which payments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    /// Only this payment.
    pub id: Option<Uuid>,
    /// Only this account.
    pub account: Option<Uuid>,
    /// Only this amount in cents, whatever its sign.
    pub amount_minor: Option<i64>,
    /// Only counterparties that contain this, ignoring case.
    pub counterparty: Option<&'a str>,
}

/// The newest `limit` payments of a customer over all accounts, newest first.
///
/// # Errors
/// When the database fails.
pub async fn payments(db: impl PgExecutor<'_>, customer: Uuid, limit: i64) -> Result<Vec<Payment>> {
    filtered(db, customer, &Filter::default(), limit).await
}

/// The newest `limit` payments of a customer that pass the filter.
pub(super) async fn filtered(
    db: impl PgExecutor<'_>,
    customer: Uuid,
    filter: &Filter<'_>,
    limit: i64,
) -> Result<Vec<Payment>> {
    Ok(sqlx::query_as!(
        Payment,
        r#"select p.id, p.account_id, p.card_id, p.kind, p.counterparty, p.reference, p.amount_minor, p.currency,
                  p.status, p.status_detail, p.made_at, p.expected_on,
                  exists (select from disputes d where d.payment_id = p.id) as "disputed!"
           from payments p join accounts a on a.id = p.account_id
           where a.customer_id = $1
             and ($2::uuid is null or p.id = $2)
             and ($3::uuid is null or p.account_id = $3)
             and ($4::bigint is null or abs(p.amount_minor) = abs($4))
             and ($5::text is null or position(lower($5) in lower(p.counterparty)) > 0)
           order by p.made_at desc, p.id limit $6"#,
        customer,
        filter.id,
        filter.account,
        filter.amount_minor,
        filter.counterparty,
        limit,
    )
    .fetch_all(db)
    .await?)
}
