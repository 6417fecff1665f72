//! Sessions: a random cookie whose SHA-256 is stored.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rand::RngCore;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{self, Actor, Entry};
use crate::{AppError, Result};

use super::{Person, Role};

/// Name of the cookie of the bank's people.
pub const SESSION_COOKIE: &str = "candor_session";

/// How long a session lives: a working day.
const HOURS: i32 = 12;

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

/// The cookie that carries a session's token.
pub(super) fn cookie(token: String, secure: bool) -> Cookie<'static> {
    Cookie::build(SESSION_COOKIE, token)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(Duration::hours(i64::from(HOURS)))
        .finish()
}

/// The cookie that takes the session's cookie away.
pub(super) fn no_cookie(secure: bool) -> Cookie<'static> {
    let mut cookie = cookie(String::new(), secure);
    cookie.make_removal();
    cookie
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

/// Starts a session for somebody who proved who they are; returns the cookie's token.
pub(super) async fn start(
    connection: &mut PgConnection,
    person_id: Uuid,
    name: &str,
    user_agent: &str,
) -> Result<String> {
    let token = random_token();
    let id = Uuid::now_v7();
    let hash = token_hash(&token);
    sqlx::query!(
        "insert into sessions (id, person_id, token_hash, user_agent, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(hours => $5))",
        id,
        person_id,
        &hash[..],
        user_agent,
        HOURS,
    )
    .execute(&mut *connection)
    .await?;
    let actor = Actor::Person { id: person_id, name: name.to_owned() };
    record(connection, &actor, "session.started", id, json!({})).await?;
    Ok(token)
}

/// A living session as its owner sees it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Id.
    pub id: Uuid,
    /// The browser, as it named itself.
    pub user_agent: String,
    /// When it started.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// A living session with its owner, for the manager's list.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// Id.
    pub id: Uuid,
    /// Whose.
    pub person_id: Uuid,
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// The browser, as it named itself.
    pub user_agent: String,
    /// When it started.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// The living sessions of one person, newest first.
pub(super) async fn of_person(db: &PgPool, person_id: Uuid) -> Result<Vec<Session>> {
    let sessions = sqlx::query_as!(
        Session,
        "select id, user_agent, created_at, expires_at from sessions
         where person_id = $1 and revoked_at is null and expires_at > now() order by created_at desc",
        person_id,
    )
    .fetch_all(db)
    .await?;
    Ok(sessions)
}

/// Everybody's living sessions, newest first.
///
/// # Errors
/// When the database fails.
pub async fn open_sessions(db: &PgPool) -> Result<Vec<OpenSession>> {
    let sessions = sqlx::query_as!(
        OpenSession,
        r#"select s.id, s.person_id, p.name, p.role as "role: Role", s.user_agent, s.created_at, s.expires_at
           from sessions s join people p on p.id = s.person_id
           where s.revoked_at is null and s.expires_at > now() order by s.created_at desc limit 500"#,
    )
    .fetch_all(db)
    .await?;
    Ok(sessions)
}

/// Ends one living session; `owner` narrows it to that person's own.
///
/// # Errors
/// [`AppError::NotFound`] when there is no such living session.
pub async fn end(connection: &mut PgConnection, actor: &Actor, id: Uuid, owner: Option<Uuid>) -> Result<()> {
    let person_id = sqlx::query_scalar!(
        "update sessions set revoked_at = now()
         where id = $1 and revoked_at is null and ($2::uuid is null or person_id = $2) returning person_id",
        id,
        owner,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(AppError::NotFound("This session"))?;
    record(connection, actor, "session.ended", id, json!({ "person": person_id })).await
}

/// Ends all living sessions of a person except `keep`; the caller records why. Returns how many.
pub(super) async fn end_all(connection: &mut PgConnection, person_id: Uuid, keep: Option<Uuid>) -> Result<u64> {
    let done = sqlx::query!(
        "update sessions set revoked_at = now()
         where person_id = $1 and revoked_at is null and expires_at > now() and id is distinct from $2",
        person_id,
        keep,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &str,
    id: Uuid,
    details: serde_json::Value,
) -> Result<()> {
    let entry = Entry { actor, action, subject_kind: "session", subject_id: id.to_string(), details };
    audit::append(connection, entry).await?;
    Ok(())
}

/// A browser in a few words, from the way it names itself.
#[must_use]
pub fn browser_words(user_agent: &str) -> String {
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, words)| *words)
    };
    let browser = find(&[
        ("Firefox/", "Firefox"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) => "Unknown browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_in_words() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
        assert_eq!(browser_words(agent), "Chrome on Linux");
        assert_eq!(browser_words(""), "Unknown browser");
    }

    #[test]
    fn the_cookie_is_for_the_server_only() {
        let made = cookie("t".to_owned(), true).to_string();
        assert!(made.contains("HttpOnly") && made.contains("SameSite=Lax") && made.contains("Secure"), "{made}");
        assert!(made.contains("Max-Age=43200"), "{made}");
        assert!(!cookie("t".to_owned(), false).to_string().contains("Secure"));
    }
}
