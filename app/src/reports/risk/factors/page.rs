//! `/manage/reports/risk/factors`.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::Model;
use candor_engine::risk::importance::Sample;
use serde::Deserialize;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::applications::models;
use crate::error::FieldError;
use crate::pages::{self, Frame, Refusals};
use crate::{AppError, Result};

use super::cases::{Case, cases, explained};
use super::drawings;
use super::pairs::{self, Matrices};
use super::report::Report;
use super::sheet::{Sheet, frame};

/// What is shown, from the address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    days: Option<i32>,
    factor: Option<String>,
    with: Option<String>,
}

#[derive(Template)]
#[template(path = "reports/factors.html")]
struct FactorsPage {
    frame: Frame,
    tab: &'static str,
    view: &'static str,
    refusals: Refusals,
    sheet: Sheet,
    model: String,
    choices: Vec<(String, String)>,
    factor: String,
    with: String,
}

struct Gathered {
    sheet: Sheet,
    model: Arc<Model>,
    factor: String,
    with: String,
    faults: Vec<FieldError>,
}

async fn gather(app: &App, asked: &Asked) -> Result<Gathered> {
    let days = super::period(asked.days);
    let model = models::in_force(&mut *app.db.acquire().await?).await?.active;
    let (cases, sample) = explained(Arc::clone(&model), cases(&app.db, days).await?).await?;
    let asked_for = (asked.factor.clone(), asked.with.clone());
    let (reports, factor, with, faults) = tokio::task::spawn_blocking({
        let model = Arc::clone(&model);
        move || drawn(&model, &cases, &sample, asked_for)
    })
    .await
    .map_err(|error| AppError::Internal(format!("drawing factors: {error}")))?;
    let path = "/manage/reports/risk/factors";
    let rest = format!("&factor={factor}&with={with}");
    Ok(Gathered { sheet: Sheet { path, days, periods: &super::PERIODS, rest, reports }, model, factor, with, faults })
}

/// The reports; and of which factor, beside which other one: the ones that were asked for, else those that weigh most.
fn drawn(
    model: &Model,
    cases: &[Case],
    sample: &Sample,
    asked: (Option<String>, Option<String>),
) -> (Vec<Report>, String, String, Vec<FieldError>) {
    let features = model.features();
    let place = |name: &str| features.iter().position(|feature| feature.factor.name == name);
    let mut faults = Vec::new();
    let mut wanted = |field: &str, name: Option<String>| {
        let found = name.as_deref().map(place);
        if found == Some(None) {
            faults.push(FieldError::new(field, "Choose one of the model's factors."));
        }
        found.flatten()
    };
    let (factor, with) = (wanted("factor", asked.0), wanted("with", asked.1));
    let importance = sample.importance();
    let factor = factor.or_else(|| place(&importance.first()?.factor)).unwrap_or(0);

    let newest = |most: usize| cases.iter().skip(cases.len().saturating_sub(most)).map(|case| &case.factors);
    let few = Sample::explain(model, newest(pairs::ROWS));
    let matrices = Matrices::of(model, newest(pairs::ROWS));
    let sizes = matrices.sizes();
    let strongest = sizes.iter().find(|(a, b, _)| *a == factor || *b == factor);
    let partner = strongest.map(|(a, b, _)| if *a == factor { *b } else { *a });
    let with = with.filter(|with| *with != factor).or(partner).unwrap_or(0);

    let mut reports =
        vec![drawings::importance(features, sample, &importance), drawings::beeswarm(features, sample, &importance)];
    reports.extend(features.get(factor).map(|feature| drawings::dependence(feature, sample)));
    reports.extend(pairs::interaction(features, &few, &matrices, (factor, with)));
    reports.push(pairs::pairs(features, &sizes, few.contributions.len()));
    let name = |place: usize| features.get(place).map_or_else(String::new, |feature| feature.factor.name.clone());
    (reports, name(factor), name(with), faults)
}

/// All of them on one page.
pub(super) async fn page(app: web::Data<App>, person: Person, asked: web::Query<Asked>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let gathered = gather(&app, &asked).await?;
    let is_refused = !gathered.faults.is_empty();
    let mut choices: Vec<(String, String)> = gathered
        .model
        .features()
        .iter()
        .map(|feature| (feature.factor.name.clone(), feature.factor.label.clone()))
        .collect();
    choices.sort_by(|(_, a), (_, b)| a.cmp(b));
    let page = FactorsPage {
        frame: frame(&app, "Factors", &person),
        tab: "reports",
        view: "factors",
        refusals: Refusals::from(gathered.faults),
        sheet: gathered.sheet,
        model: gathered.model.version().to_owned(),
        choices,
        factor: gathered.factor,
        with: gathered.with,
    };
    if is_refused { pages::refused(&page) } else { pages::html(&page) }
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
