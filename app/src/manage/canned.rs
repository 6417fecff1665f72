//! `/manage/canned`: texts that agents insert by a shortcut.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::error::OnConstraint;
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result};

use super::Done;

/// The longest text: what a message can hold.
const LONGEST: usize = 8000;

#[derive(Template)]
#[template(path = "manage/canned.html")]
struct CannedPage {
    frame: Frame,
    tab: &'static str,
    responses: Vec<Row>,
    form: Form,
    /// The shortcut being edited; empty for a new one.
    editing: String,
    refusals: Refusals,
    done: &'static str,
}

struct Row {
    shortcut: String,
    title: String,
    text: String,
    updated: Moment,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Form {
    #[serde(default)]
    shortcut: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    text: String,
}

async fn page(app: &App, person: &Person, editing: &str, form: Form, refusals: Refusals) -> Result<CannedPage> {
    let frame = Frame::staff(&app.config.bank_name, "Canned responses", "manage", person);
    let responses = all(&app.db).await?;
    Ok(CannedPage { frame, tab: "canned", responses, form, editing: editing.to_owned(), refusals, done: "" })
}

async fn all(db: &PgPool) -> Result<Vec<Row>> {
    let rows = sqlx::query!("select shortcut, title, text, updated_at from canned_responses order by shortcut")
        .fetch_all(db)
        .await?;
    let row = |shortcut, title, text, at| Row { shortcut, title, text, updated: Moment(at) };
    Ok(rows.into_iter().map(|found| row(found.shortcut, found.title, found.text, found.updated_at)).collect())
}

pub(super) async fn list(app: web::Data<App>, person: Person, done: web::Query<Done>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut page = page(&app, &person, "", Form::default(), Refusals::none()).await?;
    page.done = match done.done.as_str() {
        "saved" => "The response is saved. Agents have it at once.",
        "deleted" => "The response is deleted.",
        _ => "",
    };
    pages::html(&page)
}

pub(super) async fn edit(app: web::Data<App>, person: Person, shortcut: web::Path<String>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let found = sqlx::query_as!(
        Form,
        "select shortcut, title, text from canned_responses where shortcut = $1",
        shortcut.as_str(),
    )
    .fetch_optional(&app.db)
    .await?
    .ok_or(AppError::NotFound("This canned response"))?;
    pages::html(&page(&app, &person, &shortcut, found, Refusals::none()).await?)
}

fn check(form: &Form) -> Refusals {
    let mut refusals = Refusals::none();
    let shortcut = !form.shortcut.is_empty()
        && form.shortcut.len() <= 40
        && form.shortcut.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !shortcut {
        refusals.refuse("shortcut", "Write small letters, digits and hyphens, for instance card-arrives.");
    }
    if form.title.trim().is_empty() || form.title.chars().count() > 120 {
        refusals.refuse("title", "Write a title of 1 to 120 characters.");
    }
    if form.text.trim().is_empty() || form.text.chars().count() > LONGEST {
        refusals.refuse("text", format!("Write a text of 1 to {LONGEST} characters."));
    }
    refusals
}

pub(super) async fn add(app: web::Data<App>, person: Person, form: web::Form<Form>) -> Result<HttpResponse> {
    store(&app, &person, "", form.into_inner()).await
}

pub(super) async fn save(
    app: web::Data<App>,
    person: Person,
    shortcut: web::Path<String>,
    form: web::Form<Form>,
) -> Result<HttpResponse> {
    store(&app, &person, &shortcut, form.into_inner()).await
}

/// Adds a response (`editing` empty) or changes the one under the shortcut `editing`.
async fn store(app: &App, person: &Person, editing: &str, form: Form) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let refusals = check(&form);
    if !refusals.is_empty() {
        return pages::refused(&page(app, person, editing, form, refusals).await?);
    }
    let mut tx = app.db.begin().await?;
    match write(&mut tx, person, editing, &form).await {
        Ok(()) => {}
        Err(AppError::Invalid(fields)) => {
            tx.rollback().await?;
            return pages::refused(&page(app, person, editing, form, Refusals::from(fields)).await?);
        }
        Err(error) => return Err(error),
    }
    let action = if editing.is_empty() { "canned_response.added" } else { "canned_response.changed" };
    record(&mut tx, person, action, &form.shortcut).await?;
    tx.commit().await?;
    Ok(pages::see_other("/manage/canned?done=saved"))
}

async fn write(connection: &mut PgConnection, person: &Person, editing: &str, form: &Form) -> Result<()> {
    let taken = || AppError::field("shortcut", "Another response has this shortcut.");
    if editing.is_empty() {
        sqlx::query!(
            "insert into canned_responses (id, shortcut, title, text, updated_by) values ($1, $2, $3, $4, $5)",
            Uuid::now_v7(),
            form.shortcut,
            form.title.trim(),
            form.text,
            person.id,
        )
        .execute(connection)
        .await
        .on_constraint("canned_responses_shortcut_key", taken)?;
        return Ok(());
    }
    let changed = sqlx::query!(
        "update canned_responses set shortcut = $2, title = $3, text = $4, updated_by = $5, updated_at = now()
         where shortcut = $1",
        editing,
        form.shortcut,
        form.title.trim(),
        form.text,
        person.id,
    )
    .execute(connection)
    .await
    .on_constraint("canned_responses_shortcut_key", taken)?;
    if changed.rows_affected() == 0 { Err(AppError::NotFound("This canned response")) } else { Ok(()) }
}

pub(super) async fn delete(app: web::Data<App>, person: Person, shortcut: web::Path<String>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut tx = app.db.begin().await?;
    let gone =
        sqlx::query!("delete from canned_responses where shortcut = $1", shortcut.as_str()).execute(&mut *tx).await?;
    if gone.rows_affected() == 0 {
        return Err(AppError::NotFound("This canned response"));
    }
    record(&mut tx, &person, "canned_response.deleted", &shortcut).await?;
    tx.commit().await?;
    Ok(pages::see_other("/manage/canned?done=deleted"))
}

async fn record(connection: &mut PgConnection, person: &Person, action: &str, shortcut: &str) -> Result<()> {
    let entry = Entry {
        actor: &person.actor(),
        action,
        subject_kind: "canned_response",
        subject_id: shortcut.to_owned(),
        details: json!({}),
    };
    audit::append(connection, entry).await?;
    Ok(())
}
