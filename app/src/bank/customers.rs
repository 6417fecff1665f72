//! Customers: finding them, identifying the person who writes, and how they are reached.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::error::OnConstraint;
use crate::{AppError, Result};

/// Failed attempts on one customer's records after which the answer is no for [`PAUSE_MINUTES`], whatever is said.
const ATTEMPTS: i64 = 5;
/// How long, in minutes.
const PAUSE_MINUTES: i32 = 15;

/// A customer's particulars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// Key.
    pub id: Uuid,
    /// Customer number, such as `C-10023`.
    pub number: String,
    /// Full name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// Telephone number; empty when unknown.
    pub phone: String,
    /// Street and house number.
    pub street: String,
    /// Town.
    pub city: String,
    /// Postcode.
    pub postcode: String,
    /// Date of birth.
    pub date_of_birth: NaiveDate,
    /// The CRM's own key.
    pub external_id: Option<String>,
    /// Customer since.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}

/// A customer about to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCustomer<'a> {
    /// Customer number; must be new.
    pub number: &'a str,
    /// Full name.
    pub name: &'a str,
    /// Mail address.
    pub email: &'a str,
    /// Telephone number or empty.
    pub phone: &'a str,
    /// Street and house number.
    pub street: &'a str,
    /// Town.
    pub city: &'a str,
    /// Postcode.
    pub postcode: &'a str,
    /// Date of birth.
    pub date_of_birth: NaiveDate,
    /// The CRM's own key.
    pub external_id: Option<&'a str>,
}

/// `query_as!` over the columns of [`Customer`], with the rest of the statement given.
macro_rules! select_customer {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Customer,
            "select id, number, name, email, phone, street, city, postcode, date_of_birth, external_id, created_at,
                    updated_at
             from customers " + $rest
            $(, $argument)*
        )
    };
}

/// The customer with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn customer(db: impl PgExecutor<'_>, id: Uuid) -> Result<Customer> {
    select_customer!("where id = $1", id).fetch_optional(db).await?.ok_or(AppError::NotFound("This customer"))
}

/// The customer with that number.
///
/// # Errors
/// When the database fails.
pub async fn customer_by_number(db: impl PgExecutor<'_>, number: &str) -> Result<Option<Customer>> {
    Ok(select_customer!("where number = $1", number).fetch_optional(db).await?)
}

/// Which customers a CRM asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Exactly this mail address, in any case.
    pub email: Option<&'a str>,
    /// Exactly this key of the CRM.
    pub external_id: Option<&'a str>,
    /// Older than the customer with this key.
    pub before: Option<Uuid>,
}

