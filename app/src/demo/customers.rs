//! Customers with accounts, cards and payments, as a core banking system would hold them.
//!
//! Everybody here is invented. The first customer is the one the README's tour uses.

use chrono::{Datelike, Days, Duration, NaiveDate, Utc, Weekday};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;

/// A customer as other parts of the demonstration need them.
#[derive(Debug, Clone)]
pub(super) struct DemoCustomer {
    pub(super) id: Uuid,
    pub(super) number: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) street: String,
    pub(super) city: String,
    pub(super) postcode: String,
    pub(super) date_of_birth: NaiveDate,
    pub(super) card_last4: String,
}

const FIRST: [&str; 30] = [
    "Maya", "Jonas", "Amira", "Tomas", "Ingrid", "Luca", "Priya", "Henrik", "Chloe", "Mateo", "Freya", "Omar",
    "Hannah", "Piotr", "Sofia", "Daniel", "Leila", "Erik", "Nadia", "Samuel", "Ana", "Viktor", "Grace", "Yusuf",
    "Elena", "Marcus", "Wei", "Olivia", "Arjun", "Clara",
];
const LAST: [&str; 28] = [
    "Lindqvist",
    "Okafor",
    "Brandt",
    "Moreau",
    "Haddad",
    "Novak",
    "Silva",
    "Keller",
    "Rossi",
    "Larsen",
    "Petrova",
    "Mensah",
    "Fischer",
    "Kowalska",
    "Duarte",
    "Sato",
    "Hughes",
    "Nilsson",
    "Costa",
    "Weber",
    "Aydin",
    "Byrne",
    "Chen",
    "Sharma",
    "Vega",
    "Jansen",
    "Horvat",
    "Bauer",
];
const CITIES: [(&str, &str); 8] = [
    ("Port Ellery", "10115"),
    ("Port Ellery", "10117"),
    ("Northgate", "20095"),
    ("Northgate", "20097"),
    ("Saltmarsh", "30159"),
    ("Kingsbridge", "40210"),
    ("Lower Fenwick", "50667"),
    ("Harrowdale", "60311"),
];
const STREETS: [&str; 8] = [
    "Quay Street",
    "Lantern Lane",
    "Mill Road",
    "Harbour View",
    "Chapel Hill",
    "Station Road",
    "Orchard Close",
    "Market Square",
];
const SHOPS: [(&str, i64, i64); 14] = [
    ("Greenleaf Market", 1_200, 9_800),
    ("Corner Bakery", 280, 1_450),
    ("Metro Transit", 290, 5_900),
    ("Bluebird Books", 900, 4_200),
    ("Volt Electronics", 2_900, 89_900),
    ("Nimbus Streaming", 999, 999),
    ("Petrol & Co", 3_500, 9_500),
    ("Riverside Pharmacy", 600, 4_800),
    ("Casa Trattoria", 2_400, 9_200),
    ("Hearth & Home", 1_500, 38_000),
    ("Trailhead Outdoor", 2_500, 21_000),
    ("Cinema Palace", 1_150, 3_800),
    ("Skyline Travel", 12_000, 120_000),
    ("Kite Telecom", 2_999, 4_999),
];

/// Adds `count` customers with their records.
pub(super) async fn fill(connection: &mut PgConnection, rng: &mut ChaCha8Rng, count: u32) -> Result<Vec<DemoCustomer>> {
    let mut customers = Vec::new();
    for index in 0..count {
        let customer = customer(rng, index);
        sqlx::query!(
            "insert into customers (id, number, name, email, phone, street, city, postcode, date_of_birth, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() - make_interval(days => $10))",
            customer.id,
            customer.number,
            customer.name,
            customer.email,
            customer.phone,
            customer.street,
            customer.city,
            customer.postcode,
            customer.date_of_birth,
            rng.random_range(60..2000),
        )
        .execute(&mut *connection)
        .await?;
        records(connection, rng, &customer).await?;
        customers.push(customer);
    }
    Ok(customers)
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T; 8]) -> &'a T {
    let [first, ..] = from;
    from.choose(rng).unwrap_or(first)
}

fn customer(rng: &mut ChaCha8Rng, index: u32) -> DemoCustomer {
    let first = FIRST.iter().cycle().nth(index as usize).copied().unwrap_or("Maya");
    // A stride that shares no factor with the list, so that names pair differently in every round.
    let last = LAST.iter().cycle().nth(index as usize * 3 + index as usize / 28).copied().unwrap_or("Lindqvist");
    let (city, postcode) = *pick(rng, &CITIES);
    let born =
        NaiveDate::from_ymd_opt(rng.random_range(1955..2005), rng.random_range(1..=12), rng.random_range(1..=28));
    let mut customer = DemoCustomer {
        id: Uuid::now_v7(),
        number: format!("C-{}", 10_023 + index),
        name: format!("{first} {last}"),
        email: format!(
            "{}.{}{}@example.com",
            first.to_lowercase(),
            last.to_lowercase(),
            if index < 28 { String::new() } else { index.to_string() }
        ),
        phone: format!("+49 151 {:07}", rng.random_range(1_000_000..9_999_999)),
        street: format!("{} {}", pick(rng, &STREETS), rng.random_range(1..120)),
        city: city.to_owned(),
        postcode: postcode.to_owned(),
        date_of_birth: born.unwrap_or_default(),
        card_last4: format!("{:04}", rng.random_range(1000..9999)),
    };
    if index == 0 {
        "10115".clone_into(&mut customer.postcode);
        "Port Ellery".clone_into(&mut customer.city);
        "4821".clone_into(&mut customer.card_last4);
        customer.date_of_birth = NaiveDate::from_ymd_opt(1988, 3, 14).unwrap_or_default();
    }
    customer
}

