//! The bank's records as the dialogue sees them.
//!
//! The web application implements [`Bank`] over Postgres; [`super::memory::MemoryBank`] implements it for evaluation.

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::money::Money;
use super::operation::Operation;

/// The records of a bank and the operations on them.
///
/// Reads take a [`CustomerId`], which the manager only has after [`Bank::identify`] (or when the application says that
/// the customer is signed in), so nothing about a customer can be read before.
#[async_trait]
pub trait Bank: Send + Sync {
    /// The customer whose records match every part of the claim, if there is one.
    async fn identify(&self, claim: &IdentityClaim) -> Result<Option<Customer>, BankError>;

    /// The customer's own particulars.
    async fn customer(&self, customer: &CustomerId) -> Result<Customer, BankError>;

    /// All cards of the customer, blocked and ordered ones too.
    async fn cards(&self, customer: &CustomerId) -> Result<Vec<Card>, BankError>;

    /// All accounts of the customer with their balances.
    async fn accounts(&self, customer: &CustomerId) -> Result<Vec<Account>, BankError>;

    /// Payments over all accounts of the customer that pass the filter, newest first.
    async fn payments(&self, customer: &CustomerId, filter: &PaymentFilter) -> Result<Vec<Payment>, BankError>;

    /// Loan applications of the customer, newest first.
    async fn applications(&self, customer: &CustomerId) -> Result<Vec<LoanApplication>, BankError>;

    /// Performs an operation. It validates again that the records belong to `customer` and that the operation is
    /// possible now. `key` is the same whenever the same confirmed operation is sent again within one conversation:
    /// the second call changes nothing and answers with the first receipt.
    async fn perform(
        &self,
        customer: Option<&CustomerId>,
        key: &str,
        operation: &Operation,
    ) -> Result<Receipt, Refusal>;
}

/// The bank's own key of a customer: a UUID as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomerId(pub String);

/// What a person says to be identified. All three must match one customer; comparisons ignore case and spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaim {
    /// Who they say they are.
    pub who: Who,
    /// Date of birth.
    pub date_of_birth: NaiveDate,
    /// Postcode of the address on record, upper case without spaces.
    pub postcode: String,
}

/// How a person names themselves in an [`IdentityClaim`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", content = "value", rename_all = "snake_case")]
pub enum Who {
    /// Customer number, such as `C-10023`.
    CustomerNumber(String),
    /// Mail address, in lower case.
    Email(String),
}

/// A customer's particulars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The bank's key.
    pub id: CustomerId,
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
}

/// A payment card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The bank's key: a UUID as text.
    pub id: String,
    /// `debit` or `credit`.
    pub kind: String,
    /// Last four digits.
    pub last4: String,
    /// What can be done with it.
    pub status: CardStatus,
    /// When an ordered card should arrive.
    pub arrives_on: Option<NaiveDate>,
}

/// State of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardStatus {
    /// On its way to the customer.
    Ordered,
    /// In use.
    Active,
    /// Blocked for good.
    Blocked,
}

/// An account with its balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The bank's key: a UUID as text.
    pub id: String,
    /// Account number or IBAN.
    pub number: String,
    /// What kind it is.
    pub kind: AccountKind,
    /// Its name, as the customer knows it.
    pub name: String,
    /// Balance; negative for what is owed.
    pub balance: Money,
}

/// Kind of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// For daily payments.
    Current,
    /// For savings.
    Savings,
    /// A loan.
    Loan,
}

/// Which payments to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFilter {
    /// Only this account.
    pub account: Option<String>,
    /// Only this amount, whatever its sign.
    pub amount_minor: Option<i64>,
    /// Only counterparties that contain this, ignoring case.
    pub counterparty: Option<String>,
    /// At most this many.
    pub limit: usize,
}

impl PaymentFilter {
    /// The newest `limit` payments over all accounts.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { account: None, amount_minor: None, counterparty: None, limit }
    }
}

/// A payment on one of the customer's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The bank's key: a UUID as text.
    pub id: String,
    /// Account it was booked on.
    pub account: String,
    /// `card`, `transfer_in`, `transfer_out`, `direct_debit`, `salary`, `fee` or `cash`.
    pub kind: String,
    /// The other side.
    pub counterparty: String,
    /// Amount; negative for money that left.
    pub amount: Money,
    /// State of the payment.
    pub status: PaymentStatus,
    /// That state in words for the customer; may be empty.
    pub status_detail: String,
    /// Day it was made.
    pub made_on: NaiveDate,
    /// Day a pending payment should arrive.
    pub expected_on: Option<NaiveDate>,
    /// Whether a dispute is already open for it.
    pub disputed: bool,
}

/// State of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// On its way.
    Pending,
    /// Arrived.
    Completed,
    /// Not carried out.
    Failed,
    /// Sent back.
    Returned,
}

/// A loan application as its applicant may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoanApplication {
    /// The reference the applicant knows, such as `20001`.
    pub reference: String,
    /// Amount asked for.
    pub amount: Money,
    /// Term in months.
    pub term_months: u32,
    /// What it is for, in words.
    pub purpose: String,
    /// Day it was received.
    pub received_on: NaiveDate,
    /// Where it stands.
    pub status: ApplicationStatus,
    /// Day by which it is decided.
    pub decide_by: NaiveDate,
    /// Reasons of a decision, or documents that are missing, in words for the customer.
    pub reasons: Vec<String>,
}

/// Where a loan application stands, as far as its applicant may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationStatus {
    /// Received, being looked at.
    InReview,
    /// Documents are awaited from the customer.
    Documents,
    /// Approved.
    Approved,
    /// Declined.
    Declined,
    /// Withdrawn by the customer.
    Withdrawn,
}

/// What the bank answers to an operation it performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Reference the customer can quote, such as `D-3001`.
    pub reference: String,
    /// What happened, in words for the customer, dates and references included.
    pub text: String,
    /// Reasons, for instance of a loan's outcome; may be empty.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// A page where the customer can follow it.
    #[serde(default)]
    pub link: Option<String>,
}

/// Records could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// The store did not answer, or answered with an error.
    #[error("the bank's records can not be read: {0}")]
    Unavailable(String),
    /// A record that should exist does not.
    #[error("the bank has no such record: {0}")]
    Missing(String),
}

/// An operation was not performed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The records do not allow it. The text is shown to the customer.
    #[error("refused: {0}")]
    NotPossible(String),
    /// Only a person may do it. The text is shown to the customer, then the conversation is handed over.
    #[error("a person must decide: {0}")]
    NeedsPerson(String),
    /// The store did not answer, or answered with an error.
    #[error("the operation could not be performed: {0}")]
    Unavailable(String),
}
