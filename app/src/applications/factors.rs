//! From what an applicant says and what the database knows to the factors that the model reads.
//!
//! | factor | from |
//! |---|---|
//! | `income` | the stated yearly income |
//! | `name_email_similarity` | letters that name and mail address share, see [`similarity`] |
//! | `email_is_free` | a list of free providers |
//! | `current_address_months_count`, `prev_address_months_count` | as stated |
//! | `customer_age` | the date of birth; protected, never an input |
//! | `days_since_request`, `session_length_in_minutes`, `keep_alive_session`, `device_os`, `foreign_request` | the session |
//! | `phone_mobile_valid`, `phone_home_valid` | whether the number can exist |
//! | `zip_count_4w`, `velocity_*`, `bank_branch_count_8w` | applications counted back from the arrival |
//! | `date_of_birth_distinct_emails_4w`, `device_distinct_emails_8w` | other mail addresses plus this one |
//! | `device_fraud_count` | earlier applications of the device that the bank confirmed as fraud |
//! | `ring_size`, `ring_fraud_count` | the ring of shared devices, addresses, telephones, accounts and employers as of the arrival |
//! | `bank_months_count`, `has_other_cards` | the customer's accounts and cards |
//! | `proposed_credit_limit`, `payment_type`, `employment_status`, `housing_status`, `source` | as stated |
//! | `intended_balcon_amount`, `credit_risk_score` | only when the caller knows them |
//!
//! What is not known stays missing; a factor that the caller gives is taken as given.

use std::sync::{Mutex, PoisonError};

use candor_engine::risk;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{AppError, Result};

use super::applicant::years_between;
use super::similarity;
use super::submit::NewApplication;

/// The factors of an application as of its arrival.
pub(super) async fn factors(connection: &mut PgConnection, new: &NewApplication) -> Result<risk::Application> {
    let counts = counts(connection, new).await?;
    let arrived = arrivals(connection, new.received_at).await?;
    let relation = match new.customer_id {
        Some(customer) => Some(relation(connection, customer, new.received_at).await?),
        None => None,
    };
    let mut factors = stated(new);
    factors.zip_count_4w = Some(counted(counts.postcode_4w));
    factors.velocity_6h = Some(counted(arrived.in_6h) / 6.0);
    factors.velocity_24h = Some(counted(arrived.in_24h) / 24.0);
    factors.velocity_4w = Some(counted(arrived.in_4w) / (4.0 * 7.0 * 24.0));
    factors.bank_branch_count_8w = new.branch.as_ref().map(|_| counted(counts.branch_8w));
    // This application's own address counts as one.
    factors.date_of_birth_distinct_emails_4w =
        new.applicant.date_of_birth.map(|_| counted(counts.birth_other_emails_4w) + 1.0);
    factors.device_distinct_emails_8w =
        new.session.device.as_ref().map(|_| counted(counts.device_other_emails_8w) + 1.0);
    factors.device_fraud_count = new.session.device.as_ref().map(|_| counted(counts.device_frauds));
    factors.ring_size = Some(counted(counts.ring) + 1.0);
    factors.ring_fraud_count = Some(counted(counts.ring_frauds));
    if let Some(relation) = relation {
        factors.bank_months_count = relation.months;
        factors.has_other_cards = Some(flag(relation.has_cards));
    }
    overlay(factors, &new.known)
}

/// The factors that need no look into the database.
fn stated(new: &NewApplication) -> risk::Application {
    let applicant = &new.applicant;
    let session = &new.session;
    risk::Application {
        income: applicant.yearly_income_minor.map(major),
        name_email_similarity: similarity::name_and_email(&applicant.name, &applicant.email),
        email_is_free: similarity::is_free_provider(&applicant.email).map(flag),
        current_address_months_count: applicant.months_at_address.map(f64::from),
        prev_address_months_count: applicant.months_at_previous_address.map(f64::from),
        customer_age: applicant
            .date_of_birth
            .map(|birth| f64::from(years_between(birth, new.received_at.date_naive()))),
        days_since_request: session.started_at.map(|started| days(new.received_at - started)),
        session_length_in_minutes: session.minutes,
        keep_alive_session: session.keep_alive.map(flag),
        device_os: session.device_os.clone(),
        foreign_request: session.foreign.map(flag),
        phone_mobile_valid: Some(flag(can_exist(&applicant.phone))),
        phone_home_valid: applicant.landline.as_deref().map(can_exist).map(flag),
        proposed_credit_limit: Some(major(new.amount_minor)),
        payment_type: applicant.repayment.clone(),
        employment_status: applicant.employment.clone(),
        housing_status: applicant.housing.clone(),
        source: Some(new.channel.as_str().to_owned()),
        ..risk::Application::default()
    }
}

