//! OAuth 2.0 client credentials (RFC 6749, section 4.4): a client's id and secret buy a JWT for fifteen minutes.

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::token_hash;
use crate::audit::{self, Actor, Entry};
use crate::server::App;
use crate::{AppError, Result};

/// Seconds an access token lives.
const LIFETIME_S: i64 = 900;
const ISSUER: &str = "candor";
const AUDIENCE: &str = "candor-api";

/// What an access token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    /// The client's row id.
    pub sub: Uuid,
    /// Granted scopes, separated by spaces.
    pub scope: String,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// The key that signs and verifies access tokens; all replicas share it.
pub struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    fn new(secret: &[u8]) -> Self {
        Self { encoding: EncodingKey::from_secret(secret), decoding: DecodingKey::from_secret(secret) }
    }

    /// The configured key, or the one kept in the database, made on first use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(db: &PgPool, configured: Option<&str>) -> Result<Self> {
        if let Some(configured) = configured {
            return Ok(Self::new(configured.as_bytes()));
        }
        let mut fresh = vec![0_u8; 32];
        rand::rng().fill_bytes(&mut fresh);
        let key = sqlx::query_scalar!(
            "insert into signing_keys (purpose, key) values ('access_token', $1)
             on conflict (purpose) do update set purpose = excluded.purpose returning key",
            fresh,
        )
        .fetch_one(db)
        .await?;
        Ok(Self::new(&key))
    }

    /// The claims of a token that is genuine and has not expired.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 5;
        jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok().map(|data| data.claims)
    }

    fn sign(&self, client: Uuid, scope: &str) -> Result<String> {
        let now = Utc::now().timestamp();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: client,
            scope: scope.to_owned(),
            iat: now,
            exp: now + LIFETIME_S,
            jti: Uuid::new_v4(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| AppError::Internal(format!("the access token could not be signed: {error}")))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_verified_by_its_own_key_only() {
        let key = SigningKey::new(&[7; 32]);
        let token = key.sign(Uuid::nil(), "contacts:read").unwrap();
        assert_eq!(key.verify(&token).unwrap().scope, "contacts:read");
        assert!(SigningKey::new(&[8; 32]).verify(&token).is_none());
        let (head, signature) = token.rsplit_once('.').unwrap();
        assert!(key.verify(&format!("{head}x.{signature}")).is_none());
    }
}
