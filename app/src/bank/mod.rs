//! The bank's own records: customers, accounts, cards, payments, disputes, complaints.
//!
//! [`PostgresBank`] is what the dialogue sees of them. A bank that keeps its records elsewhere replaces the queries
//! of this slice; nothing outside it reads these tables.

mod accounts;
mod calendar;
mod cards;
mod complaints;
mod customers;
mod disputes;
mod operations;
mod payments;
mod postgres;

pub use accounts::{Account, accounts};
pub use calendar::{in_words, today, working_days_after};
pub use cards::{Card, cards};
pub use complaints::{Complaint, complaints};
pub use customers::{
    Contact, Customer, NewCustomer, Wanted, create, customer, customer_by_number, names, newest, next_number,
    search_customers, update_contact,
};
pub use disputes::{Dispute, disputes};
pub use payments::{Payment, payments};
pub use postgres::{PostgresBank, SharedTransaction};
