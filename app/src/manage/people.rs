//! `/manage/people`

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::accounts::{
    self, Colleague, NewPerson, Person, Role, change_role, colleague, create_person, everybody, first_password,
};
use crate::app::App;
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result};

use super::Done;

#[derive(Template)]
#[template(path = "manage/people.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    people: Vec<Row>,
}

struct Row {
    who: Colleague,
    last: Option<Moment>,
}

fn row(who: Colleague) -> Row {
    Row { last: who.last_sign_in.map(Moment), who }
}

pub(super) async fn list(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let people = everybody(&app.db).await?.into_iter().map(row).collect();
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "People", "manage", &person),
        tab: "people",
        people,
    })
}

#[derive(Template)]
#[template(path = "manage/person_new.html")]
struct NewPage {
    frame: Frame,
    tab: &'static str,
    roles: [Role; 5],
    form: NewForm,
    refusals: Refusals,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NewForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: Option<Role>,
}

fn new_page(app: &App, person: &Person, form: NewForm, refusals: Refusals) -> NewPage {
    let frame = Frame::staff(&app.config.bank_name, "Add a person", "manage", person);
    NewPage { frame, tab: "people", roles: Role::ALL, form, refusals }
}

pub(super) async fn new(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    pages::html(&new_page(&app, &person, NewForm::default(), Refusals::none()))
}

/// A secret that is shown this once.
#[derive(Template)]
#[template(path = "manage/secret.html")]
pub(super) struct SecretPage {
    pub(super) frame: Frame,
    pub(super) tab: &'static str,
    pub(super) about: String,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) note: &'static str,
    pub(super) back: String,
}

/// A page with a secret is kept by no cache.
pub(super) fn secret(page: &SecretPage) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

pub(super) async fn add(app: web::Data<App>, person: Person, form: web::Form<NewForm>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let form = form.into_inner();
    let Some(role) = form.role else {
        let mut refusals = Refusals::none();
        refusals.refuse("role", "Choose a role.");
        return pages::refused(&new_page(&app, &person, form, refusals));
    };
    let password = first_password();
    let mut tx = app.db.begin().await?;
    let new = NewPerson { email: &form.email, name: &form.name, role, password: &password };
    let id = match create_person(&mut tx, &person.actor(), new).await {
        Ok(id) => id,
        Err(AppError::Invalid(fields)) => {
            return pages::refused(&new_page(&app, &person, form, Refusals::from(fields)));
        }
        Err(error) => return Err(error),
    };
    tx.commit().await?;
    secret(&SecretPage {
        frame: Frame::staff(&app.config.bank_name, "First password", "manage", &person),
        tab: "people",
        about: format!("{} can sign in", form.name.trim()),
        facts: vec![("Email address", form.email.trim().to_owned()), ("First password", password)],
        note: "It can be changed under Account after signing in.",
        back: format!("/manage/people/{id}"),
    })
}

#[derive(Template)]
#[template(path = "manage/person.html")]
struct PersonPage {
    frame: Frame,
    tab: &'static str,
    who: Colleague,
    since: Moment,
    last: Option<Moment>,
    roles: [Role; 5],
    is_self: bool,
    done: &'static str,
}

pub(super) async fn one(
    app: web::Data<App>,
    person: Person,
    id: web::Path<Uuid>,
    done: web::Query<Done>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let who = colleague(&app.db, *id).await?;
    pages::html(&PersonPage {
        frame: Frame::staff(&app.config.bank_name, who.name.clone(), "manage", &person),
        tab: "people",
        since: Moment(who.created_at),
        last: who.last_sign_in.map(Moment),
        roles: Role::ALL,
        is_self: who.id == person.id,
        done: match done.done.as_str() {
            "role" => "The role is changed. It holds from the next page on.",
            "activated" => "They may sign in again.",
            "deactivated" => "They can no longer sign in, and their sessions have ended.",
            _ => "",
        },
        who,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct RoleForm {
    role: Role,
}

pub(super) async fn role(
    app: web::Data<App>,
    person: Person,
    id: web::Path<Uuid>,
    form: web::Form<RoleForm>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut tx = app.db.begin().await?;
    change_role(&mut tx, &person.actor(), *id, form.role).await?;
    tx.commit().await?;
    Ok(pages::see_other(format!("/manage/people/{id}?done=role")))
}

#[derive(Debug, Deserialize)]
pub(super) struct ActiveForm {
    active: bool,
}

pub(super) async fn active(
    app: web::Data<App>,
    person: Person,
    id: web::Path<Uuid>,
    form: web::Form<ActiveForm>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut tx = app.db.begin().await?;
    accounts::set_active(&mut tx, &person.actor(), *id, form.active).await?;
    tx.commit().await?;
    let done = if form.active { "activated" } else { "deactivated" };
    Ok(pages::see_other(format!("/manage/people/{id}?done={done}")))
}

/// Makes a new password and shows it once; the person's sessions end.
pub(super) async fn password(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let who = colleague(&app.db, *id).await?;
    let password = first_password();
    let mut tx = app.db.begin().await?;
    accounts::set_password(&mut tx, &person.actor(), *id, &password, None).await?;
    tx.commit().await?;
    secret(&SecretPage {
        frame: Frame::staff(&app.config.bank_name, "New password", "manage", &person),
        tab: "people",
        about: format!("{} has a new password", who.name),
        facts: vec![("Email address", who.email), ("New password", password)],
        note: "Their sessions have ended. The password can be changed under Account after signing in.",
        back: format!("/manage/people/{id}"),
    })
}
