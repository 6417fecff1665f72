//! The bank as the dialogue sees it, over Postgres.

use async_trait::async_trait;
use candor_engine::dialogue::{
    Account, AccountKind, ApplicationStatus, Bank, BankError, Card, CardStatus, Customer, CustomerId, IdentityClaim,
    LoanApplication, Money, Operation, Payment, PaymentFilter, PaymentStatus, Receipt, Refusal, Who,
};
use chrono::NaiveDate;
use serde_json::json;
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::applications::{self, CustomerState};
use crate::audit::{self, Actor, Entry};
use crate::{AppError, Result};

use super::{customers, operations, payments};

/// The transaction of one turn: whatever the assistant reads and does in it is kept or undone as one.
pub type SharedTransaction = Mutex<Transaction<'static, Postgres>>;

/// The bank's records within the transaction of one conversation's turn.
pub struct PostgresBank<'t> {
    transaction: &'t SharedTransaction,
    conversation: Uuid,
    today: NaiveDate,
    deeds: Mutex<Vec<Deed>>,
}

/// Something that the audit log will tell.
pub(super) enum Deed {
    /// Of this slice.
    Own(Fact),
    /// A loan application was submitted.
    Application(Box<applications::Submitted>),
}

/// A deed of this slice.
pub(super) struct Fact {
    pub(super) actor: Actor,
    pub(super) action: &'static str,
    pub(super) subject_kind: &'static str,
    pub(super) subject_id: String,
    pub(super) details: serde_json::Value,
}

impl<'t> PostgresBank<'t> {
    /// The bank for one turn of `conversation`.
    #[must_use]
    pub fn new(transaction: &'t SharedTransaction, conversation: Uuid, today: NaiveDate) -> Self {
        Self { transaction, conversation, today, deeds: Mutex::new(Vec::new()) }
    }

    /// Appends the audit entries of everything that was done. Call it last, with the connection of the same
    /// transaction. Returns the loan applications that were submitted, to be announced after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(self, connection: &mut PgConnection) -> Result<Vec<applications::Submitted>> {
        let mut submitted = Vec::new();
        for deed in self.deeds.into_inner() {
            match deed {
                Deed::Own(fact) => {
                    let entry = Entry {
                        actor: &fact.actor,
                        action: fact.action,
                        subject_kind: fact.subject_kind,
                        subject_id: fact.subject_id,
                        details: fact.details,
                    };
                    audit::append(&mut *connection, entry).await?;
                }
                Deed::Application(application) => {
                    audit::append(&mut *connection, application.audit_entry()).await?;
                    submitted.push(*application);
                }
            }
        }
        Ok(submitted)
    }
}

/// What the dialogue is told when records can not be read; the cause is logged.
fn unavailable(error: &AppError) -> BankError {
    tracing::error!(%error, cause = ?error, "the bank's records could not be read");
    BankError::Unavailable(error.to_string())
}

fn key(id: &CustomerId) -> Result<Uuid, BankError> {
    Uuid::try_parse(&id.0).map_err(|_| BankError::Missing("this customer".to_owned()))
}

