//! What officers do with an application: take it, let it go, decide it, confirm or refuse another's decision.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::live::{CREDIT, Event};
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::super::decisions::{self, Consequence, Outcome, Verdict};
use super::super::letters::{self, Rendered};
use super::super::submit::deadline;
use super::super::{Application, Status, application, assessments, policies, reasons};
use super::page::{self, Typed, not_decidable};
use super::percent::percent;

/// The fields of a form, in order; a name may come more than once.
type Fields = Vec<(String, String)>;

fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str())
}

fn values(fields: &Fields, name: &str) -> Vec<String> {
    fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
}

/// A decision form as sent.
struct Sent {
    assessment: Uuid,
    typed: Typed,
}

impl Sent {
    fn read(fields: &Fields) -> Result<Self> {
        let outcome = value(fields, "outcome");
        let outcome = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome);
        Ok(Self {
            assessment: value(fields, "assessment")
                .parse()
                .map_err(|_| AppError::BadRequest("The form does not say which score was seen.".to_owned()))?,
            typed: Typed {
                outcome,
                codes: values(fields, "codes"),
                documents: values(fields, "documents"),
                comment: value(fields, "comment").to_owned(),
                override_reason: value(fields, "override_reason").to_owned(),
                why: String::new(),
            },
        })
    }

    fn verdict(&self) -> Result<Verdict> {
        let outcome =
            self.typed.outcome.ok_or_else(|| AppError::field("outcome", "Choose what you want to decide."))?;
        Ok(Verdict {
            outcome,
            codes: if outcome == Outcome::Documents { self.typed.documents.clone() } else { self.typed.codes.clone() },
            comment: self.typed.comment.clone(),
            override_reason: self.typed.override_reason.clone(),
        })
    }
}

#[derive(Template)]
#[template(path = "credit/confirm.html")]
struct ConfirmPage {
    frame: Frame,
    application: Application,
    assessment: Uuid,
    verdict: Verdict,
    consequence: Consequence,
    reasons: Vec<String>,
    probability: String,
    letter: Option<Rendered>,
    mails: bool,
    button: &'static str,
}

