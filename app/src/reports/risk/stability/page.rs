//! `/manage/reports/risk/stability`.

use actix_web::{HttpResponse, web};
use askama::Template;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::applications::models;
use crate::error::FieldError;
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::cases::cases;
use super::form::{Basis, Form, Typed};
use super::indices;
use super::settings;
use super::sheet::{Sheet, frame};

#[derive(Template)]
#[template(path = "reports/stability.html")]
struct StabilityPage {
    frame: Frame,
    tab: &'static str,
    view: &'static str,
    refusals: Refusals,
    sheet: Sheet,
    form: Form,
    by: &'static str,
    window: Option<String>,
    factor: String,
    choices: Vec<(String, String)>,
    manages: bool,
}

struct Gathered {
    sheet: Sheet,
    form: Form,
    basis: Basis,
    by: &'static str,
    window: Option<String>,
    factor: String,
    choices: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

async fn gather(app: &App, typed: &Typed) -> Result<Gathered> {
    let days = super::period(typed.days);
    let step = typed.step();
    let own = settings::settings(&app.db).await?;
    let form = typed.form(&own);
    let (basis, faults) = match form.read() {
        Ok(basis) => (basis, Vec::new()),
        // The figures stay those of the bank's own bands until the form is right.
        Err(faults) => (Basis::of(&own), faults),
    };
    let model = models::in_force(&mut *app.db.acquire().await?).await?.active;
    let cases = cases(&app.db, days).await?;
    let features = model.features();
    let mut choices: Vec<(String, String)> =
        features.iter().map(|feature| (feature.factor.name.clone(), feature.factor.label.clone())).collect();
    choices.sort_by(|(_, a), (_, b)| a.cmp(b));
    choices.insert(0, ("score".to_owned(), "Score".to_owned()));
    let wanted = typed.factor.clone();
    let found =
        tokio::task::spawn_blocking(move || indices::found(&cases, model.features(), &basis, step, wanted.as_deref()))
            .await
            .map_err(|error| AppError::Internal(format!("comparing with the reference: {error}")))?;
    let rest = format!("&by={}&factor={}{}", step.as_str(), found.factor, form.rest());
    let path = "/manage/reports/risk/stability";
    Ok(Gathered {
        sheet: Sheet { path, days, periods: &super::PERIODS, rest, reports: found.reports },
        form,
        basis,
        by: step.as_str(),
        window: found.window.map(|(from, to)| format!("{} to {}", from.format("%-d %B %Y"), to.format("%-d %B %Y"))),
        factor: found.factor,
        choices,
        faults,
    })
}

fn shown(app: &App, person: &Person, gathered: Gathered) -> Result<HttpResponse> {
    let is_refused = !gathered.faults.is_empty();
    let page = StabilityPage {
        frame: frame(app, "Stability", person),
        tab: "reports",
        view: "stability",
        refusals: Refusals::from(gathered.faults),
        sheet: gathered.sheet,
        form: gathered.form,
        by: gathered.by,
        window: gathered.window,
        factor: gathered.factor,
        choices: gathered.choices,
        manages: person.role.manages(),
    };
    if is_refused { pages::refused(&page) } else { pages::html(&page) }
}

/// The indices over time.
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

/// Keeps bands and window as the bank's own.
pub(super) async fn keep(app: web::Data<App>, person: Person, typed: web::Form<Typed>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let gathered = gather(&app, &typed).await?;
    if !gathered.faults.is_empty() {
        return shown(&app, &person, gathered);
    }
    settings::keep(&app.db, &person, |settings| {
        settings.stability = gathered.basis.bands;
        settings.reference = gathered.basis.reference;
    })
    .await?;
    Ok(pages::see_other(format!("{}?days={}&by={}", gathered.sheet.path, gathered.sheet.days, gathered.by)))
}
