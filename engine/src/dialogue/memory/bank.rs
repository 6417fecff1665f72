//! [`Bank`] in memory, with the same rules as the real one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::NaiveDate;

use super::super::bank::{
    Account, ApplicationStatus, Bank, BankError, Card, CardStatus, Customer, CustomerId, IdentityClaim,
    LoanApplication, Payment, PaymentFilter, Receipt, Refusal, Who,
};
use super::super::operation::{ContactChange, Operation};

/// A customer with all records.
#[derive(Debug, Clone)]
pub struct MemoryCustomer {
    /// Particulars.
    pub customer: Customer,
    /// Date of birth.
    pub date_of_birth: NaiveDate,
    /// Cards.
    pub cards: Vec<Card>,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Payments, newest first.
    pub payments: Vec<Payment>,
    /// Loan applications, newest first.
    pub applications: Vec<LoanApplication>,
}

/// A bank in memory.
#[derive(Debug)]
pub struct MemoryBank {
    today: NaiveDate,
    records: Mutex<Records>,
}

#[derive(Debug, Clone)]
struct Records {
    customers: Vec<MemoryCustomer>,
    performed: BTreeMap<String, (Operation, Receipt)>,
    order: Vec<String>,
}

impl MemoryBank {
    /// A bank with these customers.
    #[must_use]
    pub fn new(customers: Vec<MemoryCustomer>, today: NaiveDate) -> Self {
        Self { today, records: Mutex::new(Records { customers, performed: BTreeMap::new(), order: Vec::new() }) }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn of<T>(&self, customer: &CustomerId, read: impl FnOnce(&MemoryCustomer) -> T) -> Result<T, BankError> {
        self.records()
            .customers
            .iter()
            .find(|one| one.customer.id == *customer)
            .map(read)
            .ok_or_else(|| BankError::Missing(format!("customer {}", customer.0)))
    }

    /// Operations performed so far, in order.
    #[must_use]
    pub fn performed(&self) -> Vec<Operation> {
        let records = self.records();
        records
            .order
            .iter()
            .filter_map(|key| records.performed.get(key))
            .map(|(operation, _)| operation.clone())
            .collect()
    }

    /// Everything about customers that nobody may learn before being identified.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for one in &self.records().customers {
            secrets.extend([one.customer.name.clone(), one.customer.street.clone(), one.customer.phone.clone()]);
            secrets.extend([one.customer.email.clone(), one.customer.number.clone()]);
            secrets.extend(one.cards.iter().map(|card| card.last4.clone()));
            secrets.extend(
                one.accounts.iter().flat_map(|account| [account.number.clone(), account.balance.abs().to_string()]),
            );
            secrets.extend(
                one.payments
                    .iter()
                    .flat_map(|payment| [payment.counterparty.clone(), payment.amount.abs().to_string()]),
            );
            secrets.extend(one.applications.iter().map(|application| application.reference.clone()));
        }
        secrets.retain(|secret| secret.chars().count() >= 4);
        secrets.sort();
        secrets.dedup();
        secrets
    }
}

#[async_trait]
impl Bank for MemoryBank {
    async fn identify(&self, claim: &IdentityClaim) -> Result<Option<Customer>, BankError> {
        let same = |a: &str, b: &str| a.replace(' ', "").eq_ignore_ascii_case(&b.replace(' ', ""));
        Ok(self
            .records()
            .customers
            .iter()
            .find(|one| {
                let named = match &claim.who {
                    Who::CustomerNumber(number) => same(number, &one.customer.number),
                    Who::Email(email) => same(email, &one.customer.email),
                };
                named && one.date_of_birth == claim.date_of_birth && same(&claim.postcode, &one.customer.postcode)
            })
            .map(|one| one.customer.clone()))
    }

    async fn customer(&self, customer: &CustomerId) -> Result<Customer, BankError> {
        self.of(customer, |one| one.customer.clone())
    }

    async fn cards(&self, customer: &CustomerId) -> Result<Vec<Card>, BankError> {
        self.of(customer, |one| one.cards.clone())
    }

    async fn accounts(&self, customer: &CustomerId) -> Result<Vec<Account>, BankError> {
        self.of(customer, |one| one.accounts.clone())
    }

    async fn payments(&self, customer: &CustomerId, filter: &PaymentFilter) -> Result<Vec<Payment>, BankError> {
        let wanted = filter.counterparty.as_ref().map(|name| name.to_lowercase());
        self.of(customer, |one| {
            one.payments
                .iter()
                .filter(|payment| filter.account.as_ref().is_none_or(|account| payment.account == *account))
                .filter(|payment| filter.amount_minor.is_none_or(|minor| payment.amount.minor.abs() == minor.abs()))
                .filter(|payment| wanted.as_ref().is_none_or(|name| payment.counterparty.to_lowercase().contains(name)))
                .take(filter.limit)
                .cloned()
                .collect()
        })
    }

