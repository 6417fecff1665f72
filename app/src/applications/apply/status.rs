//! The applicant's own page: where the application stands, why, what happens next, and the letters.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde_json::json;
use uuid::Uuid;

use crate::accounts::token_hash;
use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::live::{CREDIT, Event};
use crate::pages::{self, Frame, Moment};
use crate::{AppError, Result};

use super::super::letters::{self, Letter};
use super::super::words::{self, CustomerState, CustomerWords};
use super::super::{Application, Status, application};

#[derive(Template)]
#[template(path = "apply/status.html")]
struct StatusPage {
    frame: Frame,
    token: String,
    application: Application,
    received: Moment,
    decide_by: String,
    words: CustomerWords,
    letters: Vec<(Letter, Moment)>,
}

impl StatusPage {
    fn in_review(&self) -> bool {
        self.words.state == CustomerState::InReview
    }

    fn waits_for_documents(&self) -> bool {
        self.words.state == CustomerState::Documents
    }

    fn is_declined(&self) -> bool {
        self.words.state == CustomerState::Declined
    }

    fn is_approved(&self) -> bool {
        self.words.state == CustomerState::Approved
    }
}

async fn behind(app: &App, token: &str) -> Result<Application> {
    let hash = token_hash(token);
    application::find_by_status_token(&app.db, &hash).await?.ok_or(AppError::NotFound("This application"))
}

/// The page behind an applicant's link.
pub(super) async fn page(app: web::Data<App>, token: web::Path<String>) -> Result<HttpResponse> {
    let application = behind(&app, &token).await?;
    let mut connection = app.db.acquire().await?;
    let words = words::customer_words(&mut connection, &application).await?;
    let letters = letters::of_application(&mut *connection, application.id).await?;
    pages::html(&StatusPage {
        frame: Frame::public(&app.config.bank_name, words.headline.clone()),
        token: token.into_inner(),
        received: Moment(application.received_at),
        decide_by: application.decide_by.format("%A %-d %B %Y").to_string(),
        words,
        letters: letters.into_iter().map(|letter| (letter.clone(), Moment(letter.sent_at))).collect(),
        application,
    })
}

/// Withdraws an application that is not decided yet.
pub(super) async fn withdraw(app: web::Data<App>, token: web::Path<String>) -> Result<HttpResponse> {
    let found = behind(&app, &token).await?;
    let mut transaction = app.db.begin().await?;
    let application = application::lock(&mut *transaction, found.id).await?;
    if !application.status.may_be_decided() {
        return Err(AppError::Conflict(if application.status == Status::PendingSecond {
            "A decision is being confirmed just now. Please write to us instead.".to_owned()
        } else {
            "This application is decided or withdrawn already.".to_owned()
        }));
    }
    sqlx::query!("update applications set status = 'withdrawn', decided_at = now() where id = $1", application.id)
        .execute(&mut *transaction)
        .await?;
    let entry = Entry {
        actor: &Actor::Customer {
            id: application
                .customer_id
                .map_or_else(|| format!("applicant {}", application.number), |id| id.to_string()),
        },
        action: "application.withdrawn",
        subject_kind: "application",
        subject_id: application.id.to_string(),
        details: json!({ "number": application.number }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    let event = Event { topic: CREDIT.to_owned(), kind: "decided".to_owned(), data: json!({ "id": application.id }) };
    app.live.publish(event).await;
    Ok(pages::see_other(format!("/apply/status/{token}")))
}

#[derive(Template)]
#[template(path = "apply/letter.html")]
struct LetterPage {
    frame: Frame,
    token: String,
    letter: Letter,
}

/// A letter, for the applicant to read and print.
pub(super) async fn letter(app: web::Data<App>, place: web::Path<(String, Uuid)>) -> Result<HttpResponse> {
    let (token, letter) = place.into_inner();
    let application = behind(&app, &token).await?;
    let letter = letters::find(&app.db, letter).await?;
    if letter.application_id != application.id {
        return Err(AppError::NotFound("This letter"));
    }
    pages::html(&LetterPage { frame: Frame::public(&app.config.bank_name, letter.subject.clone()), token, letter })
}
