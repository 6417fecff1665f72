//! The people themselves: made, changed, looked up. Every change is an entry in the audit log.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{self, Actor, Entry};
use crate::error::{FieldError, OnConstraint};
use crate::{AppError, Result};

use super::password::{hash_password, password_problem};
use super::{Role, session};

/// Somebody to be added.
#[derive(Debug, Clone)]
pub struct NewPerson<'a> {
    /// Address used to sign in.
    pub email: &'a str,
    /// Name as colleagues read it.
    pub name: &'a str,
    /// Role.
    pub role: Role,
    /// First password, in the clear; only its Argon2id hash is kept.
    pub password: &'a str,
}

/// Adds a person and returns the id.
///
/// # Errors
/// [`AppError::Invalid`] with the fields `name`, `email` and `password`, also for an address that is taken.
pub async fn create_person(connection: &mut PgConnection, actor: &Actor, new: NewPerson<'_>) -> Result<Uuid> {
    let (name, email) = (new.name.trim(), new.email.trim());
    let mut refused = Vec::new();
    if name.is_empty() || name.chars().count() > 120 {
        refused.push(FieldError::new("name", "Enter a name of at most 120 characters."));
    }
    if !plausible_email(email) {
        refused.push(FieldError::new("email", "Enter an email address, such as ana@bank.example."));
    }
    if let Some(problem) = password_problem(new.password) {
        refused.push(FieldError::new("password", problem));
    }
    if !refused.is_empty() {
        return Err(AppError::Invalid(refused));
    }
    let hash = hash_password(new.password).await?;
    let id = Uuid::now_v7();
    sqlx::query!(
        "insert into people (id, email, name, role, password_hash) values ($1, $2, $3, $4, $5)",
        id,
        email,
        name,
        new.role as Role,
        hash,
    )
    .execute(&mut *connection)
    .await
    .on_constraint("people_email_unique", || {
        AppError::field("email", "Somebody already signs in with this address.")
    })?;
    let details = json!({ "name": name, "role": new.role });
    record(connection, actor, "person.created", id, details).await?;
    Ok(id)
}

/// Good enough to send a letter to: the server behind it has the last word.
pub(crate) fn plausible_email(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    email.len() <= 200
        && !local.is_empty()
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
}

async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &str,
    id: Uuid,
    details: serde_json::Value,
) -> Result<()> {
    let entry = Entry { actor, action, subject_kind: "person", subject_id: id.to_string(), details };
    audit::append(connection, entry).await?;
    Ok(())
}

/// A person as the list of people shows them.
#[derive(Debug, Clone)]
pub struct Colleague {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// Role.
    pub role: Role,
    /// Whether they may sign in.
    pub active: bool,
    /// Since when they are known.
    pub created_at: DateTime<Utc>,
    /// Their last sign-in.
    pub last_sign_in: Option<DateTime<Utc>>,
}

/// Everybody, active first, by name.
///
/// # Errors
/// When the database fails.
pub async fn everybody(db: &PgPool) -> Result<Vec<Colleague>> {
    let people = sqlx::query_as!(
        Colleague,
        r#"select p.id, p.name, p.email, p.role as "role: Role", p.active, p.created_at,
                  (select max(s.created_at) from sessions s where s.person_id = p.id) as last_sign_in
           from people p order by p.active desc, lower(p.name)"#,
    )
    .fetch_all(db)
    .await?;
    Ok(people)
}

/// One of them.
///
/// # Errors
/// [`AppError::NotFound`] when there is nobody with this id.
pub async fn colleague(db: &PgPool, id: Uuid) -> Result<Colleague> {
    sqlx::query_as!(
        Colleague,
        r#"select p.id, p.name, p.email, p.role as "role: Role", p.active, p.created_at,
                  (select max(s.created_at) from sessions s where s.person_id = p.id) as last_sign_in
           from people p where p.id = $1"#,
        id,
    )
    .fetch_optional(db)
    .await?
    .ok_or(AppError::NotFound("This person"))
}

/// Gives somebody another role. Nobody changes their own: two people stay responsible for each role.
///
/// # Errors
/// [`AppError::Conflict`] for one's own role, [`AppError::NotFound`] when there is nobody with this id.
pub async fn change_role(connection: &mut PgConnection, actor: &Actor, id: Uuid, role: Role) -> Result<()> {
    refuse_self(actor, id, "Somebody else must change your role.")?;
    let before = sqlx::query!(r#"select role as "role: Role" from people where id = $1 for update"#, id)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(AppError::NotFound("This person"))?
        .role;
    if before == role {
        return Ok(());
    }
    sqlx::query!("update people set role = $2 where id = $1", id, role as Role).execute(&mut *connection).await?;
    record(connection, actor, "person.role_changed", id, json!({ "from": before, "to": role })).await
}

/// Lets somebody sign in, or no longer; then all their sessions end.
///
/// # Errors
/// [`AppError::Conflict`] for oneself, [`AppError::NotFound`] when there is nobody with this id.
pub async fn set_active(connection: &mut PgConnection, actor: &Actor, id: Uuid, active: bool) -> Result<()> {
    refuse_self(actor, id, "Somebody else must deactivate you.")?;
    let before = sqlx::query!("select active from people where id = $1 for update", id)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(AppError::NotFound("This person"))?
        .active;
    if before == active {
        return Ok(());
    }
    sqlx::query!("update people set active = $2 where id = $1", id, active).execute(&mut *connection).await?;
    let ended = if active { 0 } else { session::end_all(connection, id, None).await? };
    let action = if active { "person.activated" } else { "person.deactivated" };
    record(connection, actor, action, id, json!({ "sessions_ended": ended })).await
}

/// Replaces somebody's password; their sessions end, except `keep`.
///
/// # Errors
/// [`AppError::Invalid`] with the field `password`, [`AppError::NotFound`] when there is nobody with this id.
pub async fn set_password(
    connection: &mut PgConnection,
    actor: &Actor,
    id: Uuid,
    password: &str,
    keep: Option<Uuid>,
) -> Result<()> {
    if let Some(problem) = password_problem(password) {
        return Err(AppError::field("password", problem));
    }
    let hash = hash_password(password).await?;
    let changed = sqlx::query!("update people set password_hash = $2 where id = $1", id, hash)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if changed == 0 {
        return Err(AppError::NotFound("This person"));
    }
    let ended = session::end_all(connection, id, keep).await?;
    let own = matches!(actor, Actor::Person { id: by, .. } if *by == id);
    let action = if own { "person.password_changed" } else { "person.password_reset" };
    record(connection, actor, action, id, json!({ "sessions_ended": ended })).await
}

fn refuse_self(actor: &Actor, id: Uuid, why: &str) -> Result<()> {
    match actor {
        Actor::Person { id: by, .. } if *by == id => Err(AppError::Conflict(why.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::plausible_email;

    #[test]
    fn an_address_needs_a_name_and_a_domain() {
        for right in ["ana@bank.example", "a.b+c@x.y.z", "\"o@d\"@bank.example"] {
            assert!(plausible_email(right), "{right}");
        }
        for wrong in ["", "ana", "@bank.example", "ana@bank", "ana@.example", "ana@bank.", "a na@bank.example"] {
            assert!(!plausible_email(wrong), "{wrong}");
        }
    }
}