/// Shows what a decision will do, with the letter, before anything is kept.
pub(super) async fn check(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse> {
    person.require(Role::decides_credit)?;
    let sent = Sent::read(&fields)?;
    let mut connection = app.db.acquire().await?;
    let application = application::find(&mut *connection, *application).await?;
    let stored = assessments::latest(&mut connection, application.id).await?;
    let policy = policies::active(&mut connection).await?;
    if !application.status.may_be_decided() {
        return Err(not_decidable(&application));
    }
    let checked = sent.verdict().and_then(|verdict| verdict.check(&stored.assessment).map(|()| verdict));
    let verdict = match checked {
        Ok(verdict) => verdict,
        Err(AppError::Invalid(faults)) => {
            drop(connection);
            return page::refused(&app, &person, application.id, sent.typed, Refusals::from(faults)).await;
        }
        Err(error) => return Err(error),
    };
    let consequence = decisions::consequence(&application, &stored, &policy.body, verdict.outcome);
    let letter = letters::preview(
        &mut connection,
        &app.config,
        &application,
        &stored,
        verdict.outcome,
        &verdict.codes,
        Utc::now(),
    )
    .await?;
    drop(connection);
    pages::html(&ConfirmPage {
        frame: Frame::staff(
            &app.config.bank_name,
            format!("{}: {}", verdict.outcome.label(), application.applicant.name),
            "credit",
            &person,
        ),
        assessment: sent.assessment,
        reasons: if verdict.outcome.has_letter() {
            reasons::in_words(&verdict.codes, &stored.assessment)
        } else {
            Vec::new()
        },
        probability: percent(stored.assessment.probability),
        letter,
        mails: app.config.smtp_url.is_some(),
        button: match (verdict.outcome, consequence.needs_second) {
            (_, true) => "Send to a second person",
            (Outcome::Approved, _) => "Approve and send the letter",
            (Outcome::Declined, _) => "Decline and send the letter",
            (Outcome::Documents, _) => "Ask for the documents",
            (Outcome::Referred, _) => "Refer",
        },
        application,
        verdict,
        consequence,
    })
}

/// Decides.
pub(super) async fn decide(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse> {
    person.require(Role::decides_credit)?;
    let sent = Sent::read(&fields)?;
    let decided = match sent.verdict() {
        Ok(verdict) => decisions::decide(&app, &person, *application, sent.assessment, &verdict).await,
        Err(error) => Err(error),
    };
    match decided {
        Ok(_) => Ok(pages::see_other(format!("/credit/{application}"))),
        Err(AppError::Invalid(faults)) => {
            page::refused(&app, &person, *application, sent.typed, Refusals::from(faults)).await
        }
        Err(error) => Err(error),
    }
}

fn decision_key(fields: &Fields) -> Result<Uuid> {
    value(fields, "decision").parse().map_err(|_| AppError::BadRequest("The form names no decision.".to_owned()))
}

/// A second person confirms a decision.
pub(super) async fn second(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse> {
    decisions::confirm(&app, &person, decision_key(&fields)?).await?;
    Ok(pages::see_other(format!("/credit/{application}")))
}

/// A second person refuses a decision, or the first one takes it back.
pub(super) async fn refuse(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse> {
    let why = value(&fields, "why");
    match decisions::refuse(&app, &person, decision_key(&fields)?, why).await {
        Ok(_) => Ok(pages::see_other(format!("/credit/{application}"))),
        Err(AppError::Invalid(faults)) => {
            let typed = Typed { why: why.to_owned(), ..Typed::default() };
            page::refused(&app, &person, *application, typed, Refusals::from(faults)).await
        }
        Err(error) => Err(error),
    }
}

/// Takes an application on.
pub(super) async fn assign(app: web::Data<App>, person: Person, application: web::Path<Uuid>) -> Result<HttpResponse> {
    set_assignee(&app, &person, *application, Some(person.id)).await
}

/// Lets an application go.
pub(super) async fn release(app: web::Data<App>, person: Person, application: web::Path<Uuid>) -> Result<HttpResponse> {
    set_assignee(&app, &person, *application, None).await
}

async fn set_assignee(app: &App, person: &Person, id: Uuid, assignee: Option<Uuid>) -> Result<HttpResponse> {
    person.require(Role::decides_credit)?;
    let mut transaction = app.db.begin().await?;
    let application = application::lock(&mut *transaction, id).await?;
    if !application.status.is_open() {
        return Err(not_decidable(&application));
    }
    if application.assignee_id != assignee {
        sqlx::query!("update applications set assignee_id = $2 where id = $1", id, assignee)
            .execute(&mut *transaction)
            .await?;
        let entry = Entry {
            actor: &person.actor(),
            action: if assignee.is_some() { "application.assigned" } else { "application.released" },
            subject_kind: "application",
            subject_id: id.to_string(),
            details: json!({ "number": application.number, "from": application.assignee_id, "to": assignee }),
        };
        audit::append(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    let event = Event { topic: CREDIT.to_owned(), kind: "assigned".to_owned(), data: json!({ "id": id }) };
    app.live.publish(event).await;
    Ok(pages::see_other(format!("/credit/{id}")))
}

/// What was missing has come: the application is complete from now on, and the days to decide it begin again.
pub(super) async fn complete(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
) -> Result<HttpResponse> {
    person.require(Role::decides_credit)?;
    let mut transaction = app.db.begin().await?;
    let application = application::lock(&mut *transaction, *application).await?;
    if application.status != Status::Documents {
        return Err(not_decidable(&application));
    }
    let now = Utc::now();
    let decide_by = deadline(now);
    sqlx::query!(
        "update applications set status = 'received', completed_at = $2, decide_by = $3 where id = $1",
        application.id,
        now,
        decide_by,
    )
    .execute(&mut *transaction)
    .await?;
    let entry = Entry {
        actor: &person.actor(),
        action: "application.completed",
        subject_kind: "application",
        subject_id: application.id.to_string(),
        details: json!({ "number": application.number, "decide_by": decide_by }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    Ok(pages::see_other(format!("/credit/{}", application.id)))
}