/// The names of several customers, by key.
///
/// # Errors
/// When the database fails.
pub async fn names(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let rows = sqlx::query!("select id, name from customers where id = any($1)", ids).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Customers, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn newest(db: impl PgExecutor<'_>, wanted: Wanted<'_>, limit: i64) -> Result<Vec<Customer>> {
    Ok(select_customer!(
        "where ($1::text is null or lower(email) = lower($1)) and ($2::text is null or external_id = $2)
           and ($3::uuid is null or id < $3) order by id desc limit $4",
        wanted.email,
        wanted.external_id,
        wanted.before,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// A number for a customer that does not come from the core banking system.
///
/// # Errors
/// When the database fails.
pub async fn next_number(db: impl PgExecutor<'_>) -> Result<String> {
    let number = sqlx::query_scalar!("select nextval('customer_numbers')").fetch_one(db).await?;
    Ok(format!("C-{}", number.unwrap_or_default()))
}

/// Customers whose name, number or mail address contains the words, by name.
///
/// # Errors
/// When the database fails.
pub async fn search_customers(db: impl PgExecutor<'_>, words: &str, limit: i64) -> Result<Vec<Customer>> {
    Ok(select_customer!(
        "where position(lower($1) in lower(name || ' ' || number || ' ' || email)) > 0 order by name, id limit $2",
        words,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// Keeps a new customer.
///
/// # Errors
/// [`AppError::Invalid`] when the number or the CRM's key is taken.
pub async fn create(db: impl PgExecutor<'_>, new: &NewCustomer<'_>) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let done = sqlx::query!(
        "insert into customers
            (id, number, name, email, phone, street, city, postcode, date_of_birth, external_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id,
        new.number,
        new.name,
        new.email,
        new.phone,
        new.street,
        new.city,
        new.postcode,
        new.date_of_birth,
        new.external_id,
    )
    .execute(db)
    .await;
    match done {
        Err(sqlx::Error::Database(cause)) if cause.constraint() == Some("customers_external_id_key") => {
            Err(AppError::field("external_id", "Another customer has this key."))
        }
        other => other
            .on_constraint("customers_number_key", || AppError::field("number", "Another customer has this number."))
            .map(|_| id),
    }
}

/// How a customer is reached. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact<'a> {
    /// Mail address.
    pub email: Option<&'a str>,
    /// Telephone number.
    pub phone: Option<&'a str>,
    /// Street and house number.
    pub street: Option<&'a str>,
    /// Town.
    pub city: Option<&'a str>,
    /// Postcode.
    pub postcode: Option<&'a str>,
}

impl Contact<'_> {
    /// Refuses what can not be right.
    ///
    /// # Errors
    /// [`AppError::Invalid`] with every field that needs another look.
    pub fn check(&self) -> Result<()> {
        let mut errors = Vec::new();
        if self.email.is_some_and(|email| !is_email(email)) {
            errors.push(crate::error::FieldError::new("email", "Write a mail address such as ada@example.org."));
        }
        if self.phone.is_some_and(|phone| !is_phone(phone)) {
            errors.push(crate::error::FieldError::new("phone", "Write a telephone number with 6 to 15 digits."));
        }
        for (name, value, most) in
            [("street", self.street, 120), ("city", self.city, 80), ("postcode", self.postcode, 12)]
        {
            if value.is_some_and(|value| value.trim().is_empty() || value.chars().count() > most) {
                errors.push(crate::error::FieldError::new(name, format!("Write 1 to {most} characters.")));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(AppError::Invalid(errors)) }
    }
}

/// Changes how a customer is reached, after [`Contact::check`].
///
/// # Errors
/// [`AppError::Invalid`] for what can not be right, [`AppError::NotFound`] when there is no such customer.
pub async fn update_contact(connection: &mut PgConnection, id: Uuid, contact: &Contact<'_>) -> Result<()> {
    contact.check()?;
    let done = sqlx::query!(
        "update customers set email = coalesce($2, email), phone = coalesce($3, phone),
            street = coalesce($4, street), city = coalesce($5, city), postcode = coalesce($6, postcode),
            updated_at = now()
         where id = $1",
        id,
        contact.email,
        contact.phone,
        contact.street,
        contact.city,
        contact.postcode,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(AppError::NotFound("This customer"));
    }
    Ok(())
}

/// Who somebody says they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// Customer number, if they gave one.
    pub(super) number: Option<&'a str>,
    /// Mail address, if they gave one.
    pub(super) email: Option<&'a str>,
    /// Date of birth.
    pub(super) date_of_birth: NaiveDate,
    /// Postcode.
    pub(super) postcode: &'a str,
}

/// The one customer whose records match every part of the claim. Whether no such customer exists, one part is wrong,
/// or there were too many attempts: the answer is the same.
pub(super) async fn identify(
    connection: &mut PgConnection,
    conversation: Uuid,
    claim: &Claim<'_>,
) -> Result<Option<Customer>> {
    let named = select_customer!(
        "where ($1::text is not null and replace(upper(number), ' ', '') = replace(upper($1), ' ', ''))
            or ($2::text is not null and lower(email) = lower(trim($2)))
         order by id limit 2",
        claim.number,
        claim.email
    )
    .fetch_all(&mut *connection)
    .await?;
    // A mail address that two customers share identifies neither.
    let [customer] = named.as_slice() else { return Ok(None) };
    let failed = sqlx::query_scalar!(
        r#"select count(*) as "count!" from identification_attempts
           where customer_id = $1 and not matched and made_at > now() - make_interval(mins => $2)"#,
        customer.id,
        PAUSE_MINUTES,
    )
    .fetch_one(&mut *connection)
    .await?;
    // Attempts during the pause do not count, so that it ends.
    if failed >= ATTEMPTS {
        return Ok(None);
    }
    let matched = customer.date_of_birth == claim.date_of_birth && plain(&customer.postcode) == plain(claim.postcode);
    sqlx::query!(
        "insert into identification_attempts (id, customer_id, conversation_id, matched) values ($1, $2, $3, $4)",
        Uuid::now_v7(),
        customer.id,
        conversation,
        matched,
    )
    .execute(connection)
    .await?;
    Ok(matched.then(|| customer.clone()))
}

/// Upper case without spaces.
fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_uppercase).collect()
}

fn is_email(email: &str) -> bool {
    let Some((name, domain)) = email.split_once('@') else { return false };
    email.len() <= 254
        && !name.is_empty()
        && !domain.contains('@')
        && !email.chars().any(|character| character.is_whitespace() || character.is_control())
        && domain.split('.').count() >= 2
        && domain.split('.').all(|part| !part.is_empty())
}

fn is_phone(phone: &str) -> bool {
    let digits = phone.chars().filter(char::is_ascii_digit).count();
    (6..=15).contains(&digits)
        && phone.chars().all(|character| character.is_ascii_digit() || "+ -/().".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_details_that_can_not_be_right_are_refused_by_field() {
        let wrong = Contact { email: Some("ada@host"), phone: Some("12a456"), city: Some(" "), ..Contact::default() };
        let AppError::Invalid(fields) = wrong.check().unwrap_err() else { panic!("not refused by field") };
        assert_eq!(fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["email", "phone", "city"]);
        let right = Contact { email: Some("ada@post.example"), phone: Some("+49 30 123456"), ..Contact::default() };
        assert!(right.check().is_ok());
    }
}
