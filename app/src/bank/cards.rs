//! Cards: which there are, blocking one, ordering another in its place.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Result;

/// A card of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// Key.
    pub id: Uuid,
    /// The account it pays from.
    pub account_id: Uuid,
    /// `debit` or `credit`.
    pub kind: String,
    /// Last four digits.
    pub last4: String,
    /// `ordered`, `active` or `blocked`.
    pub status: String,
    /// Why it is blocked.
    pub block_reason: Option<String>,
    /// Since when it is blocked.
    pub blocked_at: Option<DateTime<Utc>>,
    /// The card it takes the place of.
    pub replaces: Option<Uuid>,
    /// When an ordered card should arrive.
    pub arrives_on: Option<NaiveDate>,
}

/// All cards of a customer, active ones first.
///
/// # Errors
/// When the database fails.
pub async fn cards(db: impl PgExecutor<'_>, customer: Uuid) -> Result<Vec<Card>> {
    Ok(sqlx::query_as!(
        Card,
        "select id, account_id, kind, last4, status, block_reason, blocked_at, replaces, arrives_on from cards
         where customer_id = $1
         order by case status when 'active' then 0 when 'ordered' then 1 else 2 end, created_at, last4",
        customer,
    )
    .fetch_all(db)
    .await?)
}

/// One card, locked, if it belongs to the customer.
pub(super) async fn lock(connection: &mut PgConnection, customer: Uuid, card: Uuid) -> Result<Option<Card>> {
    Ok(sqlx::query_as!(
        Card,
        "select id, account_id, kind, last4, status, block_reason, blocked_at, replaces, arrives_on from cards
         where customer_id = $1 and id = $2 for update",
        customer,
        card,
    )
    .fetch_optional(connection)
    .await?)
}

/// Blocks a card for good.
pub(super) async fn block(connection: &mut PgConnection, card: Uuid, reason: &str) -> Result<()> {
    sqlx::query!(
        "update cards set status = 'blocked', block_reason = $2, blocked_at = now() where id = $1",
        card,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The card that takes the place of `card`, if one was ordered.
pub(super) async fn replacement(connection: &mut PgConnection, card: Uuid) -> Result<Option<Card>> {
    Ok(sqlx::query_as!(
        Card,
        "select id, account_id, kind, last4, status, block_reason, blocked_at, replaces, arrives_on from cards
         where replaces = $1",
        card,
    )
    .fetch_optional(connection)
    .await?)
}

/// Orders a card in the place of `card`, to arrive on a day. It gets digits that the customer has on no other card.
pub(super) async fn order_replacement(
    connection: &mut PgConnection,
    customer: Uuid,
    card: &Card,
    arrives_on: NaiveDate,
) -> Result<()> {
    let taken: Vec<String> = cards(&mut *connection, customer).await?.into_iter().map(|card| card.last4).collect();
    let mut last4 = draw_last4();
    while taken.contains(&last4) {
        last4 = draw_last4();
    }
    sqlx::query!(
        "insert into cards (id, customer_id, account_id, kind, last4, status, replaces, arrives_on)
         values ($1, $2, $3, $4, $5, 'ordered', $6, $7)",
        Uuid::now_v7(),
        customer,
        card.account_id,
        card.kind,
        last4,
        card.id,
        arrives_on,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn draw_last4() -> String {
    format!("{:04}", rand::random_range(0..10_000_u32))
}
