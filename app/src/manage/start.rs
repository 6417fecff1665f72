//! `/manage`: what needs a manager's attention, and the way to everything else.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{TimeDelta, Utc};

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, grouped};
use crate::jobs;
use crate::pages::{self, Frame};
use crate::reports::{self, Attention};

#[derive(Template)]
#[template(path = "manage/start.html")]
struct StartPage {
    frame: Frame,
    tab: &'static str,
    items: Vec<Item>,
}

/// One thing that needs attention.
struct Item {
    /// Chip class: `warn` or `danger`.
    tone: &'static str,
    count: String,
    words: String,
    href: &'static str,
}

fn item(tone: &'static str, count: i64, words: &str, href: &'static str) -> Option<Item> {
    (count > 0).then(|| Item { tone, count: grouped(count), words: words.to_owned(), href })
}

/// What the state of the audit chain asks for.
async fn chain(app: &App) -> Result<Option<Item>> {
    let last = audit::last_verified(&app.db).await?;
    let item = |tone, count: String, words: &str| Some(Item { tone, count, words: words.to_owned(), href: "/audit" });
    Ok(match last {
        Some(last) => match last.broken_number {
            Some(number) => item("danger", format!("Entry {number}"), "The audit chain is broken."),
            None if last.at < Utc::now() - TimeDelta::days(1) => {
                item("warn", "Over a day".to_owned(), "since the audit chain was verified.")
            }
            None => None,
        },
        None => item("warn", "Not yet".to_owned(), "The audit chain has not been verified."),
    })
}

fn items(attention: &Attention, failed_jobs: i64) -> impl Iterator<Item = Item> {
    [
        item("danger", attention.past_deadline, "open applications past their legal deadline", "/credit"),
        item("warn", attention.near_deadline, "open applications due within 5 days", "/credit"),
        item("warn", attention.waiting, "customers waiting for a person", "/desk"),
        item("warn", attention.need_second, "decisions waiting for a second person", "/credit"),
        item("warn", attention.draft_policies, "policy drafts not yet active", "/manage/policies"),
        item("warn", attention.draft_articles, "article drafts not yet published", "/manage/articles"),
        item("warn", attention.poor_ratings, "ratings of 1 or 2 in the last 7 days", "/manage/reports?days=7"),
        item("danger", failed_jobs, "jobs given up: letters or webhooks that did not go out", "/audit"),
    ]
    .into_iter()
    .flatten()
}

pub(super) async fn page(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let attention = reports::attention(&app.db).await?;
    let failed = jobs::waiting(&app.db).await?.failed;
    let items = chain(&app).await?.into_iter().chain(items(&attention, failed)).collect();
    pages::html(&StartPage {
        frame: Frame::staff(&app.config.bank_name, "Manage", "manage", &person),
        tab: "start",
        items,
    })
}
