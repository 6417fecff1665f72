//! Accounts and their balances.

use serde::Serialize;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// An account of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Key.
    pub id: Uuid,
    /// IBAN or account number.
    pub number: String,
    /// `current`, `savings` or `loan`.
    pub kind: String,
    /// Its name as the customer knows it.
    pub name: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Balance in cents; negative for what is owed.
    pub balance_minor: i64,
}

/// All accounts of a customer, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn accounts(db: impl PgExecutor<'_>, customer: Uuid) -> Result<Vec<Account>> {
    Ok(sqlx::query_as!(
        Account,
        "select id, number, kind, name, currency, balance_minor from accounts
         where customer_id = $1 order by opened_at, number",
        customer,
    )
    .fetch_all(db)
    .await?)
}
