//! OAuth 2.0 client credentials (RFC 6749, section 4.4): a client's id and secret buy a JWT for fifteen minutes.

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use crate::Result;
use crate::accounts::token_hash;
use crate::app::App;
use crate::audit::{self, Actor, Entry};

use super::access_token::LIFETIME_S;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/oauth/token", web::post().to(issue));
}

/// The form of RFC 6749, section 4.4.2.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenRequest {
    /// Always `client_credentials`.
    grant_type: String,
    /// Scopes wanted, separated by spaces; all that the client has when absent.
    scope: Option<String>,
    /// Unless sent by HTTP Basic.
    client_id: Option<String>,
    /// Unless sent by HTTP Basic.
    client_secret: Option<String>,
}

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until it expires.
    expires_in: i64,
    /// Scopes granted, separated by spaces.
    scope: String,
}

/// The error document of RFC 6749, section 5.2, which OAuth libraries expect.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenError {
    error: &'static str,
    error_description: &'static str,
}

fn refuse(error: &'static str, error_description: &'static str) -> HttpResponse {
    let mut answer = if error == "invalid_client" { HttpResponse::Unauthorized() } else { HttpResponse::BadRequest() };
    if error == "invalid_client" {
        answer.insert_header(("WWW-Authenticate", "Basic realm=\"candor\""));
    }
    answer.insert_header((CACHE_CONTROL, "no-store")).json(TokenError { error, error_description })
}

fn basic(request: &HttpRequest) -> Option<(String, String)> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// Exchange client credentials for an access token.
#[utoipa::path(post, path = "/api/v1/oauth/token", tag = "Access",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenAnswer), (status = 400, body = TokenError), (status = 401, body = TokenError)),
    security(()))]
pub(super) async fn issue(
    app: web::Data<App>,
    request: HttpRequest,
    form: web::Form<TokenRequest>,
) -> Result<HttpResponse> {
    let form = form.into_inner();
    if form.grant_type != "client_credentials" {
        return Ok(refuse("unsupported_grant_type", "Only client_credentials is supported."));
    }
    let credentials = basic(&request).or_else(|| form.client_id.zip(form.client_secret));
    let Some((client_id, secret)) = credentials else {
        return Ok(refuse("invalid_client", "Send client_id and client_secret."));
    };
    let client = sqlx::query!(
        "select id, name, secret_hash, scopes from api_clients where client_id = $1 and active",
        client_id
    )
    .fetch_optional(&app.db)
    .await?;
    let offered = hex::encode(token_hash(&secret));
    let Some(client) = client.filter(|client| bool::from(client.secret_hash.as_bytes().ct_eq(offered.as_bytes())))
    else {
        return Ok(refuse("invalid_client", "This client id and secret do not belong together."));
    };
    let scopes: Vec<&str> = match &form.scope {
        Some(wanted) => wanted.split_whitespace().collect(),
        None => client.scopes.iter().map(String::as_str).collect(),
    };
    if scopes.is_empty() || scopes.iter().any(|scope| !client.scopes.iter().any(|granted| granted == scope)) {
        return Ok(refuse("invalid_scope", "This client may not have one of these scopes."));
    }
    let scope = scopes.join(" ");
    let access_token = app.token_key().await?.sign(client.id, &scope)?;
    let mut tx = app.db.begin().await?;
    sqlx::query!("update api_clients set last_used_at = now() where id = $1", client.id).execute(&mut *tx).await?;
    audit::append(
        &mut tx,
        Entry {
            actor: &Actor::Client { id: client.id, name: client.name },
            action: "token.issued",
            subject_kind: "api_client",
            subject_id: client.id.to_string(),
            details: serde_json::json!({ "scope": scope }),
        },
    )
    .await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: LIFETIME_S,
        scope,
    }))
}
