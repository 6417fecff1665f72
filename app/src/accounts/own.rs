//! `/account`: one's own sessions and password.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::App;
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result};

use super::password::{password_problem, verify_password};
use super::session::browser_words;
use super::{Person, people, session};

#[derive(Template)]
#[template(path = "accounts/account.html")]
struct AccountPage {
    frame: Frame,
    person: Person,
    sessions: Vec<Row>,
    refusals: Refusals,
    done: &'static str,
}

struct Row {
    id: Uuid,
    browser: String,
    started: Moment,
    expires: Moment,
    is_this: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    done: String,
}

/// What was just done, in words; anything else in the address says nothing.
fn done_words(done: &str) -> &'static str {
    match done {
        "password" => "Your password is changed. Your other sessions have ended.",
        "session" => "The session has ended.",
        _ => "",
    }
}

async fn account_page(app: &App, person: Person, refusals: Refusals, done: &'static str) -> Result<AccountPage> {
    let sessions = session::of_person(&app.db, person.id)
        .await?
        .into_iter()
        .map(|session| Row {
            id: session.id,
            browser: browser_words(&session.user_agent),
            started: Moment(session.created_at),
            expires: Moment(session.expires_at),
            is_this: session.id == person.session_id,
        })
        .collect();
    let frame = Frame::staff(&app.config.bank_name, "Your account", "", &person);
    Ok(AccountPage { frame, person, sessions, refusals, done })
}

pub(super) async fn page(app: web::Data<App>, person: Person, shown: web::Query<Shown>) -> Result<HttpResponse> {
    pages::html(&account_page(&app, person, Refusals::none(), done_words(&shown.done)).await?)
}

/// Ends one of one's own sessions.
pub(super) async fn end_session(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    let mut tx = app.db.begin().await?;
    session::end(&mut tx, &person.actor(), *id, Some(person.id)).await?;
    tx.commit().await?;
    Ok(pages::see_other("/account?done=session"))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PasswordChange {
    #[serde(default)]
    current: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

/// Changes one's own password; other sessions end.
pub(super) async fn change_password(
    app: web::Data<App>,
    person: Person,
    form: web::Form<PasswordChange>,
) -> Result<HttpResponse> {
    let mut refusals = Refusals::none();
    if !verify_password(&form.current, Some(stored_hash(&app.db, person.id).await?)).await? {
        refusals.refuse("current", "This is not your present password.");
    }
    if let Some(problem) = password_problem(&form.password) {
        refusals.refuse("password", problem);
    } else if form.password != form.again {
        refusals.refuse("again", "The two new passwords differ.");
    }
    if !refusals.is_empty() {
        return pages::refused(&account_page(&app, person, refusals, "").await?);
    }
    let mut tx = app.db.begin().await?;
    people::set_password(&mut tx, &person.actor(), person.id, &form.password, Some(person.session_id)).await?;
    tx.commit().await?;
    Ok(pages::see_other("/account?done=password"))
}

async fn stored_hash(db: &PgPool, id: Uuid) -> Result<String> {
    sqlx::query_scalar!("select password_hash from people where id = $1", id)
        .fetch_optional(db)
        .await?
        .ok_or(AppError::NotFound("This person"))
}
