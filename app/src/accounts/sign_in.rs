//! `/sign-in`, `/sign-out`, `/home`.

use actix_web::http::header::{RETRY_AFTER, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::limits::caller_address;
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::password::verify_password;
use super::throttle::Attempt;
use super::{Person, session};

#[derive(Template)]
#[template(path = "accounts/sign_in.html")]
struct SignInPage {
    frame: Frame,
    form: SignIn,
    refusals: Refusals,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SignIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// The form; who is signed in already goes on.
pub(super) async fn page(
    app: web::Data<App>,
    person: Option<Person>,
    query: web::Query<SignIn>,
) -> Result<HttpResponse> {
    if let Some(person) = person {
        return Ok(pages::see_other(destination(&query.next, &person)));
    }
    let form = SignIn { next: query.into_inner().next, ..SignIn::default() };
    let frame = Frame::public(&app.config.bank_name, "Sign in");
    pages::html(&SignInPage { frame, form, refusals: Refusals::none() })
}

/// Checks the password and starts a session.
pub(super) async fn submit(app: web::Data<App>, request: HttpRequest, form: web::Form<SignIn>) -> Result<HttpResponse> {
    let form = form.into_inner();
    let again = |form: SignIn, field: &str, message: String| {
        let mut refusals = Refusals::none();
        refusals.refuse(field, message);
        SignInPage { frame: Frame::public(&app.config.bank_name, "Sign in"), form, refusals }
    };
    if form.email.trim().is_empty() {
        return pages::refused(&again(form, "email", "Enter your email address.".to_owned()));
    }
    let attempt = Attempt::new(caller_address(&request), &form.email);
    if let Some(seconds) = attempt.admit(&app.db).await? {
        let page = again(form, "password", format!("Too many attempts. Try again in {}.", wait_words(seconds)));
        return Ok(HttpResponse::TooManyRequests()
            .insert_header((RETRY_AFTER, seconds.to_string()))
            .content_type("text/html; charset=utf-8")
            .body(page.render()?));
    }
    let known = sign_in_facts(&app.db, &form.email).await?;
    let right = verify_password(&form.password, known.as_ref().map(|known| known.password_hash.clone())).await?;
    match known {
        Some(known) if right && known.active => {
            attempt.succeeded(&app.db).await?;
            let agent: String = request
                .headers()
                .get(USER_AGENT)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            let mut tx = app.db.begin().await?;
            let token = session::start(&mut tx, known.id, &known.name, &agent).await?;
            tx.commit().await?;
            let next = if is_local_path(&form.next) { form.next.as_str() } else { "/home" };
            let mut answer = pages::see_other(next);
            answer
                .add_cookie(&session::cookie(token, app.config.secure_cookies()))
                .map_err(|error| AppError::Internal(error.to_string()))?;
            Ok(answer)
        }
        known => {
            record_refusal(&app.db, known.as_ref(), right).await?;
            pages::refused(&again(form, "password", "The address or the password is not right.".to_owned()))
        }
    }
}

/// Ends the session this browser holds; without one there is nothing to end.
pub(super) async fn sign_out(app: web::Data<App>, person: Option<Person>) -> Result<HttpResponse> {
    if let Some(person) = person {
        let mut tx = app.db.begin().await?;
        session::end(&mut tx, &person.actor(), person.session_id, Some(person.id)).await?;
        tx.commit().await?;
    }
    let mut answer = pages::see_other("/sign-in");
    answer
        .add_cookie(&session::no_cookie(app.config.secure_cookies()))
        .map_err(|error| AppError::Internal(error.to_string()))?;
    Ok(answer)
}

/// The page the signed-in person's role starts on.
pub(super) async fn home(person: Person) -> HttpResponse {
    pages::see_other(person.role.home())
}

struct Known {
    id: Uuid,
    name: String,
    password_hash: String,
    active: bool,
}

async fn sign_in_facts(db: &PgPool, email: &str) -> Result<Option<Known>> {
    let known = sqlx::query_as!(
        Known,
        "select id, name, password_hash, active from people where lower(email) = lower($1)",
        email.trim(),
    )
    .fetch_optional(db)
    .await?;
    Ok(known)
}

/// A refused sign-in is answered for, too. What was typed is not kept: it may be a password in the wrong field.
async fn record_refusal(db: &PgPool, known: Option<&Known>, right_password: bool) -> Result<()> {
    let (subject_kind, subject_id, reason) = match known {
        Some(known) if right_password => ("person", known.id.to_string(), "deactivated"),
        Some(known) => ("person", known.id.to_string(), "wrong_password"),
        None => ("person", "unknown".to_owned(), "unknown_address"),
    };
    let details = json!({ "reason": reason });
    let mut tx = db.begin().await?;
    let entry = Entry { actor: &Actor::System, action: "session.refused", subject_kind, subject_id, details };
    audit::append(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(())
}

fn destination<'a>(next: &'a str, person: &Person) -> &'a str {
    if is_local_path(next) { next } else { person.role.home() }
}

/// Whether `next` is a path of ours: `//host` and `/\host` lead elsewhere, and so does what a browser strips.
fn is_local_path(next: &str) -> bool {
    let mut letters = next.chars();
    letters.next() == Some('/')
        && !matches!(letters.next(), Some('/' | '\\'))
        && !next.chars().any(|c| c.is_control() || c == '\\')
        && !next.starts_with("/sign-")
}

fn wait_words(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} seconds") } else { format!("{} minutes", seconds.div_ceil(60)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_followed() {
        for right in ["/", "/desk", "/credit?band=high&x=/y", "/audit/applications/1"] {
            assert!(is_local_path(right), "{right}");
        }
        for wrong in [
            "",
            "desk",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\\b",
            "/\t/evil.example",
            "/sign-out",
        ] {
            assert!(!is_local_path(wrong), "{wrong}");
        }
    }
}
