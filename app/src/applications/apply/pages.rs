//! The pages of the form.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::app::App;
use crate::limits::Quota;
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::super::application::find_by_draft;
use super::super::submit::{self, Draft as Origin, NewApplication};
use super::super::{Channel, Session};
use super::answers::{Answers, Said, capital};
use super::browser;
use super::drafts::{self, Draft};
use super::steps::{Kind, Question, STEPS, Step, step as find_step};

/// Applications and drafts that may come from one address: a household, a branch, a campus.
const BEGINS: Quota = Quota { limit: 60, window: Duration::from_secs(3600) };

#[derive(Template)]
#[template(path = "apply/start.html")]
struct StartPage {
    frame: Frame,
    /// Where an application that was begun goes on.
    goes_on: Option<String>,
    /// The page of one that was sent.
    sent: Option<String>,
}

/// What the form is about, and where it begins.
pub(super) async fn start(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let draft = browser::draft(&app, &request).await?;
    let (goes_on, sent) = match &draft {
        Some(draft) if find_by_draft(&app.db, draft.id).await?.is_some() => {
            (None, Some(format!("/apply/status/{}", draft.status_token())))
        }
        Some(draft) => (Some(next_place(&draft.answers)), None),
        None => (None, None),
    };
    pages::html(&StartPage { frame: Frame::public(&app.config.bank_name, "Apply for a loan"), goes_on, sent })
}

/// The first step that needs an answer, or the check.
fn next_place(answers: &Answers) -> String {
    answers.first_open().map_or_else(|| "/apply/check".to_owned(), |step| format!("/apply/{}", step.number))
}

#[derive(Deserialize)]
pub(super) struct Begin {
    #[serde(default)]
    keep: Option<String>,
}

/// Begins an application.
pub(super) async fn begin(app: web::Data<App>, request: HttpRequest, form: web::Form<Begin>) -> Result<HttpResponse> {
    if let Some(address) = request.peer_addr() {
        app.limits.take(&format!("apply-address:{}", address.ip()), BEGINS).await.check()?;
    }
    let draft = drafts::begin(&app.db, form.keep.is_some()).await?;
    let mut answer = pages::see_other("/apply/1");
    browser::give(&app, &request, &draft, &mut answer)?;
    Ok(answer)
}

#[derive(Template)]
#[template(path = "apply/step.html")]
struct StepPage {
    frame: Frame,
    refusals: Refusals,
    step: &'static Step,
    steps: usize,
    fields: Vec<Field>,
    returns: bool,
}

