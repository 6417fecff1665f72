//! `/manage/articles`: what the assistant answers from.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::knowledge::{self, Article, ArticleStatus, NewArticle, to_html};
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result};

#[derive(Template)]
#[template(path = "manage/articles.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    articles: Vec<Row>,
}

struct Row {
    article: Article,
    updated: Moment,
}

pub(super) async fn list(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let articles = knowledge::articles(&app.db)
        .await?
        .into_iter()
        .map(|article| Row { updated: Moment(article.updated_at), article })
        .collect();
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "Articles", "manage", &person),
        tab: "articles",
        articles,
    })
}

#[derive(Template)]
#[template(path = "manage/article.html")]
struct ArticlePage {
    frame: Frame,
    tab: &'static str,
    form: Form,
    /// The article as stored; `None` while a new one is written.
    stored: Option<Article>,
    preview: Option<String>,
    revisions: Vec<Revision>,
    refusals: Refusals,
    done: &'static str,
}

struct Revision {
    number: i32,
    title: String,
    status: String,
    by: String,
    at: Moment,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Form {
    #[serde(default)]
    slug: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    tags: String,
    #[serde(default)]
    body: String,
    /// Which button was pressed: `preview`, `draft`, `publish` or `retire`.
    #[serde(default)]
    go: String,
}

impl Form {
    fn of(article: &Article) -> Self {
        Self {
            slug: article.slug.clone(),
            title: article.title.clone(),
            tags: article.tags.join(", "),
            body: article.body.clone(),
            go: String::new(),
        }
    }

    fn article(&self) -> NewArticle {
        NewArticle {
            slug: self.slug.trim().to_owned(),
            title: self.title.clone(),
            body: self.body.replace("\r\n", "\n"),
            tags: self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Shown {
    /// Fill the form from this past state.
    revision: Option<i32>,
    #[serde(default)]
    done: String,
}

async fn article_page(
    app: &App,
    person: &Person,
    stored: Option<Article>,
    form: Form,
    refusals: Refusals,
) -> Result<ArticlePage> {
    let title = stored.as_ref().map_or_else(|| "Write an article".to_owned(), |article| article.title.clone());
    let revisions = match &stored {
        Some(article) => revisions(&app.db, article.id).await?,
        None => Vec::new(),
    };
    let preview = (form.go == "preview").then(|| to_html(&form.body));
    let frame = Frame::staff(&app.config.bank_name, title, "manage", person);
    Ok(ArticlePage { frame, tab: "articles", form, stored, preview, revisions, refusals, done: "" })
}

async fn revisions(db: &PgPool, article: Uuid) -> Result<Vec<Revision>> {
    let rows = sqlx::query!(
        r#"select r.number, r.title, r.status, coalesce(p.name, 'Candor') as "by!", r.written_at as "at!: DateTime<Utc>"
           from article_revisions r left join people p on p.id = r.written_by
           where r.article_id = $1 order by r.number desc limit 50"#,
        article,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Revision {
            number: row.number,
            title: row.title,
            status: row.status,
            by: row.by,
            at: Moment(row.at),
        })
        .collect())
}

pub(super) async fn new(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    pages::html(&article_page(&app, &person, None, Form::default(), Refusals::none()).await?)
}

pub(super) async fn edit(
    app: web::Data<App>,
    person: Person,
    slug: web::Path<String>,
    shown: web::Query<Shown>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let stored = knowledge::article(&app.db, &slug).await?;
    let mut form = Form::of(&stored);
    if let Some(number) = shown.revision {
        let past = sqlx::query!(
            "select title, body from article_revisions where article_id = $1 and number = $2",
            stored.id,
            number,
        )
        .fetch_optional(&app.db)
        .await?
        .ok_or(AppError::NotFound("This revision"))?;
        (form.title, form.body) = (past.title, past.body);
    }
    let mut page = article_page(&app, &person, Some(stored), form, Refusals::none()).await?;
    page.done = match shown.done.as_str() {
        _ if shown.revision.is_some() => "This is an earlier text. It counts only once you save it.",
        "draft" => "Saved as a draft. Customers do not see it, and the assistant does not answer from it.",
        "published" => "Published. The assistant answers from it from now on.",
        "retired" => "Retired. Customers no longer see it.",
        _ => "",
    };
    pages::html(&page)
}

pub(super) async fn create(app: web::Data<App>, person: Person, form: web::Form<Form>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let form = form.into_inner();
    match knowledge::article(&app.db, form.slug.trim()).await {
        Err(AppError::NotFound(_)) => store(&app, &person, None, form).await,
        Err(error) => Err(error),
        Ok(_) => {
            let mut refusals = Refusals::none();
            refusals.refuse("slug", "Another article has this address.");
            pages::refused(&article_page(&app, &person, None, form, refusals).await?)
        }
    }
}

pub(super) async fn save(
    app: web::Data<App>,
    person: Person,
    slug: web::Path<String>,
    form: web::Form<Form>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let stored = knowledge::article(&app.db, &slug).await?;
    let form = Form { slug: stored.slug.clone(), ..form.into_inner() };
    store(&app, &person, Some(stored), form).await
}

/// Shows a preview, or saves with the status of the button that was pressed.
async fn store(app: &App, person: &Person, stored: Option<Article>, form: Form) -> Result<HttpResponse> {
    let (status, done) = match form.go.as_str() {
        "publish" => (ArticleStatus::Published, "published"),
        "retire" => (ArticleStatus::Retired, "retired"),
        "draft" => (ArticleStatus::Draft, "draft"),
        _ => {
            let form = Form { go: "preview".to_owned(), ..form };
            return pages::html(&article_page(app, person, stored, form, Refusals::none()).await?);
        }
    };
    let article = form.article();
    let mut tx = app.db.begin().await?;
    let id = match knowledge::save(&mut tx, &app.engine, &article, status, Some(person.id)).await {
        Ok(id) => id,
        Err(AppError::Invalid(fields)) => {
            tx.rollback().await?;
            return pages::refused(&article_page(app, person, stored, form, Refusals::from(fields)).await?);
        }
        Err(error) => return Err(error),
    };
    let entry = Entry {
        actor: &person.actor(),
        action: match status {
            ArticleStatus::Published => "article.published",
            ArticleStatus::Draft => "article.drafted",
            ArticleStatus::Retired => "article.retired",
        },
        subject_kind: "article",
        subject_id: id.to_string(),
        details: json!({
            "slug": article.slug,
            "title": article.title.trim(),
            "body_sha256": hex::encode(Sha256::digest(&article.body)),
        }),
    };
    audit::append(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(pages::see_other(format!("/manage/articles/{}?done={done}", article.slug)))
}
