//! API clients: the machines that speak for a CRM, and what they may do.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::accounts::{random_token, token_hash};
use crate::app::App;
use crate::audit::Actor;
use crate::{AppError, Result};

/// Every scope with what it allows, in the order they are offered.
pub const SCOPES: &[(&str, &str)] = &[
    ("contacts:read", "Read contacts"),
    ("contacts:write", "Create and change contacts"),
    ("conversations:read", "Read conversations and messages"),
    ("conversations:write", "Start conversations, send messages, hand off"),
    ("applications:read", "Read loan applications, assessments and decisions"),
    ("applications:write", "Submit loan applications and say what became of them"),
    ("understanding:read", "Understand texts"),
    ("generation:use", "Generate texts and embeddings through /v1, the OpenAI protocol"),
    ("webhooks:manage", "Register webhooks and replay events"),
];

/// A client as created: the secret is shown this once.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// The row's id.
    pub id: Uuid,
    /// Public identifier.
    pub client_id: String,
    /// 256 random bits; only the SHA-256 is kept, which is enough for a secret no one chose.
    pub secret: String,
}

/// Creates a client in the caller's transaction.
///
/// # Errors
/// A scope that does not exist, or the database.
pub async fn create_client(
    connection: &mut PgConnection,
    name: &str,
    scopes: &[String],
    created_by: Option<Uuid>,
) -> Result<NewClient> {
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.iter().any(|(known, _)| known == scope)) {
        return Err(AppError::field("scopes", format!("{unknown} is not a scope.")));
    }
    if scopes.is_empty() {
        return Err(AppError::field("scopes", "Choose at least one scope."));
    }
    let id = Uuid::now_v7();
    let client_id = format!("crm_{}", id.simple());
    let secret = random_token();
    sqlx::query!(
        "insert into api_clients (id, client_id, name, secret_hash, scopes, created_by) values ($1, $2, $3, $4, $5, $6)",
        id,
        client_id,
        name.trim(),
        hex::encode(token_hash(&secret)),
        scopes,
        created_by,
    )
    .execute(connection)
    .await?;
    Ok(NewClient { id, client_id, secret })
}

/// A client as the manager's list shows it.
#[derive(Debug, Clone)]
pub struct ListedClient {
    /// The row's id.
    pub id: Uuid,
    /// Public identifier.
    pub client_id: String,
    /// Name given by the manager who made it.
    pub name: String,
    /// What it may ask for.
    pub scopes: Vec<String>,
    /// Whether it still gets tokens.
    pub active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last got a token.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// All clients, active ones first, by name.
///
/// # Errors
/// When the database fails.
pub async fn clients(db: &PgPool) -> Result<Vec<ListedClient>> {
    Ok(sqlx::query_as!(
        ListedClient,
        "select id, client_id, name, scopes, active, created_at, last_used_at from api_clients
         order by active desc, lower(name), id",
    )
    .fetch_all(db)
    .await?)
}

/// Ends a client's access in the caller's transaction: it gets no more tokens, and those it has no longer count.
/// Returns its name.
///
/// # Errors
/// [`AppError::NotFound`] when there is no active client with this id.
pub async fn deactivate_client(connection: &mut PgConnection, id: Uuid) -> Result<String> {
    sqlx::query_scalar!("update api_clients set active = false where id = $1 and active returning name", id)
        .fetch_optional(connection)
        .await?
        .ok_or(AppError::NotFound("This API client"))
}

/// The client behind a request's access token.
#[derive(Debug, Clone)]
pub struct Client {
    /// Id.
    pub id: Uuid,
    /// Name given by the manager who made it.
    pub name: String,
    /// What the token allows.
    pub scopes: Vec<String>,
}

impl Client {
    /// Goes on only if the token carries `scope`.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] that names the scope.
    pub fn require(&self, scope: &str) -> Result<()> {
        if self.scopes.iter().any(|granted| granted == scope) {
            return Ok(());
        }
        Err(AppError::Forbidden(format!("The access token lacks the scope {scope}.")))
    }

    /// The client as the audit log names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Client { id: self.id, name: self.name.clone() }
    }
}

/// The bearer token of a request.
pub(super) fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl FromRequest for Client {
    type Error = AppError;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let token = bearer(request).map(str::to_owned);
        Box::pin(async move {
            let app = app.ok_or_else(|| AppError::Internal("the application state is missing".to_owned()))?;
            let claims = {
                let key = app.token_key().await?;
                token.and_then(|token| key.verify(&token)).ok_or(AppError::TokenNeeded)?
            };
            let row = sqlx::query!("select name from api_clients where id = $1 and active", claims.sub)
                .fetch_optional(&app.db)
                .await?
                .ok_or(AppError::TokenNeeded)?;
            let scopes = claims.scope.split(' ').map(str::to_owned).collect();
            Ok(Self { id: claims.sub, name: row.name, scopes })
        })
    }
}
