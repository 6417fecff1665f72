//! Operations that a customer confirmed in a conversation: checked again, performed once, receipted.

use candor_engine::dialogue::{ContactChange, DisputeReason, LoanParticulars, Money, Operation, Receipt, Refusal};
use chrono::NaiveDate;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::AppError;
use crate::applications::{self, Applicant, NewApplication, Submitted};
use crate::audit::Actor;

use super::calendar::{in_words, working_days_after};
use super::postgres::{Deed, Fact};
use super::{cards, complaints, customers, disputes, payments};

/// Working days until a replacement card arrives.
const CARD_DAYS: u32 = 7;
/// Working days until the bank writes about a dispute.
const DISPUTE_DAYS: u32 = 10;
/// Working days until a complaint is answered: Directive (EU) 2015/2366, Article 101(2).
const COMPLAINT_DAYS: u32 = 15;

/// Who asks, in which conversation, under which key.
pub(super) struct Request<'a> {
    pub(super) conversation: Uuid,
    pub(super) customer: Option<Uuid>,
    pub(super) key: &'a str,
    pub(super) today: NaiveDate,
}

/// Why an operation did not happen, before it becomes a [`Refusal`].
enum Stop {
    Refused(Refusal),
    Failed(AppError),
}

impl From<AppError> for Stop {
    fn from(error: AppError) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

fn not_possible(text: impl Into<String>) -> Stop {
    Stop::Refused(Refusal::NotPossible(text.into()))
}

/// What an operation did: words, and the facts for the audit log.
struct Done {
    reference: Option<String>,
    text: String,
    reasons: Vec<String>,
    link: Option<String>,
    record: Record,
}

/// What the audit log will tell.
enum Record {
    Fact { subject_kind: &'static str, subject_id: String, details: Value },
    Application(Box<Submitted>),
}

impl Done {
    fn new(text: String, subject_kind: &'static str, subject_id: impl ToString, details: Value) -> Self {
        let record = Record::Fact { subject_kind, subject_id: subject_id.to_string(), details };
        Self { reference: None, text, reasons: Vec::new(), link: None, record }
    }

    fn under(mut self, reference: String) -> Self {
        self.reference = Some(reference);
        self
    }
}

/// Performs the operation in a savepoint of the turn's transaction: a refusal leaves no trace, and the turn goes on.
///
/// The same key again answers with the first receipt and does nothing.
pub(super) async fn perform(
    connection: &mut PgConnection,
    request: &Request<'_>,
    operation: &Operation,
) -> Result<(Receipt, Option<Deed>), Refusal> {
    match in_savepoint(connection, request, operation).await {
        Ok(done) => Ok(done),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Failed(error)) => {
            tracing::error!(%error, cause = ?error, operation = operation.name(), "an operation failed");
            Err(Refusal::Unavailable(error.to_string()))
        }
    }
}

async fn in_savepoint(
    connection: &mut PgConnection,
    request: &Request<'_>,
    operation: &Operation,
) -> Result<(Receipt, Option<Deed>), Stop> {
    let mut savepoint = connection.begin().await?;
    let claimed = sqlx::query_scalar!(
        "insert into bank_operations (conversation_id, key, operation, receipt) values ($1, $2, $3, '{}')
         on conflict (conversation_id, key) do nothing
         returning number",
        request.conversation,
        request.key,
        serde_json::to_value(operation).map_err(AppError::from)?,
    )
    .fetch_optional(&mut *savepoint)
    .await?;
    let Some(number) = claimed else {
        let receipt = sqlx::query_scalar!(
            "select receipt from bank_operations where conversation_id = $1 and key = $2",
            request.conversation,
            request.key,
        )
        .fetch_one(&mut *savepoint)
        .await?;
        return Ok((serde_json::from_value(receipt).map_err(AppError::from)?, None));
    };
    let done = apply(&mut savepoint, request, operation).await?;
    let receipt = Receipt {
        reference: done.reference.unwrap_or_else(|| format!("B-{number}")),
        text: done.text,
        reasons: done.reasons,
        link: done.link,
    };
    sqlx::query!(
        "update bank_operations set receipt = $3 where conversation_id = $1 and key = $2",
        request.conversation,
        request.key,
        serde_json::to_value(&receipt).map_err(AppError::from)?,
    )
    .execute(&mut *savepoint)
    .await?;
    savepoint.commit().await?;
    let deed = match done.record {
        Record::Application(submitted) => Deed::Application(submitted),
        Record::Fact { subject_kind, subject_id, details } => {
            let customer = request.customer.map(|id| id.to_string());
            let mut details = details;
            if let Value::Object(fields) = &mut details {
                fields.insert("conversation".to_owned(), json!(request.conversation));
                fields.insert("reference".to_owned(), json!(receipt.reference));
            }
            Deed::Own(Fact {
                actor: Actor::Customer {
                    id: customer.unwrap_or_else(|| format!("conversation {}", request.conversation)),
                },
                action: action(operation),
                subject_kind,
                subject_id,
                details,
            })
        }
    };
    Ok((receipt, Some(deed)))
}

/// The operation as the audit log names it.
fn action(operation: &Operation) -> &'static str {
    match operation {
        Operation::BlockCard { .. } => "card.blocked",
        Operation::OrderReplacement { .. } => "card.ordered",
        Operation::OpenDispute { .. } => "dispute.opened",
        Operation::ChangeContact { .. } => "customer.contact_changed",
        Operation::SubmitApplication { .. } => "application.assessed",
        Operation::FileComplaint { .. } => "complaint.filed",
    }
}

