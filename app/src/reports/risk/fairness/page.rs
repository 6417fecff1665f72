//! `/manage/reports/risk/fairness`.

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::fairness::Jurisdiction;
use serde::Deserialize;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::applications::models;
use crate::error::FieldError;
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::cases::{cases, explained};
use super::groups::{self, By};
use super::settings;
use super::sheet::{Sheet, frame};

/// What is shown, from the address or a form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    days: Option<i32>,
    by: Option<String>,
    jurisdiction: Option<String>,
}

#[derive(Template)]
#[template(path = "reports/fairness.html")]
struct FairnessPage {
    frame: Frame,
    tab: &'static str,
    view: &'static str,
    refusals: Refusals,
    sheet: Sheet,
    by: &'static str,
    jurisdiction: &'static Jurisdiction,
    jurisdictions: &'static [Jurisdiction],
    unmeasured: Vec<String>,
    manages: bool,
}

struct Gathered {
    sheet: Sheet,
    by: By,
    jurisdiction: &'static Jurisdiction,
    faults: Vec<FieldError>,
}

async fn gather(app: &App, asked: &Asked) -> Result<Gathered> {
    let days = super::period(asked.days);
    let by = By::of(asked.by.as_deref());
    let own = settings::settings(&app.db).await?;
    let fallback = || Jurisdiction::get(&own.jurisdiction).or_else(|| Jurisdiction::shipped().first());
    let (jurisdiction, faults) = match asked.jurisdiction.as_deref().map(Jurisdiction::get) {
        Some(Some(jurisdiction)) => (Some(jurisdiction), Vec::new()),
        Some(None) => (fallback(), vec![FieldError::new("jurisdiction", "Choose one of the jurisdictions.")]),
        None => (fallback(), Vec::new()),
    };
    let jurisdiction = jurisdiction.ok_or_else(|| AppError::Internal("no jurisdiction is known".to_owned()))?;
    let mut connection = app.db.acquire().await?;
    let model = models::in_force(&mut connection).await?.active;
    let variants = models::alternatives(&mut *connection, model.sha256()).await?;
    drop(connection);
    let cases = cases(&app.db, days).await?;
    let version = model.version().to_owned();
    let (cases, sample) = explained(model, cases).await?;
    let newest = sample.contributions.len();
    let mut reports = groups::reports(&cases, &sample, newest, by, jurisdiction);
    reports.push(groups::alternatives(&variants, &version));
    let rest = format!("&by={}&jurisdiction={}", by.as_str(), jurisdiction.code);
    let path = "/manage/reports/risk/fairness";
    Ok(Gathered { sheet: Sheet { path, days, periods: &super::PERIODS, rest, reports }, by, jurisdiction, faults })
}

fn shown(app: &App, person: &Person, gathered: Gathered) -> Result<HttpResponse> {
    let is_refused = !gathered.faults.is_empty();
    let page = FairnessPage {
        frame: frame(app, "Fairness", person),
        tab: "reports",
        view: "fairness",
        refusals: Refusals::from(gathered.faults),
        by: gathered.by.as_str(),
        unmeasured: groups::unmeasured(gathered.jurisdiction),
        jurisdiction: gathered.jurisdiction,
        jurisdictions: Jurisdiction::shipped(),
        manages: person.role.manages(),
        sheet: gathered.sheet,
    };
    if is_refused { pages::refused(&page) } else { pages::html(&page) }
}

/// Figures by group, attribution gaps, alternatives.
pub(super) async fn page(app: web::Data<App>, person: Person, asked: web::Query<Asked>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    shown(&app, &person, gather(&app, &asked).await?)
}

/// One of the reports as CSV.
pub(super) async fn csv(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    gather(&app, &asked).await?.sheet.csv(&name)
}

/// Keeps the jurisdiction as the bank's own.
pub(super) async fn keep(app: web::Data<App>, person: Person, asked: web::Form<Asked>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let gathered = gather(&app, &asked).await?;
    if !gathered.faults.is_empty() {
        return shown(&app, &person, gathered);
    }
    let code = gathered.jurisdiction.code.clone();
    settings::keep(&app.db, &person, |settings| settings.jurisdiction = code).await?;
    Ok(pages::see_other(format!("{}?days={}&by={}", gathered.sheet.path, gathered.sheet.days, gathered.by.as_str())))
}
