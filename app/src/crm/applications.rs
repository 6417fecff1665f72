//! Loan applications: submit, and read the assessment and the decision.

use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use candor_engine::risk;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::applications::labels::{Label, LabelKind, Source, of_application, record};
use crate::applications::{
    self, Applicant, Application, Channel, CustomerWords, NewApplication, Session, Status, decisions,
};
use crate::audit;
use crate::{AppError, Result};

use super::Client;
use super::idempotency::{self, Attempt};
use super::paging::{Page, Paging};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/applications", web::get().to(list))
        .route("/applications", web::post().to(submit))
        .route("/applications/{id}", web::get().to(read))
        .route("/applications/{id}/labels", web::get().to(labels))
        .route("/applications/{id}/labels", web::post().to(label));
}

/// A loan application to submit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLoanApplication {
    applicant: Applicant,
    /// Amount in cents.
    #[schema(example = 1_200_000)]
    amount_minor: i64,
    /// ISO 4217 code; EUR when absent.
    currency: Option<String>,
    #[schema(example = 48)]
    term_months: u32,
    /// `car`, `home`, `debts`, `education`, `purchase` or `other`.
    #[schema(example = "car")]
    purpose: String,
    /// The contact that applies, where it is known.
    contact_id: Option<Uuid>,
    /// The CRM's own key; unique.
    external_id: Option<String>,
    /// Device and session, where the CRM knows them.
    #[serde(default)]
    session: Session,
    /// Risk factors that the CRM knows better, by their names in the catalogue (for instance `credit_risk_score`).
    #[serde(default)]
    #[schema(value_type = Object)]
    factors: risk::Application,
}

/// A loan application.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoanApplication {
    id: Uuid,
    /// The reference that applicants quote.
    number: i64,
    contact_id: Option<Uuid>,
    conversation_id: Option<Uuid>,
    external_id: Option<String>,
    amount_minor: i64,
    currency: String,
    term_months: i32,
    purpose: String,
    /// `received`, `documents`, `referred`, `pending_second`, `approved`, `declined` or `withdrawn`.
    #[schema(value_type = String)]
    status: Status,
    received_at: DateTime<Utc>,
    decide_by: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

impl From<&Application> for LoanApplication {
    fn from(application: &Application) -> Self {
        Self {
            id: application.id,
            number: application.number,
            contact_id: application.customer_id,
            conversation_id: application.conversation_id,
            external_id: application.external_id.clone(),
            amount_minor: application.amount_minor,
            currency: application.currency.clone(),
            term_months: application.term_months,
            purpose: application.purpose.clone(),
            status: application.status,
            received_at: application.received_at,
            decide_by: application.decide_by,
            decided_at: application.decided_at,
        }
    }
}

/// A loan application with its assessment, its decision and what the applicant is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoanApplicationDetail {
    application: LoanApplication,
    /// Fraud probability, log-odds with baseline and every attribution, reasons, rule hits, band, proposal, versions.
    #[schema(value_type = Object)]
    assessment: Value,
    /// The decision in force; null until there is one.
    #[schema(value_type = Option<Object>)]
    decision: Option<Value>,
    /// What the applicant may be told now.
    #[schema(value_type = Object)]
    customer_words: CustomerWords,
    /// Path of the applicant's own page; only in the answer to the submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_path: Option<String>,
}

/// Which applications are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Exactly this key of the CRM.
    external_id: Option<String>,
}

/// Loan applications, newest first.
#[utoipa::path(get, path = "/api/v1/applications", tag = "Applications", params(Filter, Paging),
    responses((status = 200, body = Page<LoanApplication>)))]
pub(super) async fn list(
    app: web::Data<App>,
    client: Client,
    filter: Query<Filter>,
    paging: Query<Paging>,
) -> Result<Json<Page<LoanApplication>>> {
    client.require("applications:read")?;
    let found = match &filter.external_id {
        Some(key) => applications::find_by_external_id(&app.db, key).await?.into_iter().collect(),
        None => applications::newest(&app.db, paging.before()?, paging.fetch()?).await?,
    };
    let found = found.iter().map(LoanApplication::from).collect();
    Ok(Json(Page::new(found, &paging, |one: &LoanApplication| one.id)?))
}

/// Submit a loan application. It is scored at once; a person decides.
#[utoipa::path(post, path = "/api/v1/applications", tag = "Applications", request_body = NewLoanApplication,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = LoanApplicationDetail), (status = 409, body = crate::error::Problem),
              (status = 422, body = crate::error::Problem)))]
