//! The customers that scenarios are about.

use chrono::{Days, NaiveDate};

use super::super::bank::{
    Account, AccountKind, ApplicationStatus, Card, CardStatus, Customer, CustomerId, LoanApplication, Payment,
    PaymentStatus,
};
use super::super::money::Money;
use super::bank::{MemoryBank, MemoryCustomer};

impl MemoryBank {
    /// The bank that `tests/dialogue/README.md` describes: Anna Weber, Ben Okafor and Clara Novak.
    #[must_use]
    pub fn demonstration(today: NaiveDate) -> Self {
        Self::new(vec![anna(today), ben(today), clara(today)], today)
    }
}

struct Person<'a> {
    key: &'a str,
    number: &'a str,
    name: &'a str,
    email: &'a str,
    phone: &'a str,
    address: [&'a str; 3],
}

fn customer(person: &Person<'_>) -> Customer {
    let [street, city, postcode] = person.address.map(str::to_owned);
    Customer {
        id: CustomerId(person.key.to_owned()),
        number: person.number.to_owned(),
        name: person.name.to_owned(),
        email: person.email.to_owned(),
        phone: person.phone.to_owned(),
        street,
        city,
        postcode,
    }
}

fn card(id: &str, kind: &str, last4: &str, status: CardStatus, arrives_on: Option<NaiveDate>) -> Card {
    Card { id: id.to_owned(), kind: kind.to_owned(), last4: last4.to_owned(), status, arrives_on }
}

fn account(id: &str, kind: AccountKind, name: &str, minor: i64) -> Account {
    Account {
        id: id.to_owned(),
        number: format!("HB-{id}"),
        kind,
        name: name.to_owned(),
        balance: Money::new(minor, "EUR"),
    }
}

struct Booking<'a> {
    id: &'a str,
    kind: &'a str,
    party: &'a str,
    minor: i64,
    status: PaymentStatus,
    detail: &'a str,
    days_ago: u64,
}

fn payments(account: &str, today: NaiveDate, bookings: &[Booking<'_>]) -> Vec<Payment> {
    bookings
        .iter()
        .map(|booking| Payment {
            id: booking.id.to_owned(),
            account: account.to_owned(),
            kind: booking.kind.to_owned(),
            counterparty: booking.party.to_owned(),
            amount: Money::new(booking.minor, "EUR"),
            status: booking.status,
            status_detail: booking.detail.to_owned(),
            made_on: today.checked_sub_days(Days::new(booking.days_ago)).unwrap_or(today),
            expected_on: (booking.status == PaymentStatus::Pending)
                .then(|| today.checked_add_days(Days::new(1)))
                .flatten(),
            disputed: false,
        })
        .collect()
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

/// Two cards that work, one blocked; payments of every state; a declined application.
fn anna(today: NaiveDate) -> MemoryCustomer {
    use PaymentStatus::{Completed, Failed, Pending, Returned};
    let booking =
        |id, kind, party, minor, status, detail, days_ago| Booking { id, kind, party, minor, status, detail, days_ago };
    MemoryCustomer {
        customer: customer(&Person {
            key: "anna",
            number: "C-10023",
            name: "Anna Weber",
            email: "anna.weber@example.com",
            phone: "+49301234567",
            address: ["Lindenstrasse 14", "Berlin", "10115"],
        }),
        date_of_birth: day(1988, 3, 14),
        cards: vec![
            card("card-a1", "debit", "4821", CardStatus::Active, None),
            card("card-a2", "credit", "7730", CardStatus::Active, None),
            card("card-a3", "debit", "1190", CardStatus::Blocked, None),
        ],
        accounts: vec![
            account("a-cur", AccountKind::Current, "Current account", 184_255),
            account("a-sav", AccountKind::Savings, "Savings", 1_200_000),
        ],
        payments: payments(
            "a-cur",
            today,
            &[
                booking("pay-1", "transfer_out", "Maria Rossi", -25_000, Pending, "It was sent after 16:00", 1),
                booking("pay-2", "card", "Bluebird Books", -3_490, Completed, "", 2),
                booking("pay-3", "card", "Gymtopia", -5_999, Completed, "", 3),
                booking("pay-4", "card", "Gymtopia", -5_999, Completed, "", 4),
                booking(
                    "pay-5",
                    "transfer_out",
                    "Oak Rentals",
                    -95_000,
                    Failed,
                    "The account number does not exist",
                    6,
                ),
                booking("pay-6", "salary", "Northwind Logistics", 268_000, Completed, "", 8),
                booking("pay-7", "transfer_out", "Peter Lang", -12_000, Returned, "The account was closed", 9),
                booking("pay-8", "direct_debit", "City Power", -8_450, Completed, "", 11),
                booking("pay-9", "card", "Airtravel24", -41_250, Completed, "", 15),
            ],
        ),
        applications: vec![LoanApplication {
            reference: "20417".to_owned(),
            amount: Money::new(900_000, "EUR"),
            term_months: 48,
            purpose: "a car".to_owned(),
            received_on: today.checked_sub_days(Days::new(20)).unwrap_or(today),
            status: ApplicationStatus::Declined,
            decide_by: today,
            reasons: vec![
                "Your income leaves too little after the payments".to_owned(),
                "You moved very recently".to_owned(),
            ],
        }],
    }
}

/// One card, one account, two applications.
fn ben(today: NaiveDate) -> MemoryCustomer {
    let application = |reference: &str, minor, status, reasons: &[&str]| LoanApplication {
        reference: reference.to_owned(),
        amount: Money::new(minor, "EUR"),
        term_months: 36,
        purpose: "home improvement".to_owned(),
        received_on: today.checked_sub_days(Days::new(4)).unwrap_or(today),
        status,
        decide_by: today.checked_add_days(Days::new(26)).unwrap_or(today),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
    };
    MemoryCustomer {
        customer: customer(&Person {
            key: "ben",
            number: "C-10088",
            name: "Ben Okafor",
            email: "ben.okafor@example.com",
            phone: "+4915112345678",
            address: ["Hafenweg 3", "Hamburg", "20457"],
        }),
        date_of_birth: day(1975, 11, 2),
        cards: vec![card("card-b1", "debit", "5566", CardStatus::Active, None)],
        accounts: vec![account("b-cur", AccountKind::Current, "Current account", -4_210)],
        payments: payments(
            "b-cur",
            today,
            &[Booking {
                id: "pay-b1",
                kind: "card",
                party: "Gadget World",
                minor: -19_900,
                status: PaymentStatus::Completed,
                detail: "",
                days_ago: 5,
            }],
        ),
        applications: vec![
            application("20501", 1_500_000, ApplicationStatus::Documents, &["Your last three payslips"]),
            application("20390", 400_000, ApplicationStatus::Approved, &[]),
        ],
    }
}

/// A card on its way, no other; no payments.
fn clara(today: NaiveDate) -> MemoryCustomer {
    MemoryCustomer {
        customer: customer(&Person {
            key: "clara",
            number: "C-10140",
            name: "Clara Novak",
            email: "clara@novak.example",
            phone: "",
            address: ["Marktplatz 1", "Leipzig", "04109"],
        }),
        date_of_birth: day(1999, 7, 30),
        cards: vec![card("card-c1", "debit", "9034", CardStatus::Ordered, today.checked_add_days(Days::new(3)))],
        accounts: vec![account("c-cur", AccountKind::Current, "Current account", 90_000)],
        payments: Vec::new(),
        applications: Vec::new(),
    }
}
