//! `/help`: the articles as customers read them, and their search.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::app::App;
use crate::pages::{self, Frame};
use crate::{AppError, Result};

use super::articles::{self, Article, ArticleStatus};
use super::markdown::to_html;
use super::search::{Found, search};

/// Longest question that is searched for, in characters.
const MAX_QUESTION_CHARS: usize = 300;
/// Passages a search shows.
const SHOWN: usize = 8;

/// The pages for customers.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/help", web::get().to(list)).route("/help/{slug}", web::get().to(show));
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "chat/help.html")]
struct HelpPage {
    frame: Frame,
    question: String,
    groups: Vec<Group>,
    found: Vec<Found>,
}

struct Group {
    name: String,
    articles: Vec<Article>,
}

#[derive(Template)]
#[template(path = "chat/article.html")]
struct ArticlePage {
    frame: Frame,
    article: Article,
    body: String,
}

async fn list(app: web::Data<App>, query: web::Query<Query>) -> Result<HttpResponse> {
    let question: String = query.q.trim().chars().take(MAX_QUESTION_CHARS).collect();
    let (groups, found) = if question.is_empty() {
        (grouped(articles::published(&app.db).await?), Vec::new())
    } else {
        (Vec::new(), find(&app, &question).await?)
    };
    pages::html(&HelpPage { frame: Frame::public(&app.config.bank_name, "Help"), question, groups, found })
}

/// The best passage of each article that answers the question. A busy engine costs the meaning, not the words.
async fn find(app: &App, question: &str) -> Result<Vec<Found>> {
    let embedding = app.engine.embed(question).await.unwrap_or_default();
    let mut connection = app.db.acquire().await?;
    let mut found = search(&app.knowledge, &mut connection, question, &embedding, SHOWN * 3).await?;
    let mut seen = std::collections::HashSet::new();
    found.retain(|passage| seen.insert(passage.slug.clone()));
    found.truncate(SHOWN);
    Ok(found)
}

/// Articles under their first tag, groups by name.
fn grouped(articles: Vec<Article>) -> Vec<Group> {
    let mut groups = std::collections::BTreeMap::<String, Vec<Article>>::new();
    for article in articles {
        let tag = article.tags.first().map_or("More", String::as_str);
        groups.entry(capitalised(tag)).or_default().push(article);
    }
    groups.into_iter().map(|(name, articles)| Group { name, articles }).collect()
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

async fn show(app: web::Data<App>, slug: web::Path<String>) -> Result<HttpResponse> {
    let article = articles::article(&app.db, &slug).await?;
    if article.status != ArticleStatus::Published {
        return Err(AppError::NotFound("This article"));
    }
    let body = to_html(&article.body);
    pages::html(&ArticlePage { frame: Frame::public(&app.config.bank_name, article.title.clone()), article, body })
}