#[async_trait]
impl Bank for PostgresBank<'_> {
    async fn identify(&self, claim: &IdentityClaim) -> Result<Option<Customer>, BankError> {
        let mut transaction = self.transaction.lock().await;
        let (number, email) = match &claim.who {
            Who::CustomerNumber(number) => (Some(number.as_str()), None),
            Who::Email(email) => (None, Some(email.as_str())),
        };
        let claim = customers::Claim { number, email, date_of_birth: claim.date_of_birth, postcode: &claim.postcode };
        let found = customers::identify(&mut transaction, self.conversation, &claim)
            .await
            .map_err(|error| unavailable(&error))?;
        if let Some(customer) = &found {
            self.deeds.lock().await.push(Deed::Own(Fact {
                actor: Actor::Customer { id: customer.id.to_string() },
                action: "customer.identified",
                subject_kind: "customer",
                subject_id: customer.id.to_string(),
                details: json!({ "conversation": self.conversation }),
            }));
        }
        Ok(found.map(particulars))
    }

    async fn customer(&self, customer: &CustomerId) -> Result<Customer, BankError> {
        let mut transaction = self.transaction.lock().await;
        match customers::customer(&mut **transaction, key(customer)?).await {
            Ok(customer) => Ok(particulars(customer)),
            Err(AppError::NotFound(what)) => Err(BankError::Missing(what.to_owned())),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn cards(&self, customer: &CustomerId) -> Result<Vec<Card>, BankError> {
        let mut transaction = self.transaction.lock().await;
        let cards = super::cards(&mut **transaction, key(customer)?).await.map_err(|error| unavailable(&error))?;
        Ok(cards
            .into_iter()
            .map(|card| Card {
                id: card.id.to_string(),
                status: match card.status.as_str() {
                    "active" => CardStatus::Active,
                    "ordered" => CardStatus::Ordered,
                    _ => CardStatus::Blocked,
                },
                kind: card.kind,
                last4: card.last4,
                arrives_on: card.arrives_on,
            })
            .collect())
    }

    async fn accounts(&self, customer: &CustomerId) -> Result<Vec<Account>, BankError> {
        let mut transaction = self.transaction.lock().await;
        let accounts =
            super::accounts(&mut **transaction, key(customer)?).await.map_err(|error| unavailable(&error))?;
        Ok(accounts
            .into_iter()
            .map(|account| Account {
                id: account.id.to_string(),
                number: account.number,
                kind: match account.kind.as_str() {
                    "savings" => AccountKind::Savings,
                    "loan" => AccountKind::Loan,
                    _ => AccountKind::Current,
                },
                name: account.name,
                balance: Money::new(account.balance_minor, account.currency),
            })
            .collect())
    }

    async fn payments(&self, customer: &CustomerId, filter: &PaymentFilter) -> Result<Vec<Payment>, BankError> {
        let account = match &filter.account {
            Some(id) => Some(Uuid::try_parse(id).map_err(|_| BankError::Missing("this account".to_owned()))?),
            None => None,
        };
        let asked = payments::Filter {
            id: None,
            account,
            amount_minor: filter.amount_minor,
            counterparty: filter.counterparty.as_deref(),
        };
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let mut transaction = self.transaction.lock().await;
        let found = payments::filtered(&mut **transaction, key(customer)?, &asked, limit)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(found.into_iter().map(payment).collect())
    }

    async fn applications(&self, customer: &CustomerId) -> Result<Vec<LoanApplication>, BankError> {
        let mut transaction = self.transaction.lock().await;
        loans(&mut transaction, key(customer)?).await.map_err(|error| unavailable(&error))
    }

    async fn perform(
        &self,
        customer: Option<&CustomerId>,
        key: &str,
        operation: &Operation,
    ) -> Result<Receipt, Refusal> {
        let customer = match customer {
            Some(id) => Some(
                Uuid::try_parse(&id.0).map_err(|_| Refusal::Unavailable("the customer's key is no key".to_owned()))?,
            ),
            None => None,
        };
        let mut transaction = self.transaction.lock().await;
        let request = operations::Request { conversation: self.conversation, customer, key, today: self.today };
        let (receipt, deeds) = operations::perform(&mut transaction, &request, operation).await?;
        self.deeds.lock().await.extend(deeds);
        Ok(receipt)
    }
}

/// The customer's applications, in their own words.
async fn loans(connection: &mut PgConnection, customer: Uuid) -> Result<Vec<LoanApplication>> {
    let mut loans = Vec::new();
    for application in applications::of_customer(&mut *connection, customer).await? {
        let words = applications::customer_words(&mut *connection, &application).await?;
        loans.push(LoanApplication {
            reference: application.number.to_string(),
            amount: application.amount(),
            term_months: u32::try_from(application.term_months).unwrap_or_default(),
            purpose: application.purpose_in_words().to_owned(),
            received_on: application.received_at.date_naive(),
            status: match words.state {
                CustomerState::InReview => ApplicationStatus::InReview,
                CustomerState::Documents => ApplicationStatus::Documents,
                CustomerState::Approved => ApplicationStatus::Approved,
                CustomerState::Declined => ApplicationStatus::Declined,
                CustomerState::Withdrawn => ApplicationStatus::Withdrawn,
            },
            decide_by: words.decide_by,
            reasons: words.reasons,
        });
    }
    Ok(loans)
}

fn particulars(customer: customers::Customer) -> Customer {
    Customer {
        id: CustomerId(customer.id.to_string()),
        number: customer.number,
        name: customer.name,
        email: customer.email,
        phone: customer.phone,
        street: customer.street,
        city: customer.city,
        postcode: customer.postcode,
    }
}

fn payment(payment: payments::Payment) -> Payment {
    Payment {
        id: payment.id.to_string(),
        account: payment.account_id.to_string(),
        kind: payment.kind,
        counterparty: payment.counterparty,
        amount: Money::new(payment.amount_minor, payment.currency),
        status: match payment.status.as_str() {
            "pending" => PaymentStatus::Pending,
            "failed" => PaymentStatus::Failed,
            "returned" => PaymentStatus::Returned,
            _ => PaymentStatus::Completed,
        },
        status_detail: payment.status_detail,
        made_on: payment.made_at.date_naive(),
        expected_on: payment.expected_on,
        disputed: payment.disputed,
    }
}
