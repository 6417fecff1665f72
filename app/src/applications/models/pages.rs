//! `/manage/models`: every model, the one in force with its card, and the one in shadow beside it.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::Model;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::knowledge::to_html;
use crate::pages::{self, Frame, Moment, csv_file};
use crate::{AppError, Result};

use super::comparison::{self, Comparison};
use super::store::{self, Status, StoredModel};
use super::{change, loaded};

/// May put a model in force: managers, and senior officers as the second person.
fn promotes(role: Role) -> bool {
    role.manages() || role == Role::SeniorOfficer
}

fn section(person: &Person) -> &'static str {
    if person.role.manages() { "manage" } else { "credit" }
}

#[derive(Template)]
#[template(path = "credit/models.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    rows: Vec<Row>,
}

struct Row {
    model: StoredModel,
    registered: Moment,
}

/// Every model.
pub(super) async fn list(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    loaded::in_force(&mut *app.db.acquire().await?).await?;
    let models = store::list(&app.db).await?;
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "Risk models", section(&person), &person),
        tab: "models",
        rows: models.into_iter().map(|model| Row { registered: Moment(model.created_at), model }).collect(),
    })
}

#[derive(Template)]
#[template(path = "credit/model.html")]
struct ModelPage {
    frame: Frame,
    tab: &'static str,
    registered: Moment,
    shadowed: Option<Moment>,
    promoted: Option<Moment>,
    retired: Option<Moment>,
    description: String,
    trees: usize,
    inputs: Vec<(String, String, String)>,
    slope: f64,
    intercept: f64,
    baseline: String,
    /// The card as HTML.
    card: Option<String>,
    comparison: Option<Comparison>,
    figures: Vec<Figure>,
    may_shadow: bool,
    may_unshadow: bool,
    may_propose: bool,
    may_promote: bool,
    is_proposer: bool,
    model: StoredModel,
}

/// A figure of both models.
struct Figure {
    name: &'static str,
    active: String,
    shadow: String,
    /// Whether the one in shadow is better; `None` when they are the same.
    better: Option<bool>,
}

/// One model.
pub(super) async fn one(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let stored = store::find(&app.db, *id).await?;
    let mut connection = app.db.acquire().await?;
    let model: Arc<Model> = loaded::model(&mut connection, &stored.sha256).await?;
    drop(connection);
    let comparison = match stored.shadow_since {
        Some(_) => Some(comparison::comparison(&app.db, stored.id).await?),
        None => None,
    };
    let calibration = model.calibration();
    let manages = person.role.manages();
    let in_shadow = stored.status == Status::Shadow;
    let is_proposer = stored.proposed_by == Some(person.id);
    pages::html(&ModelPage {
        frame: Frame::staff(&app.config.bank_name, format!("Risk model {}", stored.version), section(&person), &person),
        tab: "models",
        registered: Moment(stored.created_at),
        shadowed: stored.shadow_since.map(Moment),
        promoted: stored.promoted_at.map(Moment),
        retired: stored.retired_at.map(Moment),
        description: model.description().to_owned(),
        trees: model.ensemble().trees().len(),
        inputs: model
            .features()
            .iter()
            .map(|feature| (feature.factor.label.clone(), feature.factor.name.clone(), feature.usual_in_words()))
            .collect(),
        slope: calibration.slope,
        intercept: calibration.intercept,
        baseline: super::super::review::log_odds(model.baseline()),
        card: Some(without_title(&stored.card)).filter(|card| !card.is_empty()).map(to_html),
        figures: comparison.as_ref().map(figures).unwrap_or_default(),
        comparison,
        may_shadow: manages && matches!(stored.status, Status::Registered | Status::Retired),
        may_unshadow: manages && in_shadow,
        may_propose: manages && in_shadow && stored.proposed_by.is_none(),
        may_promote: promotes(person.role) && in_shadow && stored.proposed_by.is_some() && !is_proposer,
        is_proposer: is_proposer && in_shadow,
        model: stored,
    })
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let Some((active, shadow)) = &comparison.figures else { return Vec::new() };
    let figure = |name, a: f64, b: f64, higher_is_better: bool, words: fn(f64) -> String| Figure {
        name,
        active: words(a),
        shadow: words(b),
        better: (words(a) != words(b)).then_some((b > a) == higher_is_better),
    };
    let plain = |value: f64| format!("{value:.4}");
    vec![
        figure("Area under the curve", active.auc, shadow.auc, true, plain),
        figure("Brier score (lower is better)", active.brier, shadow.brier, false, plain),
        figure("Log loss (lower is better)", active.log_loss, shadow.log_loss, false, plain),
        figure("Calibration error (lower is better)", active.ece, shadow.ece, false, plain),
    ]
}

/// Every application that both scored, as CSV.
pub(super) async fn comparison_csv(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let model = store::find(&app.db, *id).await?;
    let found = comparison::comparison(&app.db, model.id).await?;
    let head = ["number", "received_at", "in_force", "in_force_proposes", "in_shadow", "in_shadow_proposes", "fraud"];
    let rows = found.rows.into_iter().map(|row| {
        vec![
            row.number.to_string(),
            row.received_at.to_rfc3339(),
            row.active.to_string(),
            row.active_proposal,
            row.shadow.to_string(),
            row.shadow_proposal,
            row.fraud.map_or_else(String::new, |fraud| fraud.to_string()),
        ]
    });
    csv_file("models-compared.csv", std::iter::once(head.map(str::to_owned).to_vec()).chain(rows))
}

fn back(id: Uuid) -> HttpResponse {
    pages::see_other(format!("/manage/models/{id}"))
}

/// Lets a model score in shadow.
pub(super) async fn shadow(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    change::shadow(&app.db, &person, *id).await?;
    Ok(back(*id))
}

/// Ends a model's time in shadow.
pub(super) async fn unshadow(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    change::unshadow(&app.db, &person, *id).await?;
    Ok(back(*id))
}

/// Proposes the model in shadow.
pub(super) async fn propose(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    change::propose(&app.db, &person, *id).await?;
    Ok(back(*id))
}

/// Puts the proposed model in force.
pub(super) async fn promote(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    if !promotes(person.role) {
        return Err(AppError::Forbidden("A manager or a senior credit officer puts a model in force.".to_owned()));
    }
    change::promote(&app.db, &person, *id).await?;
    Ok(back(*id))
}

/// A card's text without its first heading: the page has one of its own.
fn without_title(card: &str) -> &str {
    let card = card.trim_start();
    if card.starts_with("# ") { card.split_once('\n').map_or("", |(_, rest)| rest.trim_start()) } else { card }
}
