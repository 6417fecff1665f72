//! The pages of policies.

use actix_web::{HttpResponse, web};
use askama::Template;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment, Refusals, csv_file};
use crate::{AppError, Result};

use super::change;
use super::difference::{self, Line};
use super::effect::{self, Effect};
use super::form::Form;
use super::store::{self, Status, StoredPolicy};

/// Changed applications that are listed on the page; the file has all.
const SHOWN: usize = 30;

/// May put a policy in force: managers, and senior officers as the second person.
fn activates(role: Role) -> bool {
    role.manages() || role == Role::SeniorOfficer
}

#[derive(Template)]
#[template(path = "credit/policies.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    may_draft: bool,
    rows: Vec<Row>,
}

struct Row {
    policy: StoredPolicy,
    drafted: Moment,
    activated: Option<Moment>,
}

/// Every policy.
pub(super) async fn list(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let mut connection = app.db.acquire().await?;
    store::active(&mut connection).await?;
    let policies = store::list(&mut *connection).await?;
    drop(connection);
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "Policies", section(&person), &person),
        tab: "policies",
        may_draft: person.role.manages(),
        rows: policies
            .into_iter()
            .map(|policy| Row {
                drafted: Moment(policy.created_at),
                activated: policy.activated_at.map(Moment),
                policy,
            })
            .collect(),
    })
}

fn section(person: &Person) -> &'static str {
    if person.role.manages() { "manage" } else { "credit" }
}

#[derive(Template)]
#[template(path = "credit/policy.html")]
struct PolicyPage {
    frame: Frame,
    tab: &'static str,
    refusals: Refusals,
    policy: StoredPolicy,
    drafted: Moment,
    activated: Option<Moment>,
    retired: Option<Moment>,
    active_version: i64,
    lines: Vec<Line>,
    changes: usize,
    effect: Effect,
    shown: usize,
    days: i32,
    form: Option<Form>,
    may_activate: bool,
    is_drafter: bool,
    may_retire: bool,
}

/// One policy: what it says beside the one in force, and its form while it is a draft.
pub(super) async fn one(app: web::Data<App>, person: Person, policy: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    pages::html(&gather(&app, &person, *policy, None, Refusals::none()).await?)
}

async fn gather(app: &App, person: &Person, id: Uuid, typed: Option<Form>, refusals: Refusals) -> Result<PolicyPage> {
    let mut connection = app.db.acquire().await?;
    let active = store::active(&mut connection).await?;
    let policy = store::find(&mut *connection, id).await?;
    drop(connection);
    let is_draft = policy.status == Status::Draft;
    let lines = difference::lines(&active.body, &policy.body);
    Ok(PolicyPage {
        frame: Frame::staff(&app.config.bank_name, format!("Policy {}", policy.version), section(person), person),
        tab: "policies",
        refusals,
        drafted: Moment(policy.created_at),
        activated: policy.activated_at.map(Moment),
        retired: policy.retired_at.map(Moment),
        active_version: active.version,
        changes: lines.iter().filter(|line| line.is_change()).count(),
        lines,
        effect: effect::effect(&app.db, &active.body, &policy.body).await?,
        shown: SHOWN,
        days: effect::DAYS,
        form: (is_draft && person.role.manages())
            .then(|| typed.unwrap_or_else(|| Form::of(&policy.name, &policy.note, &policy.body))),
        is_drafter: policy.drafted_by == Some(person.id),
        may_activate: is_draft && activates(person.role),
        may_retire: is_draft && person.role.manages(),
        policy,
    })
}

/// Every application for which a policy proposes something else than the one in force, as CSV.
pub(super) async fn effect_csv(app: web::Data<App>, person: Person, policy: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let mut connection = app.db.acquire().await?;
    let active = store::active(&mut connection).await?;
    let policy = store::find(&mut *connection, *policy).await?;
    drop(connection);
    let effect = effect::effect(&app.db, &active.body, &policy.body).await?;
    let head = ["number", "received_at", "probability", "in_force_proposes", "this_one_proposes", "status", "known"];
    let rows = effect.changed.iter().map(|one| {
        vec![
            one.number.to_string(),
            one.received_at.to_rfc3339(),
            one.probability.to_string(),
            one.before.as_str().to_owned(),
            one.after.as_str().to_owned(),
            one.status.as_str().to_owned(),
            one.known().to_owned(),
        ]
    });
    let name = format!("policy-{}-beside-{}.csv", policy.version, active.version);
    csv_file(&name, std::iter::once(head.map(str::to_owned).to_vec()).chain(rows))
}

/// Drafts a new policy.
pub(super) async fn draft(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let id = change::draft(&app, &person, None, "").await?;
    Ok(pages::see_other(format!("/manage/policies/{id}")))
}

/// Keeps a changed draft.
pub(super) async fn save(
    app: web::Data<App>,
    person: Person,
    policy: web::Path<Uuid>,
    fields: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let form = Form::read(&fields);
    let stored = store::find(&app.db, *policy).await?;
    match form.policy(stored.body.version) {
        Ok(body) => {
            change::save(&app, &person, *policy, &form.name, &form.note, &body).await?;
            Ok(pages::see_other(format!("/manage/policies/{policy}")))
        }
        Err(faults) => pages::refused(&gather(&app, &person, *policy, Some(form), Refusals::from(faults)).await?),
    }
}

/// Puts a draft in force.
pub(super) async fn activate(app: web::Data<App>, person: Person, policy: web::Path<Uuid>) -> Result<HttpResponse> {
    if !activates(person.role) {
        return Err(AppError::Forbidden("A manager or a senior credit officer activates a policy.".to_owned()));
    }
    change::activate(&app, &person, *policy).await?;
    Ok(pages::see_other(format!("/manage/policies/{policy}")))
}

/// Gives a draft up.
pub(super) async fn retire(app: web::Data<App>, person: Person, policy: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    change::retire(&app, &person, *policy).await?;
    Ok(pages::see_other("/manage/policies"))
}