pub(super) async fn submit(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    body: Json<NewLoanApplication>,
) -> Result<HttpResponse> {
    client.require("applications:write")?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let Json(body) = body;
    if let Some(contact) = body.contact_id {
        crate::bank::customer(&mut *work.tx, contact)
            .await
            .map_err(|_| AppError::field("contact_id", "There is no such contact."))?;
    }
    let new = NewApplication {
        currency: body.currency.unwrap_or_else(|| "EUR".to_owned()),
        customer_id: body.contact_id,
        external_id: body.external_id,
        session: body.session,
        known: body.factors,
        submitted_by: Some(client.actor()),
        ..NewApplication::new(body.applicant, body.amount_minor, body.term_months, &body.purpose, Channel::Api)
    };
    let submitted = applications::submit_within(&mut work.tx, new).await?;
    let detail = LoanApplicationDetail {
        application: (&submitted.application).into(),
        assessment: serde_json::to_value(&submitted.assessment)?,
        decision: None,
        customer_words: submitted.customer_words.clone(),
        status_path: Some(submitted.status_path()),
    };
    audit::append(&mut work.tx, submitted.audit_entry()).await?;
    let location = format!("/api/v1/applications/{}", submitted.application.id);
    let answer = work.answer(&app.commits, StatusCode::CREATED, Some(&location), &detail).await?;
    applications::announce(&app, &submitted).await;
    Ok(answer)
}

/// One loan application with its assessment and decision.
#[utoipa::path(get, path = "/api/v1/applications/{id}", tag = "Applications",
    params(("id" = Uuid, Path, description = "The application")),
    responses((status = 200, body = LoanApplicationDetail), (status = 404, body = crate::error::Problem)))]
pub(super) async fn read(app: web::Data<App>, client: Client, id: Path<Uuid>) -> Result<Json<LoanApplicationDetail>> {
    client.require("applications:read")?;
    let mut connection = app.db.acquire().await?;
    let application = applications::find(&mut *connection, *id).await?;
    Ok(Json(detail(&mut connection, &application).await?))
}

/// What became known of an application: a verdict or a later outcome.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    /// `confirmed_fraud`, `valuable_alert`, `false_alarm`, `repaid`, `in_arrears` or `written_off`.
    kind: LabelKind,
    /// When the bank knew it; now when absent.
    known_at: Option<DateTime<Utc>>,
    /// In your words, at most 2,000 characters.
    #[serde(default)]
    note: String,
}

/// What is known of a loan application, the newest first.
#[utoipa::path(get, path = "/api/v1/applications/{id}/labels", tag = "Applications",
    params(("id" = Uuid, Path, description = "The application")),
    responses((status = 200, body = Vec<Label>), (status = 404, body = crate::error::Problem)))]
pub(super) async fn labels(app: web::Data<App>, client: Client, id: Path<Uuid>) -> Result<Json<Vec<Label>>> {
    client.require("applications:read")?;
    applications::find(&app.db, *id).await?;
    Ok(Json(of_application(&app.db, *id).await?))
}

/// Say what became of a decided loan application. Labels are added, never changed; the newest one counts.
#[utoipa::path(post, path = "/api/v1/applications/{id}/labels", tag = "Applications", request_body = NewLabel,
    params(("id" = Uuid, Path, description = "The application"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = Vec<Label>), (status = 404, body = crate::error::Problem),
              (status = 409, body = crate::error::Problem), (status = 422, body = crate::error::Problem)))]
pub(super) async fn label(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    id: Path<Uuid>,
    body: Json<NewLabel>,
) -> Result<HttpResponse> {
    client.require("applications:write")?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    let source = Source::Client { id: client.id, actor: client.actor() };
    let known_at = body.known_at.unwrap_or_else(Utc::now);
    record(&mut work.tx, *id, body.kind, &source, known_at, &body.note).await?;
    let all = of_application(&mut *work.tx, *id).await?;
    work.answer(&app.commits, StatusCode::CREATED, Some(&format!("/api/v1/applications/{id}/labels")), &all).await
}

async fn detail(connection: &mut PgConnection, application: &Application) -> Result<LoanApplicationDetail> {
    let stored = applications::latest(&mut *connection, application.id).await?;
    let decision = decisions::last_final(&mut *connection, application.id).await?;
    let decision = decision.map(|decision| {
        json!({
            "id": decision.id,
            "outcome": decision.outcome,
            "reason_codes": decision.reason_codes,
            "is_override": decision.is_override,
            "finished_at": decision.finished_at,
        })
    });
    Ok(LoanApplicationDetail {
        application: application.into(),
        assessment: serde_json::to_value(&stored.assessment)?,
        decision,
        customer_words: applications::customer_words(connection, application).await?,
        status_path: None,
    })
}
