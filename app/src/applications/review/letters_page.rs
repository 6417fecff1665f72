//! Letters as they were sent.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment};

use super::super::letters::{self, Letter};

/// Letters on a page.
const PAGE: i64 = 50;

#[derive(Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    page: Option<i64>,
}

#[derive(Template)]
#[template(path = "credit/letters.html")]
struct LettersPage {
    frame: Frame,
    letters: Vec<(Letter, Moment)>,
    mails: bool,
    page: i64,
    more: bool,
}

/// The letters sent last.
pub(super) async fn list(app: web::Data<App>, person: Person, place: web::Query<Place>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let page = place.page.unwrap_or(1).clamp(1, 100_000);
    let mut letters = letters::recent(&app.db, PAGE + 1, (page - 1) * PAGE).await?;
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let more = letters.len() > most;
    letters.truncate(most);
    pages::html(&LettersPage {
        frame: Frame::staff(&app.config.bank_name, "Letters", "credit", &person),
        letters: letters.into_iter().map(|letter| (letter.clone(), Moment(letter.sent_at))).collect(),
        mails: app.config.smtp_url.is_some(),
        page,
        more,
    })
}

#[derive(Template)]
#[template(path = "credit/letter.html")]
struct LetterPage {
    frame: Frame,
    letter: Letter,
    sent: Moment,
    mailed: Option<Moment>,
    mails: bool,
}

/// One letter, ready to be printed.
pub(super) async fn letter(app: web::Data<App>, person: Person, letter: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let letter = letters::find(&app.db, *letter).await?;
    pages::html(&LetterPage {
        frame: Frame::staff(&app.config.bank_name, letter.subject.clone(), "credit", &person),
        sent: Moment(letter.sent_at),
        mailed: letter.mailed_at.map(Moment),
        mails: app.config.smtp_url.is_some(),
        letter,
    })
}

/// One letter as a text file.
pub(super) async fn text(app: web::Data<App>, person: Person, letter: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let letter = letters::find(&app.db, *letter).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"letter-{}.txt\"", letter.number)))
        .body(letter.body_text))
}