/// Factors that the caller gave take the place of computed ones.
fn overlay(mut factors: risk::Application, known: &risk::Application) -> Result<risk::Application> {
    for field in risk::Application::FIELDS {
        if let Some(value) = known.value(field) {
            factors.set(field, Some(value)).map_err(|fault| AppError::field(fault.field, fault.expected))?;
        }
    }
    factors.validate().map_err(|fault| AppError::field(fault.field, sentence(&fault.expected)))?;
    Ok(factors)
}

fn sentence(expected: &str) -> String {
    format!("This {expected}.")
}

struct Counts {
    postcode_4w: i64,
    branch_8w: i64,
    birth_other_emails_4w: i64,
    device_other_emails_8w: i64,
    device_frauds: i64,
    ring: i64,
    ring_frauds: i64,
}

/// Applications before this one, as Postgres compares them: see the generated columns of migration 0140.
async fn counts(connection: &mut PgConnection, new: &NewApplication) -> Result<Counts> {
    let at = new.received_at;
    let applicant = &new.applicant;
    let counts = sqlx::query_as!(
        Counts,
        r#"with around as materialized (
             select f.fraud_confirmed_at <= $1 as is_fraud
             from ring($6, nullif(lower(regexp_replace($7 || $2, '[\s.,-]', '', 'g')), ''),
                       nullif(right(regexp_replace($8, '[^0-9]', '', 'g'), 9), ''),
                       nullif(upper(regexp_replace($9, '\s', '', 'g')), ''),
                       nullif(lower(regexp_replace($10, '[\s.,-]', '', 'g')), ''), $1) r
             join applications f on f.id = r.id)
           select
            (select count(*) from applications
              where postcode = nullif(upper(regexp_replace($2, '\s', '', 'g')), '')
                and received_at > $1::timestamptz - interval '28 days' and received_at <= $1) as "postcode_4w!",
            (select count(*) from applications
              where branch = $3 and received_at > $1::timestamptz - interval '56 days' and received_at <= $1) as "branch_8w!",
            (select count(distinct email) from applications
              where birth = $4 and email <> lower(trim($5))
                and received_at > $1::timestamptz - interval '28 days' and received_at <= $1) as "birth_other_emails_4w!",
            (select count(distinct email) from applications
              where device = $6 and email <> lower(trim($5))
                and received_at > $1::timestamptz - interval '56 days' and received_at <= $1) as "device_other_emails_8w!",
            (select count(*) from applications
              where device = $6 and fraud_confirmed_at <= $1) as "device_frauds!",
            (select count(*) from around) as "ring!",
            (select count(*) from around where is_fraud) as "ring_frauds!""#,
        at,
        applicant.postcode,
        new.branch,
        applicant.date_of_birth.map(|birth| birth.to_string()),
        applicant.email,
        new.session.device,
        applicant.street,
        applicant.phone,
        applicant.account.as_deref().unwrap_or_default(),
        applicant.employer.as_deref().unwrap_or_default(),
    )
    .fetch_one(connection)
    .await?;
    Ok(counts)
}

/// Applications that arrived before a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrivals {
    in_6h: i64,
    in_24h: i64,
    in_4w: i64,
}

/// So many applications in four weeks are counted again at most once a second: counting them for each would cost more than
/// scoring it, and a second changes nothing.
const MANY: i64 = 200;
/// See [`MANY`].
const FRESH: TimeDelta = TimeDelta::seconds(1);