async fn apply(connection: &mut PgConnection, request: &Request<'_>, operation: &Operation) -> Result<Done, Stop> {
    if let Operation::FileComplaint { about, wish, reply_to } = operation {
        return file_complaint(connection, request, about, wish, reply_to.as_deref()).await;
    }
    let Some(customer) = request.customer else {
        return Err(not_possible("I have to know who you are before I can do this."));
    };
    match operation {
        Operation::BlockCard { card, reason, .. } => {
            block_card(connection, customer, record(card)?, reason.as_str()).await
        }
        Operation::OrderReplacement { card, .. } => {
            order_replacement(connection, customer, record(card)?, request.today).await
        }
        Operation::OpenDispute { payment, reason, explanation } => {
            open_dispute(connection, request, customer, record(payment)?, *reason, explanation).await
        }
        Operation::ChangeContact { change } => change_contact(connection, customer, change).await,
        Operation::SubmitApplication { particulars } => {
            submit_application(connection, request, customer, particulars).await
        }
        Operation::FileComplaint { .. } => Err(not_possible("This complaint is filed already.")),
    }
}

fn record(id: &str) -> Result<Uuid, Stop> {
    Uuid::try_parse(id).map_err(|_| not_possible("I can not find this in your records."))
}

async fn block_card(connection: &mut PgConnection, customer: Uuid, card: Uuid, reason: &str) -> Result<Done, Stop> {
    let card = cards::lock(connection, customer, card)
        .await?
        .ok_or_else(|| not_possible("I can not find this card among yours."))?;
    if card.status == "blocked" {
        return Err(not_possible(format!(
            "Your card ending {} is blocked already: nobody can pay with it.",
            card.last4
        )));
    }
    cards::block(connection, card.id, reason).await?;
    let text = format!("Your card ending {} is blocked. Nobody can pay with it any more.", card.last4);
    Ok(Done::new(text, "card", card.id, json!({ "last4": card.last4, "reason": reason })))
}

async fn order_replacement(
    connection: &mut PgConnection,
    customer: Uuid,
    card: Uuid,
    today: NaiveDate,
) -> Result<Done, Stop> {
    let card = cards::lock(connection, customer, card)
        .await?
        .ok_or_else(|| not_possible("I can not find this card among yours."))?;
    if card.status != "blocked" {
        return Err(not_possible(format!(
            "Your card ending {} still works. A new one is sent only for a blocked card.",
            card.last4
        )));
    }
    if let Some(ordered) = cards::replacement(connection, card.id).await? {
        let arrival = ordered.arrives_on.map_or_else(String::new, |day| format!(" It arrives by {}.", in_words(day)));
        return Err(not_possible(format!("A new card for the one ending {} is ordered already.{arrival}", card.last4)));
    }
    let arrives_on = working_days_after(today, CARD_DAYS);
    cards::order_replacement(connection, customer, &card, arrives_on).await?;
    let text = format!("A new card is on its way to your address on record. It arrives by {}.", in_words(arrives_on));
    Ok(Done::new(text, "card", card.id, json!({ "last4": card.last4, "arrives_on": arrives_on })))
}

