//! Counts of what waits for somebody.

use sqlx::PgPool;

use crate::Result;

/// What waits, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// Customers waiting for a person.
    pub waiting: i64,
    /// Open applications past their deadline.
    pub past_deadline: i64,
    /// Open applications due within five days.
    pub near_deadline: i64,
    /// Decisions waiting for a second person.
    pub need_second: i64,
    /// Policies drafted and not activated.
    pub draft_policies: i64,
    /// Articles drafted and not published.
    pub draft_articles: i64,
    /// Ratings of 1 or 2 in the last seven days.
    pub poor_ratings: i64,
}

/// Counts it all.
///
/// # Errors
/// When the database fails.
pub async fn attention(db: &PgPool) -> Result<Attention> {
    let counts = sqlx::query_as!(
        Attention,
        r#"with open as (
               select decide_by from applications where status not in ('approved', 'declined', 'withdrawn'))
           select
             (select count(*) from conversations where status = 'waiting') as "waiting!",
             (select count(*) from open where decide_by < now()) as "past_deadline!",
             (select count(*) from open where decide_by between now() and now() + interval '5 days')
                as "near_deadline!",
             (select count(*) from applications where status = 'pending_second') as "need_second!",
             (select count(*) from policies where status = 'draft') as "draft_policies!",
             (select count(*) from articles where status = 'draft') as "draft_articles!",
             (select count(*) from conversations where csat <= 2 and resolved_at > now() - interval '7 days')
                as "poor_ratings!""#,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}