    async fn applications(&self, customer: &CustomerId) -> Result<Vec<LoanApplication>, BankError> {
        self.of(customer, |one| one.applications.clone())
    }

    async fn perform(
        &self,
        customer: Option<&CustomerId>,
        key: &str,
        operation: &Operation,
    ) -> Result<Receipt, Refusal> {
        let mut records = self.records();
        if let Some((_, receipt)) = records.performed.get(key) {
            return Ok(receipt.clone());
        }
        let number = records.performed.len() + 1;
        let receipt = apply(&mut records, customer, operation, number, self.today)?;
        records.performed.insert(key.to_owned(), (operation.clone(), receipt.clone()));
        records.order.push(key.to_owned());
        Ok(receipt)
    }
}

fn apply(
    records: &mut Records,
    customer: Option<&CustomerId>,
    operation: &Operation,
    number: usize,
    today: NaiveDate,
) -> Result<Receipt, Refusal> {
    let receipt = |reference: String, text: String| Receipt { reference, text, reasons: Vec::new(), link: None };
    if let Operation::FileComplaint { .. } = operation {
        let reference = format!("P-{}", 5000 + number);
        let text = format!("Your complaint is filed under {reference}. You get an answer within 15 working days.");
        return Ok(receipt(reference, text));
    }
    let unknown = || Refusal::NotPossible("I have to know who you are before I can do this.".to_owned());
    let id = customer.ok_or_else(unknown)?;
    let owner = records.customers.iter_mut().find(|one| one.customer.id == *id).ok_or_else(unknown)?;
    let no_card = || Refusal::NotPossible("I can not find this card among yours.".to_owned());
    match operation {
        Operation::BlockCard { card, .. } => {
            let card = owner.cards.iter_mut().find(|one| one.id == *card).ok_or_else(no_card)?;
            if card.status == CardStatus::Blocked {
                return Err(Refusal::NotPossible(format!("Your card ending {} is blocked already.", card.last4)));
            }
            card.status = CardStatus::Blocked;
            Ok(receipt(format!("B-{number}"), format!("Your card ending {} is blocked.", card.last4)))
        }
        Operation::OrderReplacement { card, .. } => {
            let card = owner.cards.iter().find(|one| one.id == *card).ok_or_else(no_card)?;
            if card.status != CardStatus::Blocked {
                return Err(Refusal::NotPossible("That card still works.".to_owned()));
            }
            Ok(receipt(format!("B-{number}"), "A new card is on its way. It arrives within 7 working days.".to_owned()))
        }
        Operation::OpenDispute { payment, .. } => {
            let payment = owner
                .payments
                .iter_mut()
                .find(|one| one.id == *payment)
                .ok_or_else(|| Refusal::NotPossible("I can not find this payment among yours.".to_owned()))?;
            if payment.disputed {
                return Err(Refusal::NotPossible("A dispute is already open for this payment.".to_owned()));
            }
            payment.disputed = true;
            let reference = format!("D-{}", 3000 + number);
            let text = format!("The dispute {reference} is open. You hear from us within 10 working days.");
            Ok(receipt(reference, text))
        }
        Operation::ChangeContact { change } => {
            let text = match change {
                ContactChange::Email { email } => {
                    owner.customer.email.clone_from(email);
                    format!("Your email is now {email}.")
                }
                ContactChange::Phone { phone } => {
                    owner.customer.phone.clone_from(phone);
                    format!("Your phone number is now {phone}.")
                }
                ContactChange::Address { street, city, postcode } => {
                    owner.customer.street.clone_from(street);
                    owner.customer.city.clone_from(city);
                    owner.customer.postcode.clone_from(postcode);
                    format!("Your address is now {street}, {postcode} {city}.")
                }
            };
            Ok(receipt(format!("B-{number}"), text))
        }
        Operation::SubmitApplication { particulars } => {
            let reference = (20000 + number).to_string();
            let text = format!("Your application {reference} has been sent. You hear from us within one working day.");
            owner.applications.insert(
                0,
                LoanApplication {
                    reference: reference.clone(),
                    amount: particulars.amount.clone(),
                    term_months: particulars.term_months,
                    purpose: particulars.purpose.as_str().to_owned(),
                    received_on: today,
                    status: ApplicationStatus::InReview,
                    decide_by: today + chrono::Days::new(30),
                    reasons: Vec::new(),
                },
            );
            Ok(receipt(reference, text))
        }
        Operation::FileComplaint { .. } => Err(unknown()),
    }
}