async fn arrivals(connection: &mut PgConnection, at: DateTime<Utc>) -> Result<Arrivals> {
    static LAST: Mutex<Option<(DateTime<Utc>, Arrivals)>> = Mutex::new(None);
    let last = *LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((then, arrivals)) = last
        && arrivals.in_4w >= MANY
        && (TimeDelta::zero()..FRESH).contains(&(at - then))
    {
        return Ok(arrivals);
    }
    let arrivals = sqlx::query_as!(
        Arrivals,
        r#"select count(*) filter (where received_at > $1::timestamptz - interval '6 hours') as "in_6h!",
                  count(*) filter (where received_at > $1::timestamptz - interval '24 hours') as "in_24h!",
                  count(*) as "in_4w!"
           from applications where received_at > $1::timestamptz - interval '28 days' and received_at <= $1"#,
        at,
    )
    .fetch_one(connection)
    .await?;
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, arrivals));
    Ok(arrivals)
}

/// What the bank already knows of a customer.
struct Relation {
    /// Months since the first account was opened; `None` without an account.
    months: Option<f64>,
    has_cards: bool,
}

async fn relation(connection: &mut PgConnection, customer: Uuid, at: DateTime<Utc>) -> Result<Relation> {
    let row = sqlx::query!(
        r#"select (select min(opened_at) from accounts where customer_id = $1 and opened_at <= $2) as opened_at,
                  exists (select 1 from cards where customer_id = $1 and status = 'active') as "has_cards!""#,
        customer,
        at,
    )
    .fetch_one(connection)
    .await?;
    Ok(Relation {
        months: row.opened_at.map(|opened| months_between(opened.date_naive(), at.date_naive())),
        has_cards: row.has_cards,
    })
}

/// Whole months from `from` to `to`.
fn months_between(from: NaiveDate, to: NaiveDate) -> f64 {
    let months = (to.year() - from.year()) * 12 + i32::try_from(to.month0()).unwrap_or(0)
        - i32::try_from(from.month0()).unwrap_or(0)
        - i32::from(to.day() < from.day());
    f64::from(months.max(0))
}

/// Whether a telephone number can exist: long enough, a leading 0 or +, and not one digit over and over.
fn can_exist(phone: &str) -> bool {
    let digits: Vec<char> = phone.chars().filter(char::is_ascii_digit).collect();
    let leads = phone.trim_start().starts_with(['+', '0', '(']);
    let mut different = digits.clone();
    different.sort_unstable();
    different.dedup();
    leads && (8..=15).contains(&digits.len()) && different.len() > 2
}

/// Cents as a number of whole units. Amounts of loans and incomes are far below 2^53 cents.
#[expect(clippy::cast_precision_loss, reason = "amounts are checked to be below 10^12 cents, which f64 holds exactly")]
fn major(minor: i64) -> f64 {
    minor as f64 / 100.0
}

fn counted(count: i64) -> f64 {
    f64::from(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

fn days(span: TimeDelta) -> f64 {
    let seconds = f64::from(u32::try_from(span.num_seconds().max(0)).unwrap_or(u32::MAX));
    // A thousandth of a day is enough, and reads well on the page.
    (seconds / 86.4).round() / 1000.0
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_can_not_exist_are_told_apart() {
        assert!(can_exist("+49 151 2345678"));
        assert!(can_exist("(030) 123456"));
        assert!(!can_exist("0000000000"));
        assert!(!can_exist("1234567890"));
        assert!(!can_exist("+49 12"));
    }

    #[test]
    fn months_are_whole() {
        let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
        assert_eq!(months_between(day(2025, 11, 24), day(2026, 11, 23)), 11.0);
        assert_eq!(months_between(day(2025, 11, 23), day(2026, 11, 23)), 12.0);
        assert_eq!(months_between(day(2027, 1, 1), day(2026, 11, 23)), 0.0);
    }

    #[test]
    fn what_the_caller_knows_takes_the_place_of_what_was_computed() {
        let computed = risk::Application { income: Some(1.0), velocity_6h: Some(2.0), ..risk::Application::default() };
        let known = risk::Application { income: Some(9.0), ..risk::Application::default() };
        let both = overlay(computed, &known).unwrap();
        assert_eq!((both.income, both.velocity_6h), (Some(9.0), Some(2.0)));
        let wrong = risk::Application { income: Some(-9.0), ..risk::Application::default() };
        assert!(overlay(risk::Application::default(), &wrong).is_err());
    }
}