async fn open_dispute(
    connection: &mut PgConnection,
    request: &Request<'_>,
    customer: Uuid,
    payment: Uuid,
    reason: DisputeReason,
    explanation: &str,
) -> Result<Done, Stop> {
    let filter = payments::Filter { id: Some(payment), ..payments::Filter::default() };
    let found = payments::filtered(&mut *connection, customer, &filter, 1).await?;
    let Some(payment) = found.first() else {
        return Err(not_possible("I can not find this payment among yours."));
    };
    if payment.amount_minor >= 0 {
        return Err(not_possible("This payment came in. Only a payment that left your account can be disputed."));
    }
    if matches!(payment.status.as_str(), "failed" | "returned") {
        return Err(not_possible("This payment was not carried out: there is nothing to dispute."));
    }
    let words = format!("{}: {}", reason.as_str(), explanation.trim());
    let opened = disputes::open(connection, customer, payment.id, request.conversation, &words).await?;
    let Some(number) = opened else {
        let number = disputes::about(connection, payment.id).await?.unwrap_or_default();
        return Err(not_possible(format!("There is a dispute about this payment already: D-{number}.")));
    };
    let amount = Money::new(payment.amount_minor, payment.currency.clone()).abs();
    let answer = in_words(working_days_after(request.today, DISPUTE_DAYS));
    let text = format!(
        "Your dispute D-{number} about {amount} to {} is open. We write to you by {answer}.",
        payment.counterparty
    );
    let details = json!({ "payment": payment.id, "reason": reason.as_str() });
    Ok(Done::new(text, "dispute", number, details).under(format!("D-{number}")))
}

async fn change_contact(connection: &mut PgConnection, customer: Uuid, change: &ContactChange) -> Result<Done, Stop> {
    let (what, contact, text) = match change {
        ContactChange::Email { email } => (
            "email",
            customers::Contact { email: Some(email), ..customers::Contact::default() },
            format!("Your mail address is now {email}."),
        ),
        ContactChange::Phone { phone } => (
            "phone",
            customers::Contact { phone: Some(phone), ..customers::Contact::default() },
            format!("Your telephone number is now {phone}."),
        ),
        ContactChange::Address { street, city, postcode } => (
            "address",
            customers::Contact {
                street: Some(street),
                city: Some(city),
                postcode: Some(postcode),
                ..customers::Contact::default()
            },
            format!("Your address is now {street}, {postcode} {city}."),
        ),
    };
    match customers::update_contact(connection, customer, &contact).await {
        Ok(()) => {}
        Err(AppError::Invalid(fields)) => {
            let words: Vec<&str> = fields.iter().map(|field| field.message.as_str()).collect();
            return Err(not_possible(words.join(" ")));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Done::new(text, "customer", customer, json!({ "what": what })))
}

async fn submit_application(
    connection: &mut PgConnection,
    request: &Request<'_>,
    customer: Uuid,
    particulars: &LoanParticulars,
) -> Result<Done, Stop> {
    let known = customers::customer(&mut *connection, customer).await?;
    let applicant = Applicant {
        name: known.name,
        email: known.email,
        date_of_birth: Some(known.date_of_birth),
        street: known.street,
        city: known.city,
        postcode: known.postcode,
        ..Applicant::default()
    };
    let new = NewApplication::from_conversation(particulars, applicant, customer, request.conversation);
    let submitted = match applications::submit_within(connection, new).await {
        Ok(submitted) => submitted,
        Err(AppError::Invalid(fields)) => {
            let words: Vec<&str> = fields.iter().map(|field| field.message.as_str()).collect();
            return Err(not_possible(words.join(" ")));
        }
        Err(error) => return Err(error.into()),
    };
    let words = &submitted.customer_words;
    Ok(Done {
        reference: Some(submitted.application.number.to_string()),
        text: format!("{}. {} {}", words.headline, words.text, words.next),
        reasons: words.reasons.clone(),
        link: Some(submitted.status_path()),
        record: Record::Application(Box::new(submitted)),
    })
}

async fn file_complaint(
    connection: &mut PgConnection,
    request: &Request<'_>,
    about: &str,
    wish: &str,
    reply_to: Option<&str>,
) -> Result<Done, Stop> {
    let due = working_days_after(request.today, COMPLAINT_DAYS);
    let mut words = about.trim().to_owned();
    for (label, text) in [("What would put it right", wish), ("Answer to", reply_to.unwrap_or_default())] {
        if !text.trim().is_empty() {
            words.push_str(&format!("\n{label}: {}", text.trim()));
        }
    }
    let number = complaints::file(connection, request.customer, request.conversation, &words, due).await?;
    let text =
        format!("Your complaint CO-{number} is with our complaints team. You have an answer by {}.", in_words(due));
    Ok(Done::new(text, "complaint", number, json!({})).under(format!("CO-{number}")))
}
