//! One person per role.

use candor::accounts::{Role, hash_password, random_token, token_hash};
use sqlx::PgPool;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// Every role, once.
pub(crate) const ROLES: [Role; 5] = [Role::Agent, Role::Officer, Role::SeniorOfficer, Role::Auditor, Role::Manager];

/// The address with which the person of this role signs in.
#[must_use]
pub(crate) fn email(role: Role) -> String {
    let name = match role {
        Role::Agent => "agent",
        Role::Officer => "officer",
        Role::SeniorOfficer => "senior",
        Role::Auditor => "auditor",
        Role::Manager => "manager",
    };
    format!("{name}@harbour.example")
}

/// Somebody with this role.
pub(crate) async fn add(db: &PgPool, role: Role, name: &str, email: &str) -> Uuid {
    static HASH: OnceCell<String> = OnceCell::const_new();
    let hash = HASH.get_or_init(|| async { hash_password(PASSWORD).await.unwrap() }).await;
    let id = Uuid::now_v7();
    sqlx::query("insert into people (id, email, name, role, password_hash) values ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(email)
        .bind(name)
        .bind(role)
        .bind(hash)
        .execute(db)
        .await
        .unwrap();
    id
}

/// Somebody for every role.
pub(crate) async fn add_all(db: &PgPool) {
    for role in ROLES {
        add(db, role, &format!("Test {}", role.label()), &email(role)).await;
    }
}

/// A session of the person, as its cookie.
pub(crate) async fn session(db: &PgPool, person: Uuid) -> String {
    let token = random_token();
    sqlx::query(
        "insert into sessions (id, person_id, token_hash, user_agent, expires_at)
         values ($1, $2, $3, 'tests', now() + interval '1 hour')",
    )
    .bind(Uuid::now_v7())
    .bind(person)
    .bind(&token_hash(&token)[..])
    .execute(db)
    .await
    .unwrap();
    token
}
