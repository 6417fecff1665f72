//! Sessions: a random cookie whose SHA-256 is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::Result;

use super::{Person, Role};

/// Name of the cookie of the bank's people.
pub const SESSION_COOKIE: &str = "candor_session";

/// 256 random bits for a cookie or a link.
#[must_use]
pub fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is stored of a token.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The person a session cookie stands for, if the session is alive.
pub(super) async fn person(db: &PgPool, token: &str) -> Result<Option<Person>> {
    let hash = token_hash(token);
    let person = sqlx::query_as!(
        Person,
        r#"select p.id, p.name, p.email, p.role as "role: Role", s.id as session_id
           from sessions s join people p on p.id = s.person_id
           where s.token_hash = $1 and s.revoked_at is null and s.expires_at > now() and p.active"#,
        &hash[..],
    )
    .fetch_optional(db)
    .await?;
    Ok(person)
}