/// A question with what was typed.
struct Field {
    question: &'static Question,
    typed: String,
    /// Name, label, value and width of each input of a question with several.
    parts: Vec<(&'static str, &'static str, String)>,
    choices: Vec<(&'static str, String, bool)>,
    /// The input's type, its autocomplete word and keyboard.
    input: (&'static str, &'static str, &'static str),
    unit: &'static str,
}

impl Field {
    fn new(question: &'static Question, answers: &Answers) -> Self {
        let parts: &[(&str, &str)] = match question.kind {
            Kind::Day => &[("day", "Day"), ("month", "Month"), ("year", "Year")],
            Kind::Span => &[("years", "Years"), ("months", "Months")],
            _ => &[],
        };
        let typed = answers.of(question.name);
        Self {
            question,
            typed: typed.to_owned(),
            parts: parts
                .iter()
                .map(|(part, label)| (*part, *label, answers.part(question.name, part).to_owned()))
                .collect(),
            choices: question
                .kind
                .choices()
                .into_iter()
                .map(|(code, words)| (code, capital(words), code == typed))
                .collect(),
            input: match question.kind {
                Kind::Text(kind, complete) => (kind, complete, if kind == "tel" { "tel" } else { "" }),
                Kind::Money => ("text", "off", "decimal"),
                _ => ("text", "off", "numeric"),
            },
            unit: match question.kind {
                Kind::Money => "€",
                Kind::Whole(unit) => unit,
                _ => "",
            },
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Place {
    /// Present when the check page sent the applicant here.
    #[serde(default)]
    change: Option<String>,
}

/// One step.
pub(super) async fn step(
    app: web::Data<App>,
    request: HttpRequest,
    number: web::Path<String>,
    place: web::Query<Place>,
) -> Result<HttpResponse> {
    let step = number.parse().ok().and_then(find_step).ok_or(AppError::NotFound("This step"))?;
    let Some(draft) = unsent(&app, &request).await? else { return Ok(pages::see_other("/apply")) };
    pages::html(&step_page(&app, step, &draft.answers, Refusals::none(), place.change.is_some()))
}

fn step_page(app: &App, step: &'static Step, answers: &Answers, refusals: Refusals, returns: bool) -> StepPage {
    let title = if refusals.is_empty() { step.title.to_owned() } else { format!("Error: {}", step.title) };
    StepPage {
        frame: Frame::public(&app.config.bank_name, title),
        refusals,
        step,
        steps: STEPS.len(),
        fields: step.questions.iter().map(|question| Field::new(question, answers)).collect(),
        returns,
    }
}

/// The draft of this browser, when it was not sent yet.
async fn unsent(app: &App, request: &HttpRequest) -> Result<Option<Draft>> {
    let Some(draft) = browser::draft(app, request).await? else { return Ok(None) };
    Ok(find_by_draft(&app.db, draft.id).await?.is_none().then_some(draft))
}

/// Keeps a step's answers and goes on.
pub(super) async fn answer(
    app: web::Data<App>,
    request: HttpRequest,
    number: web::Path<String>,
    fields: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse> {
    let step = number.parse().ok().and_then(find_step).ok_or(AppError::NotFound("This step"))?;
    let Some(draft) = unsent(&app, &request).await? else { return Ok(pages::see_other("/apply")) };
    let mut answers = draft.answers;
    answers.take(step, &fields);
    drafts::save(&app.db, draft.id, &answers).await?;
    let returns = fields.iter().any(|(name, _)| name == "change");
    let faults = answers.faults(step);
    if !faults.is_empty() {
        return pages::refused(&step_page(&app, step, &answers, Refusals::from(faults), returns));
    }
    let next = if returns || step.number == STEPS.len() {
        next_place(&answers)
    } else {
        format!("/apply/{}", step.number + 1)
    };
    Ok(pages::see_other(next))
}

#[derive(Template)]
#[template(path = "apply/check.html")]
struct CheckPage {
    frame: Frame,
    groups: Vec<(&'static Step, Vec<Said>)>,
}

/// All answers once more, before they are sent.
pub(super) async fn check(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let Some(draft) = unsent(&app, &request).await? else { return Ok(pages::see_other("/apply")) };
    if let Some(open) = draft.answers.first_open() {
        return Ok(pages::see_other(format!("/apply/{}", open.number)));
    }
    pages::html(&CheckPage {
        frame: Frame::public(&app.config.bank_name, "Check your answers"),
        groups: STEPS.iter().map(|step| (step, draft.answers.said(step))).collect(),
    })
}

/// Sends the application. Sent twice, it is one application and leads to the same page.
pub(super) async fn submit(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let Some(draft) = browser::draft(&app, &request).await? else { return Ok(pages::see_other("/apply")) };
    if let Some(open) = draft.answers.first_open() {
        return Ok(pages::see_other(format!("/apply/{}", open.number)));
    }
    let answers = &draft.answers;
    let new = NewApplication {
        session: Session {
            device: browser::device(&request),
            device_os: browser::device_os(&request),
            foreign: None,
            minutes: Some(f64::from(draft.active_seconds) / 60.0),
            keep_alive: Some(draft.keep),
            started_at: Some(draft.created_at),
        },
        draft: Some(Origin { id: draft.id, status_token: draft.status_token() }),
        ..NewApplication::new(
            answers.applicant(),
            answers.amount_minor().unwrap_or_default(),
            answers.term_months().unwrap_or_default(),
            answers.of("purpose"),
            Channel::Web,
        )
    };
    let submitted = submit::submit(&app, new).await?;
    Ok(pages::see_other(submitted.status_path()))
}
