//! Canned responses: answers kept for what is asked often.

use sqlx::PgPool;

use crate::Result;

/// A canned response.
#[derive(Debug, Clone)]
pub(super) struct Canned {
    /// What is typed after a slash.
    pub(super) shortcut: String,
    pub(super) title: String,
    pub(super) text: String,
}

/// All canned responses, by title.
pub(super) async fn all(db: &PgPool) -> Result<Vec<Canned>> {
    Ok(sqlx::query_as!(Canned, "select shortcut, title, text from canned_responses order by title, shortcut")
        .fetch_all(db)
        .await?)
}

/// A canned response for one customer: `{name}` becomes the customer's first name, `{agent}` the agent's.
pub(super) fn fill(text: &str, customer: Option<&str>, agent: &str) -> String {
    let first = |name: &str| name.split_whitespace().next().unwrap_or(name).to_owned();
    text.replace("{name}", &first(customer.unwrap_or("customer"))).replace("{agent}", &first(agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        assert_eq!(fill("Dear {name}, {agent} here.", Some("Anna Berg"), "Bea Lind"), "Dear Anna, Bea here.");
        assert_eq!(fill("Dear {name}.", None, "Bea Lind"), "Dear customer.");
    }
}
