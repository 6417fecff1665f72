//! The demonstration bank: some months of life for an empty database.
//!
//! Customers and their records are invented. Everything else is made the way the real thing is: conversations are
//! held by the dialogue manager, applications scored by the model in force and decided by officers with letters and
//! audit entries. Only the clock is set back afterwards.

mod applications;
mod conversations;
mod customers;
mod people;

pub use people::{PASSWORD, sign_ins};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rust_embed::Embed;

use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::knowledge::{self, ArticleStatus};
use crate::{AppError, Result};

/// The articles of the demonstration bank.
#[derive(Embed)]
#[folder = "demo/articles"]
struct Articles;

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Customers with accounts.
    pub customers: u32,
    /// Conversations over the last 30 days.
    pub conversations: u32,
    /// Loan applications over the last 30 days; nine tenths as many come before them.
    pub applications: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { customers: 90, conversations: 110, applications: 400 }
    }
}

/// Whether the bank is empty: nobody could sign in and there is no customer.
///
/// # Errors
/// When the database fails.
pub async fn is_empty(app: &App) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from people) or exists (select from customers) or exists (select from conversations) as "found!""#
    )
    .fetch_one(&app.db)
    .await?;
    Ok(!found)
}

/// Fills an empty bank and tells how far it is.
///
/// # Errors
/// When the database or the engine fails; what was filled so far stays.
pub async fn fill(app: &App, size: Size, tell: impl Fn(&str)) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(2026);
    tell("Demonstration bank: customers, accounts, cards, payments");
    let mut tx = app.db.begin().await?;
    let customers = customers::fill(&mut tx, &mut rng, size.customers).await?;
    tx.commit().await?;

    let staff = people::fill(app).await?;
    let mut tx = app.db.begin().await?;
    audit::append(
        &mut tx,
        Entry {
            actor: &Actor::System,
            action: "demonstration.begun",
            subject_kind: "bank",
            subject_id: "demonstration".to_owned(),
            details: serde_json::json!({
                "customers": size.customers,
                "conversations": size.conversations,
                "applications": size.applications,
                "note": "Dates of this demonstration are set back; the entries' own times are when it was filled.",
            }),
        },
    )
    .await?;
    tx.commit().await?;
    let articles = articles(app).await?;
    tell(&format!("Demonstration bank: {articles} articles"));
    // The first customer is left as it is: the README's tour begins with it.
    let others = customers.get(1..).unwrap_or_default();
    applications::fill(app, &mut rng, others, &staff, size.applications, &tell).await?;
    conversations::fill(app, &mut rng, others, &staff, size.conversations, &tell).await?;
    Ok(())
}

/// The articles' files: slug and Markdown with front matter.
pub(crate) fn article_files() -> impl Iterator<Item = (String, String)> {
    Articles::iter().filter_map(|path| {
        let file = Articles::get(&path)?;
        Some((path.trim_end_matches(".md").to_owned(), String::from_utf8_lossy(&file.data).into_owned()))
    })
}

/// Saves the shipped articles and says how many.
async fn articles(app: &App) -> Result<usize> {
    let mut count = 0;
    for (slug, text) in article_files() {
        let article =
            knowledge::read_source(&slug, &text).map_err(|error| AppError::Internal(format!("article {error}")))?;
        let mut connection = app.db.acquire().await?;
        knowledge::save(&mut connection, &app.engine, &article, ArticleStatus::Published, None).await?;
        count += 1;
    }
    Ok(count)
}
