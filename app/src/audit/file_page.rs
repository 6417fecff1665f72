//! `/audit/applications`: the register of assessments, a decision's file, and its repetition.

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::{Attribution, Band, Proposal};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::applications::{
    RegisterFilter, Registered, Repetition, Status, band_in_words, proposal_in_words, reasons_in_words, register,
    repeat,
};
use crate::pages::{self, Frame, Moment, csv_file};
use crate::{AppError, Result};

use super::file::{Compared, DecisionFile, application_id, comparison, decision_file};
use super::{Entry, append, words};

/// Applications on a page.
const PAGE: i64 = 50;
/// Applications in a CSV file.
const MOST: i64 = 100_000;

/// The register's query: what is wanted, as addresses spell it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    band: String,
    proposal: String,
    status: String,
    overrides: String,
    before: String,
}

/// The value of a closed set that `text` names; anything else leaves the field open.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(json!(text)).ok()
}

impl Wanted {
    fn filter(&self) -> RegisterFilter {
        RegisterFilter {
            band: named::<Band>(&self.band),
            proposal: named::<Proposal>(&self.proposal),
            status: named::<Status>(&self.status),
            overrides: self.overrides == "yes",
            below: self.before.parse().ok(),
        }
    }

    fn query(&self, before: Option<i64>) -> String {
        let before = before.map(|number| number.to_string()).unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("band", &self.band),
            ("proposal", &self.proposal),
            ("status", &self.status),
            ("overrides", &self.overrides),
            ("before", &before),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

#[derive(Template)]
#[template(path = "audit/register.html")]
struct RegisterPage {
    frame: Frame,
    tab: &'static str,
    wanted: Wanted,
    statuses: [Status; 7],
    rows: Vec<Row>,
    first: Option<String>,
    older: Option<String>,
}

struct Row {
    one: Registered,
    received: Moment,
    percent: String,
}

/// The register, newest first.
pub(super) async fn list(app: web::Data<App>, person: Person, wanted: web::Query<Wanted>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let wanted = wanted.into_inner();
    let mut found = register(&app.db, wanted.filter(), PAGE + 1).await?;
    let shown = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let more = found.len() > shown;
    found.truncate(shown);
    pages::html(&RegisterPage {
        frame: Frame::staff(&app.config.bank_name, "Decisions", "audit", &person),
        tab: "applications",
        statuses: Status::ALL,
        first: (!wanted.before.is_empty()).then(|| wanted.query(None)),
        older: found.last().filter(|_| more).map(|last| wanted.query(Some(last.number))),
        rows: found
            .into_iter()
            .map(|one| Row { received: Moment(one.received_at), percent: percent(one.probability), one })
            .collect(),
        wanted,
    })
}

/// The filtered register as CSV. A POST, because taking a copy is recorded.
pub(super) async fn export_list(
    app: web::Data<App>,
    person: Person,
    wanted: web::Form<Wanted>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let filter = RegisterFilter { below: None, ..wanted.filter() };
    let found = register(&app.db, filter, MOST).await?;
    let details = json!({ "rows": found.len(), "filter": wanted.query(None) });
    record(&app, &person, "register.exported", "audit", "register".to_owned(), details).await?;
    let head = [
        "number",
        "id",
        "received_at",
        "status",
        "probability",
        "band",
        "proposal",
        "override",
        "decided_by",
        "model_version",
        "policy_version",
    ];
    let rows = found.into_iter().map(|one| {
        vec![
            one.number.to_string(),
            one.id.to_string(),
            exact(one.received_at),
            one.status.as_str().to_owned(),
            one.probability.to_string(),
            one.band,
            one.proposal,
            one.is_override.to_string(),
            one.decided_by.unwrap_or_default(),
            one.model_version,
            one.policy_version.to_string(),
        ]
    });
    csv_file("decisions.csv", std::iter::once(head.map(str::to_owned).to_vec()).chain(rows))
}

#[derive(Template)]
#[template(path = "audit/file.html")]
struct FilePage {
    frame: Frame,
    tab: &'static str,
    made: String,
    received: String,
    percent: String,
    band: &'static str,
    proposal: &'static str,
    inputs: Vec<(String, String)>,
    parts: Vec<Part>,
    reasons: Vec<Vec<String>>,
    gap: f64,
    repetition: Option<Repeated>,
    file: DecisionFile,
}

/// One factor's row, with what has been summed up to it.
struct Part {
    part: Attribution,
    running: f64,
}

/// A repetition as the page shows it.
struct Repeated {
    result: Repetition,
    rows: Vec<Compared>,
}

/// Which parts of the file the address asks for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    repeated: String,
}

/// A decision's file, to read or to print.
pub(super) async fn page(
    app: web::Data<App>,
    person: Person,
    reference: web::Path<String>,
    shown: web::Query<Shown>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let id = application_id(&app.db, &reference).await?;
    let file = decision_file(&app.db, id).await?;
    let repetition = if shown.repeated.is_empty() { None } else { Some(repeated(&app, &file).await?) };
    let assessment = &file.assessment.assessment;
    let mut running = assessment.baseline;
    let parts = assessment
        .attributions
        .iter()
        .map(|part| {
            running += part.contribution;
            Part { part: part.clone(), running }
        })
        .collect();
    pages::html(&FilePage {
        frame: Frame::staff(
            &app.config.bank_name,
            format!("File of application {}", file.application.number),
            "audit",
            &person,
        ),
        tab: "applications",
        made: exact(file.made_at),
        received: exact(file.application.received_at),
        percent: percent(assessment.probability),
        band: band_in_words(assessment.band),
        proposal: proposal_in_words(assessment.proposal),
        inputs: inputs(&file)?,
        parts,
        reasons: file
            .decisions
            .iter()
            .map(|decision| reasons_in_words(&decision.reason_codes, &file.assessment.assessment))
            .collect(),
        gap: (file.sum - assessment.margin).abs(),
        repetition,
        file,
    })
}

/// Every input as it was kept, by name.
fn inputs(file: &DecisionFile) -> Result<Vec<(String, String)>> {
    let values = serde_json::to_value(&file.assessment.factors)?;
    let values = values.as_object().cloned().unwrap_or_default();
    Ok(values
        .into_iter()
        .map(|(name, value)| {
            let value = match value {
                serde_json::Value::Null => "not given".to_owned(),
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            (name, value)
        })
        .collect())
}

async fn repeated(app: &App, file: &DecisionFile) -> Result<Repeated> {
    let result = repeat(&mut *app.db.acquire().await?, &file.assessment).await?;
    Ok(Repeated { rows: comparison(&file.assessment.assessment, &result.assessment), result })
}

/// The file as JSON. Taking a copy is recorded.
pub(super) async fn json(app: web::Data<App>, person: Person, reference: web::Path<String>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let id = application_id(&app.db, &reference).await?;
    let file = decision_file(&app.db, id).await?;
    record(&app, &person, "file.exported", "application", id.to_string(), json!({})).await?;
    Ok(HttpResponse::Ok()
        .insert_header((
            "content-disposition",
            format!("attachment; filename=\"application-{}.json\"", file.application.number),
        ))
        .content_type("application/json")
        .body(serde_json::to_vec_pretty(&file)?))
}

/// Scores the kept factors again, records whether the same bits came out, and shows it.
pub(super) async fn repeat_now(
    app: web::Data<App>,
    person: Person,
    reference: web::Path<String>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let id = application_id(&app.db, &reference).await?;
    let file = decision_file(&app.db, id).await?;
    let found = repeated(&app, &file).await?;
    let details = json!({
        "assessment": file.assessment.id,
        "same": found.result.same,
        "same_model": found.result.same_model,
        "model_sha256": found.result.assessment.model_sha256,
    });
    record(&app, &person, "assessment.repeated", "application", id.to_string(), details).await?;
    Ok(pages::see_other(format!("/audit/applications/{id}?repeated=yes#repetition")))
}

async fn record(
    app: &App,
    person: &Person,
    action: &str,
    subject_kind: &str,
    subject_id: String,
    details: serde_json::Value,
) -> Result<()> {
    let actor = person.actor();
    let mut tx = app.db.begin().await?;
    append(&mut tx, Entry { actor: &actor, action, subject_kind, subject_id, details }).await?;
    tx.commit().await.map_err(AppError::from)
}

fn percent(probability: f64) -> String {
    format!("{:.1} %", probability * 100.0)
}

fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
