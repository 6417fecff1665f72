//! `/manage/clients`: the programs that may use the API.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde_json::json;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::crm::{ListedClient, SCOPES, clients, create_client, deactivate_client};
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result};

use super::Done;
use super::people::{SecretPage, secret};

#[derive(Template)]
#[template(path = "manage/clients.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    clients: Vec<Row>,
    done: &'static str,
}

struct Row {
    client: ListedClient,
    made: Moment,
    used: Option<Moment>,
}

pub(super) async fn list(app: web::Data<App>, person: Person, done: web::Query<Done>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let clients = clients(&app.db)
        .await?
        .into_iter()
        .map(|client| Row { made: Moment(client.created_at), used: client.last_used_at.map(Moment), client })
        .collect();
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "API clients", "manage", &person),
        tab: "clients",
        clients,
        done: if done.done == "deactivated" { "The client gets no more tokens." } else { "" },
    })
}

#[derive(Template)]
#[template(path = "manage/client_new.html")]
struct NewPage {
    frame: Frame,
    tab: &'static str,
    name: String,
    scopes: Vec<ScopeBox>,
    refusals: Refusals,
}

struct ScopeBox {
    scope: &'static str,
    words: &'static str,
    checked: bool,
}

fn new_page(app: &App, person: &Person, name: &str, chosen: &[String], refusals: Refusals) -> NewPage {
    NewPage {
        frame: Frame::staff(&app.config.bank_name, "Add an API client", "manage", person),
        tab: "clients",
        name: name.to_owned(),
        scopes: SCOPES
            .iter()
            .map(|(scope, words)| ScopeBox { scope, words, checked: chosen.iter().any(|chosen| chosen == scope) })
            .collect(),
        refusals,
    }
}

pub(super) async fn new(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    pages::html(&new_page(&app, &person, "", &[], Refusals::none()))
}

/// Makes a client and shows its secret once. A form may hold `scope` several times, so it is read as pairs.
pub(super) async fn add(
    app: web::Data<App>,
    person: Person,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let of = |field: &'static str| form.iter().filter(move |(name, _)| name == field).map(|(_, value)| value.clone());
    let name = of("name").next().unwrap_or_default().trim().to_owned();
    let scopes: Vec<String> = of("scope").collect();
    let mut refusals = Refusals::none();
    if name.is_empty() || name.chars().count() > 120 {
        refusals.refuse("name", "Enter a name of at most 120 characters.");
    }
    if scopes.is_empty() {
        refusals.refuse("scopes", "Choose what it may do.");
    }
    if !refusals.is_empty() {
        return pages::refused(&new_page(&app, &person, &name, &scopes, refusals));
    }
    let mut tx = app.db.begin().await?;
    let made = match create_client(&mut tx, &name, &scopes, Some(person.id)).await {
        Ok(made) => made,
        Err(AppError::Invalid(fields)) => {
            return pages::refused(&new_page(&app, &person, &name, &scopes, Refusals::from(fields)));
        }
        Err(error) => return Err(error),
    };
    let details = json!({ "name": name, "client_id": made.client_id, "scopes": scopes });
    record(&mut tx, &person, "api_client.created", made.id, details).await?;
    tx.commit().await?;
    secret(&SecretPage {
        frame: Frame::staff(&app.config.bank_name, "API client", "manage", &person),
        tab: "clients",
        about: format!("{name} may use the API"),
        facts: vec![("Client id", made.client_id), ("Client secret", made.secret)],
        note: "It exchanges both for an access token at /api/v1/oauth/token (OAuth 2 client credentials).",
        back: "/manage/clients".to_owned(),
    })
}

pub(super) async fn deactivate(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut tx = app.db.begin().await?;
    let name = deactivate_client(&mut tx, *id).await?;
    record(&mut tx, &person, "api_client.deactivated", *id, json!({ "name": name })).await?;
    tx.commit().await?;
    Ok(pages::see_other("/manage/clients?done=deactivated"))
}

async fn record(
    connection: &mut sqlx::PgConnection,
    person: &Person,
    action: &str,
    id: Uuid,
    details: serde_json::Value,
) -> Result<()> {
    let actor = person.actor();
    let entry = Entry { actor: &actor, action, subject_kind: "api_client", subject_id: id.to_string(), details };
    audit::append(connection, entry).await?;
    Ok(())
}
