//! Access tokens of the API: JWTs (RFC 7519) that all replicas sign and verify with one key.

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{AppError, Result};

/// Seconds an access token lives.
pub(super) const LIFETIME_S: i64 = 900;
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

    pub(super) fn sign(&self, client: Uuid, scope: &str) -> Result<String> {
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
