//! The dialogue: what the assistant says, asks, does and when it hands over to a person.
//!
//! [`Manager::next`] takes the conversation's [`State`] and the customer's message as [`Input`], and answers with a
//! [`Turn`]: the new state and typed [`Action`]s. Flows are data (`flows/*.toml`); repair (corrections, digressions,
//! cancelling, misunderstandings, hand-off) belongs to the manager and works alike in every flow. Records are read and
//! changed only through [`Bank`], questions are answered only from passages found by [`Knowledge`].

mod action;
mod answer;
mod bank;
mod clauses;
mod exchange;
mod knowledge;
mod language;
mod lexicon;
mod manager;
#[cfg(test)]
mod manager_test;
mod money;
mod operation;
#[cfg(test)]
mod scenarios_test;
mod state;
mod summary;
#[cfg(test)]
mod walk_test;
mod watch;
mod words;

pub mod evaluate;
pub mod flow;
mod flows;
pub mod memory;
pub mod next_action;
pub mod saying;
pub mod simulate;

pub use action::{Action, Choice, Citation, HandOffReason, SummaryCard, SummaryRow};
pub use bank::{
    Account, AccountKind, ApplicationStatus, Bank, BankError, Card, CardStatus, Customer, CustomerId, IdentityClaim,
    LoanApplication, Payment, PaymentFilter, PaymentStatus, Receipt, Refusal, Who,
};
pub use flows::{Flows, Refreshed};
pub use knowledge::{Knowledge, Passage, Phrasing, cosine, nearest_phrasing};
pub use manager::{Error, Input, Manager, Turn};
pub use money::Money;
pub use operation::{
    BlockReason, ContactChange, DisputeReason, Employment, Housing, LoanParticulars, LoanPurpose, Operation,
};
pub use state::{Language, State};
pub use summary::{Line, Summary};
