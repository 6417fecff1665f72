//! `/manage/reports/risk/thresholds`.

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::Bands;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::applications::policies;
use crate::error::FieldError;
use crate::pages::{self, Frame, Refusals};

use super::cases::labelled;
use super::curves;
use super::form::{BandForm, Basis, CostForm, Typed, trimmed};
use super::settings;
use super::sheet::{Sheet, frame};

#[derive(Template)]
#[template(path = "reports/thresholds.html")]
struct ThresholdsPage {
    frame: Frame,
    tab: &'static str,
    view: &'static str,
    refusals: Refusals,
    sheet: Sheet,
    form: CostForm,
    /// Bands for a draft, where there is enough to propose them or somebody typed them.
    bands: Option<BandForm>,
    active: Bands,
    active_version: i64,
    manages: bool,
}

/// What was asked for, read.
struct Gathered {
    sheet: Sheet,
    form: CostForm,
    basis: Basis,
    bands: Option<BandForm>,
    active: policies::StoredPolicy,
    faults: Vec<FieldError>,
}

async fn gather(app: &App, typed: &Typed) -> Result<Gathered> {
    let days = super::period(typed.days);
    let own = settings::settings(&app.db).await?;
    let form = typed.form(&own);
    let (basis, faults) = match form.read() {
        Ok(basis) => (basis, Vec::new()),
        // The figures stay those of the bank's own costs until the form is right.
        Err(faults) => (Basis::of(&own), faults),
    };
    let active = policies::active(&mut *app.db.acquire().await?).await?;
    let known = labelled(&app.db, days).await?;
    let found = curves::found(&known, &basis, &active.body.bands);
    let bands = found
        .suggestion
        .map(|bands| BandForm { medium: trimmed(bands.medium * 100.0), high: trimmed(bands.high * 100.0) });
    let path = "/manage/reports/risk/thresholds";
    let sheet = Sheet { path, days, periods: &super::PERIODS, rest: typed.rest(), reports: found.reports };
    Ok(Gathered { sheet, form, basis, bands, active, faults })
}

fn shown(app: &App, person: &Person, gathered: Gathered) -> Result<HttpResponse> {
    let is_refused = !gathered.faults.is_empty();
    let page = ThresholdsPage {
        frame: frame(app, "Thresholds", person),
        tab: "reports",
        view: "thresholds",
        refusals: Refusals::from(gathered.faults),
        sheet: gathered.sheet,
        form: gathered.form,
        bands: gathered.bands,
        active: gathered.active.body.bands,
        active_version: gathered.active.version,
        manages: person.role.manages(),
    };
    if is_refused { pages::refused(&page) } else { pages::html(&page) }
}

/// The curves, the bank's costs, and the bands of a draft.
pub(super) async fn page(app: web::Data<App>, person: Person, typed: web::Query<Typed>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    shown(&app, &person, gather(&app, &typed).await?)
}

/// One of the reports as CSV.
pub(super) async fn csv(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    typed: web::Query<Typed>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    gather(&app, &typed).await?.sheet.csv(&name)
}

/// Keeps the costs as the bank's own.
pub(super) async fn keep(app: web::Data<App>, person: Person, typed: web::Form<Typed>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let gathered = gather(&app, &typed).await?;
    if !gathered.faults.is_empty() {
        return shown(&app, &person, gathered);
    }
    settings::keep(&app.db, &person, |settings| {
        settings.costs = gathered.basis.costs;
        settings.reviews_a_week = gathered.basis.reviews_a_week;
    })
    .await?;
    Ok(pages::see_other(format!("{}?days={}", gathered.sheet.path, gathered.sheet.days)))
}

/// Drafts a policy with the bands that were typed.
pub(super) async fn draft(
    app: web::Data<App>,
    person: Person,
    typed: web::Form<BandForm>,
    period: web::Query<Typed>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut gathered = gather(&app, &period).await?;
    let days = gathered.sheet.days;
    match typed.read() {
        Ok(bands) => {
            let note = format!(
                "Bands from the thresholds of the last {days} days: medium from {} %, high from {} %.",
                trimmed(bands.medium * 100.0),
                trimmed(bands.high * 100.0)
            );
            let id = policies::draft(&app, &person, Some(bands), &note).await?;
            Ok(pages::see_other(format!("/manage/policies/{id}")))
        }
        Err(faults) => {
            gathered.faults = faults;
            gathered.bands = Some(typed.into_inner());
            shown(&app, &person, gathered)
        }
    }
}
