//! Contacts: the bank's customers as a CRM sees them.

use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::audit::{self, Entry};
use crate::bank::{self, Customer, NewCustomer, Wanted};
use crate::error::FieldError;
use crate::{AppError, Result};

use super::Client;
use super::idempotency::{self, Attempt};
use super::paging::{Page, Paging};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/contacts", web::get().to(list))
        .route("/contacts", web::post().to(create))
        .route("/contacts/{id}", web::get().to(read))
        .route("/contacts/{id}", web::patch().to(change));
}

/// A contact.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Contact {
    id: Uuid,
    /// The bank's customer number.
    #[schema(example = "C-10023")]
    number: String,
    /// The CRM's own key.
    external_id: Option<String>,
    name: String,
    email: String,
    phone: String,
    street: String,
    city: String,
    postcode: String,
    date_of_birth: NaiveDate,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Customer> for Contact {
    fn from(customer: Customer) -> Self {
        let Customer {
            id,
            number,
            external_id,
            name,
            email,
            phone,
            street,
            city,
            postcode,
            date_of_birth,
            created_at,
            updated_at,
        } = customer;
        Self {
            id,
            number,
            external_id,
            name,
            email,
            phone,
            street,
            city,
            postcode,
            date_of_birth,
            created_at,
            updated_at,
        }
    }
}

/// A contact to create.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContact {
    name: String,
    email: String,
    date_of_birth: NaiveDate,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    street: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    postcode: String,
    /// The CRM's own key; unique.
    external_id: Option<String>,
}

/// What is to change; absent fields stay.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactChange {
    email: Option<String>,
    phone: Option<String>,
    street: Option<String>,
    city: Option<String>,
    postcode: Option<String>,
}

/// Which contacts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Exactly this mail address.
    email: Option<String>,
    /// Exactly this key of the CRM.
    external_id: Option<String>,
}

/// Contacts, newest first.
#[utoipa::path(get, path = "/api/v1/contacts", tag = "Contacts", params(Filter, Paging),
    responses((status = 200, body = Page<Contact>)))]
pub(super) async fn list(
    app: web::Data<App>,
    client: Client,
    filter: Query<Filter>,
    paging: Query<Paging>,
) -> Result<Json<Page<Contact>>> {
    client.require("contacts:read")?;
    let wanted =
        Wanted { email: filter.email.as_deref(), external_id: filter.external_id.as_deref(), before: paging.before()? };
    let found = bank::newest(&app.db, wanted, paging.fetch()?).await?;
    let contacts = found.into_iter().map(Contact::from).collect();
    Ok(Json(Page::new(contacts, &paging, |contact: &Contact| contact.id)?))
}

/// One contact.
#[utoipa::path(get, path = "/api/v1/contacts/{id}", tag = "Contacts",
    params(("id" = Uuid, Path, description = "The contact")),
    responses((status = 200, body = Contact), (status = 404, body = crate::error::Problem)))]
pub(super) async fn read(app: web::Data<App>, client: Client, id: Path<Uuid>) -> Result<Json<Contact>> {
    client.require("contacts:read")?;
    Ok(Json(bank::customer(&app.db, *id).await?.into()))
}

/// Create a contact.
#[utoipa::path(post, path = "/api/v1/contacts", tag = "Contacts", request_body = NewContact,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request safe")),
    responses((status = 201, body = Contact), (status = 409, body = crate::error::Problem), (status = 422, body = crate::error::Problem)))]
pub(super) async fn create(
    app: web::Data<App>,
    client: Client,
    request: HttpRequest,
    body: Json<NewContact>,
) -> Result<HttpResponse> {
    client.require("contacts:write")?;
    let mut work = match idempotency::begin(&app.commits, &client, &request, &*body).await? {
        Attempt::Fresh(work) => work,
        Attempt::Replay(answer) => return Ok(answer),
    };
    new_contact_problems(&body)?;
    let number = bank::next_number(&mut *work.tx).await?;
    let new = NewCustomer {
        number: &number,
        name: body.name.trim(),
        email: body.email.trim(),
        phone: body.phone.trim(),
        street: body.street.trim(),
        city: body.city.trim(),
        postcode: body.postcode.trim(),
        date_of_birth: body.date_of_birth,
        external_id: body.external_id.as_deref(),
    };
    let id = bank::create(&mut *work.tx, &new).await?;
    let contact = Contact::from(bank::customer(&mut *work.tx, id).await?);
    record(&mut work.tx, &client, "contact.created", id).await?;
    work.answer(&app.commits, StatusCode::CREATED, Some(&format!("/api/v1/contacts/{id}")), &contact).await
}

/// Refuses what can not be right; what is optional may be empty.
fn new_contact_problems(new: &NewContact) -> Result<()> {
    let given = |text: &'_ str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let (phone, street, city, postcode) =
        (given(&new.phone), given(&new.street), given(&new.city), given(&new.postcode));
    let contact = bank::Contact {
        email: Some(new.email.trim()),
        phone: phone.as_deref(),
        street: street.as_deref(),
        city: city.as_deref(),
        postcode: postcode.as_deref(),
    };
    let mut errors = match contact.check() {
        Err(AppError::Invalid(errors)) => errors,
        _ => Vec::new(),
    };
    if !(1..=120).contains(&new.name.trim().chars().count()) {
        errors.push(FieldError::new("name", "Write 1 to 120 characters."));
    }
    if new.date_of_birth >= bank::today() {
        errors.push(FieldError::new("date_of_birth", "Must be in the past."));
    }
    if errors.is_empty() { Ok(()) } else { Err(AppError::Invalid(errors)) }
}

/// Change a contact.
#[utoipa::path(patch, path = "/api/v1/contacts/{id}", tag = "Contacts", request_body = ContactChange,
    params(("id" = Uuid, Path, description = "The contact")),
    responses((status = 200, body = Contact), (status = 404, body = crate::error::Problem), (status = 422, body = crate::error::Problem)))]
pub(super) async fn change(
    app: web::Data<App>,
    client: Client,
    id: Path<Uuid>,
    body: Json<ContactChange>,
) -> Result<Json<Contact>> {
    client.require("contacts:write")?;
    let mut tx = app.db.begin().await?;
    let change = bank::Contact {
        email: body.email.as_deref(),
        phone: body.phone.as_deref(),
        street: body.street.as_deref(),
        city: body.city.as_deref(),
        postcode: body.postcode.as_deref(),
    };
    bank::update_contact(&mut tx, *id, &change).await?;
    let contact = Contact::from(bank::customer(&mut *tx, *id).await?);
    record(&mut tx, &client, "contact.changed", *id).await?;
    tx.commit().await?;
    Ok(Json(contact))
}

async fn record(connection: &mut sqlx::PgConnection, client: &Client, action: &str, id: Uuid) -> Result<()> {
    let entry = Entry {
        actor: &client.actor(),
        action,
        subject_kind: "customer",
        subject_id: id.to_string(),
        details: json!({}),
    };
    audit::append(connection, entry).await.map(|_| ())
}
