//! What agents do: each a form that is sent, and a page to go on with.

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::{HttpResponse, web};
use askama::Template as _;
use serde::Deserialize;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::conversations::{Author, store};
use crate::live::presence::Doing;
use crate::{AppError, Result};

use super::assignment::{self, HOLD_MINUTES, Step, take_step};
use super::compose::{self, Draft, Origin};
use super::filter::{Filter, Query};
use super::view::{Notice, Request, Screen};
use super::{enter, leave};

/// The fields of the small forms around a conversation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StepForm {
    /// The list's query string, to come back to it.
    pub(super) query: String,
    /// To whom it is assigned.
    to: String,
}

/// `POST /desk/take-next`: holds whichever conversation has waited longest.
pub(super) async fn take_next(app: web::Data<App>, person: Person, form: web::Form<StepForm>) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let mut transaction = app.db.begin().await?;
    let held = store::hold_next(&mut transaction, person.id, HOLD_MINUTES).await?;
    transaction.commit().await?;
    match held {
        Some(conversation) => {
            assignment::tell(&app, &conversation, None).await;
            Ok(go_on(Some(conversation.number), "tab=mine", ""))
        }
        None => Ok(go_on(None, &form.query, "nobody-waits")),
    }
}

/// `POST /desk/{number}/{step}`
pub(super) async fn step(
    app: web::Data<App>,
    person: Person,
    path: web::Path<(i64, String)>,
    form: web::Form<StepForm>,
) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let (number, name) = path.into_inner();
    let (step, done) = match name.as_str() {
        "take" => (Step::Take, ""),
        "release" => (Step::Release, "released"),
        "hand-back" => (Step::HandBack, "handed-back"),
        "assign" => {
            let to = Uuid::try_parse(&form.to)
                .map_err(|_| AppError::field("to", "Choose to whom the conversation is assigned."))?;
            (Step::Assign(to), "assigned")
        }
        "resolve" => (Step::Resolve, "resolved"),
        "reopen" => (Step::Reopen, "reopened"),
        "undo-resolve" => (Step::UndoResolve, "reopened"),
        _ => return Err(AppError::NotFound("This page")),
    };
    match take_step(&app, &person, number, step).await {
        Ok(()) => Ok(go_on(Some(number), &form.query, done)),
        Err(AppError::Conflict(words)) => again(&app, &person, number, &form.query, words, None).await,
        Err(error) => Err(error),
    }
}

/// The composer's fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ComposeForm {
    query: String,
    /// `reply` or `note`.
    kind: String,
    text: String,
    key: String,
    origin_kind: String,
    origin_source: String,
    origin_text: String,
}

/// `POST /desk/{number}/compose`: a reply or a note.
pub(super) async fn compose(
    app: web::Data<App>,
    person: Person,
    number: web::Path<i64>,
    form: web::Form<ComposeForm>,
) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let form = form.into_inner();
    let draft = Draft {
        note: match form.kind.as_str() {
            "note" => true,
            "reply" => false,
            _ => return Err(AppError::BadRequest("Say whether it is a reply or a note.".to_owned())),
        },
        text: form.text,
        key: Uuid::try_parse(&form.key).ok(),
        origin: Origin::new(form.origin_kind, form.origin_source, form.origin_text),
    };
    match compose::send(&app, &person, *number, draft.clone()).await {
        Ok(()) => {
            let conversation = store::find_by_number(&app.db, *number).await?;
            enter(&app, &person, &conversation, Doing::Viewing).await;
            Ok(go_on(Some(*number), &form.query, ""))
        }
        Err(AppError::Conflict(words)) => again(&app, &person, *number, &form.query, words, Some(draft)).await,
        Err(AppError::Invalid(fields)) => {
            let words = fields.into_iter().next().map_or_else(String::new, |field| field.message);
            let query = Query::default();
            let filter = filter(&form.query);
            let conversation = store::find_by_number(&app.db, *number).await?;
            let request = Request { app: &app, person: &person, query: &query, filter, open: Some(&conversation) };
            let page = request.page(Screen::Thread, None, Some((draft, words))).await?;
            Ok(HttpResponse::build(StatusCode::UNPROCESSABLE_ENTITY)
                .content_type(ContentType::html())
                .body(page.render()?))
        }
        Err(error) => Err(error),
    }
}

/// What an open page says about itself.
#[derive(Debug, Deserialize)]
pub(super) struct PresenceForm {
    /// `viewing`, `replying`, `noting` or `left`.
    doing: String,
}

/// `POST /desk/{number}/presence`: stays, writes, or goes. Writing a reply is shown to the customer too.
pub(super) async fn presence(
    app: web::Data<App>,
    person: Person,
    number: web::Path<i64>,
    form: web::Form<PresenceForm>,
) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let conversation = store::find_by_number(&app.db, *number).await?;
    match form.doing.as_str() {
        "left" => leave(&app, &person, &conversation).await,
        "replying" => {
            enter(&app, &person, &conversation, Doing::Replying).await;
            store::prolong_hold(&app.db, conversation.id, person.id, HOLD_MINUTES).await?;
            store::announce_typing(&app.live, conversation.id, Author::Agent, &person.name, true).await;
        }
        _ => enter(&app, &person, &conversation, Doing::Viewing).await,
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The page as it is now, with why the last step was refused (409) and what was typed.
async fn again(
    app: &App,
    person: &Person,
    number: i64,
    query: &str,
    words: String,
    draft: Option<Draft>,
) -> Result<HttpResponse> {
    let conversation = store::find_by_number(&app.db, number).await?;
    let empty = Query::default();
    let request = Request { app, person, query: &empty, filter: filter(query), open: Some(&conversation) };
    let draft = draft.map(|draft| (draft, words.clone()));
    let page = request.page(Screen::Thread, Some(Notice::refused(words)), draft).await?;
    Ok(HttpResponse::build(StatusCode::CONFLICT).content_type(ContentType::html()).body(page.render()?))
}

/// The filter that a form carried along. What can not be read is left out.
fn filter(query: &str) -> Filter {
    let query = web::Query::<Query>::from_query(query).map(web::Query::into_inner).unwrap_or_default();
    Filter::from(&query)
}

/// Back to the list with the conversation open.
pub(super) fn go_on(number: Option<i64>, query: &str, done: &str) -> HttpResponse {
    let mut address = number.map_or_else(|| "/desk".to_owned(), |number| format!("/desk/{number}"));
    address.push('?');
    // Through the filter, so that a form can not send the browser anywhere else.
    address.push_str(&filter(query).query());
    if !done.is_empty() {
        address.push_str("&done=");
        address.push_str(done);
    }
    HttpResponse::SeeOther().insert_header((LOCATION, address)).finish()
}