async fn records(connection: &mut PgConnection, rng: &mut ChaCha8Rng, customer: &DemoCustomer) -> Result<()> {
    let current = Uuid::now_v7();
    let savings = Uuid::now_v7();
    for (id, kind, name, balance) in [
        (current, "current", "Everyday account", rng.random_range(12_000..640_000_i64)),
        (savings, "savings", "Rainy day savings", rng.random_range(50_000..4_500_000_i64)),
    ] {
        sqlx::query!(
            "insert into accounts (id, customer_id, number, kind, name, balance_minor) values ($1, $2, $3, $4, $5, $6)",
            id,
            customer.id,
            format!(
                "HB{:02} {:04} {:04}",
                rng.random_range(10..99),
                rng.random_range(1000..9999),
                rng.random_range(1000..9999)
            ),
            kind,
            name,
            balance,
        )
        .execute(&mut *connection)
        .await?;
    }
    let debit = Uuid::now_v7();
    let mut cards = vec![(debit, "debit", customer.card_last4.clone())];
    if customer.card_last4 == "4821" || rng.random_bool(0.4) {
        cards.push((Uuid::now_v7(), "credit", format!("{:04}", rng.random_range(1000..9999))));
    }
    for (id, kind, last4) in &cards {
        sqlx::query!(
            "insert into cards (id, customer_id, account_id, kind, last4) values ($1, $2, $3, $4, $5)",
            id,
            customer.id,
            current,
            kind,
            last4,
        )
        .execute(&mut *connection)
        .await?;
    }
    payments(connection, rng, current, debit).await
}

/// Card, kind, counterparty, reference, cents, status, its detail, days ago, expected on.
type Row = (Option<Uuid>, &'static str, &'static str, String, i64, &'static str, &'static str, i64, Option<NaiveDate>);

async fn payments(connection: &mut PgConnection, rng: &mut ChaCha8Rng, account: Uuid, card: Uuid) -> Result<()> {
    let now = Utc::now();
    let mut rows: Vec<Row> = Vec::new();
    let salary = rng.random_range(180_000..520_000);
    for month in 0..3 {
        rows.push((
            None,
            "salary",
            "Employer payroll",
            "Salary".to_owned(),
            salary,
            "completed",
            "",
            month * 30 + 4,
            None,
        ));
        rows.push((
            None,
            "direct_debit",
            "City Energy",
            "Electricity".to_owned(),
            -rng.random_range(4_000..9_000),
            "completed",
            "",
            month * 30 + 9,
            None,
        ));
        rows.push((
            None,
            "transfer_out",
            "Quayside Lettings",
            "Rent".to_owned(),
            -rng.random_range(60_000..140_000),
            "completed",
            "",
            month * 30 + 2,
            None,
        ));
    }
    for _ in 0..rng.random_range(14..26) {
        let (shop, low, high) = SHOPS.choose(rng).copied().unwrap_or(("Greenleaf Market", 1_200, 9_800));
        rows.push((
            Some(card),
            "card",
            shop,
            String::new(),
            -rng.random_range(low..=high),
            "completed",
            "",
            rng.random_range(1..80),
            None,
        ));
    }
    let arrival = next_working_day(now.date_naive());
    rows.push((
        Some(card),
        "card",
        "Volt Electronics",
        String::new(),
        -rng.random_range(2_900..40_000),
        "pending",
        "The shop has reserved the amount and has not collected it yet.",
        0,
        Some(arrival),
    ));
    if rng.random_bool(0.6) {
        rows.push((
            None,
            "transfer_out",
            "Anna Winter",
            "Thank you".to_owned(),
            -rng.random_range(2_000..30_000),
            "pending",
            "The transfer left after the daily cut-off and is sent on the next working day.",
            0,
            Some(arrival),
        ));
    }
    if rng.random_bool(0.3) {
        rows.push((
            None,
            "transfer_out",
            "M. Alvarez",
            "Invoice".to_owned(),
            -rng.random_range(5_000..50_000),
            "returned",
            "The other bank returned it because the account number does not exist. The money is back in your account.",
            3,
            None,
        ));
    }
    for (card, kind, counterparty, reference, amount, status, detail, days, expected) in rows {
        let made_at = now - Duration::days(days) - Duration::minutes(rng.random_range(5..600));
        sqlx::query!(
            "insert into payments (id, account_id, card_id, kind, counterparty, reference, amount_minor, status,
                                   status_detail, made_at, expected_on)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            Uuid::now_v7(),
            account,
            card,
            kind,
            counterparty,
            reference,
            amount,
            status,
            detail,
            made_at,
            expected,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The next day on which banks settle payments.
fn next_working_day(from: NaiveDate) -> NaiveDate {
    let mut day = from + Days::new(1);
    while matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
        day = day + Days::new(1);
    }
    day
}
