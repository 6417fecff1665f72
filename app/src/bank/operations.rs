//! Operations that a customer confirmed in a conversation: checked again, performed once, receipted.

use candor_engine::dialogue::{ContactChange, DisputeReason, Money, Operation, Receipt, Refusal};
use chrono::NaiveDate;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::AppError;
use crate::audit::Actor;

use super::calendar::{in_words, working_days_after};
use super::postgres::Deed;
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
    subject_kind: &'static str,
    subject_id: String,
    details: Value,
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
        reasons: Vec::new(),
        link: None,
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
    let by = request.customer.map_or_else(|| format!("conversation {}", request.conversation), |id| id.to_string());
    let mut details = done.details;
    if let Value::Object(fields) = &mut details {
        fields.insert("conversation".to_owned(), json!(request.conversation));
        fields.insert("reference".to_owned(), json!(receipt.reference));
    }
    let deed = Deed {
        actor: Actor::Customer { id: by },
        action: action(operation),
        subject_kind: done.subject_kind,
        subject_id: done.subject_id,
        details,
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
        Operation::SubmitApplication { .. } => "application.submitted_by_chat",
        Operation::FileComplaint { .. } => "complaint.filed",
    }
}

async fn apply(connection: &mut PgConnection, request: &Request<'_>, operation: &Operation) -> Result<Done, Stop> {
    if let Operation::FileComplaint { about, wish, .. } = operation {
        return file_complaint(connection, request, about, wish).await;
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
        Operation::SubmitApplication { .. } => Err(Stop::Refused(Refusal::NeedsPerson(
            "I can not send an application from here at the moment. A colleague takes it from here.".to_owned(),
        ))),
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
    Ok(Done {
        reference: None,
        text: format!("Your card ending {} is blocked. Nobody can pay with it any more.", card.last4),
        subject_kind: "card",
        subject_id: card.id.to_string(),
        details: json!({ "last4": card.last4, "reason": reason }),
    })
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
    Ok(Done {
        reference: None,
        text: format!("A new card is on its way to your address on record. It arrives by {}.", in_words(arrives_on)),
        subject_kind: "card",
        subject_id: card.id.to_string(),
        details: json!({ "last4": card.last4, "arrives_on": arrives_on }),
    })
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
    Ok(Done {
        reference: Some(format!("D-{number}")),
        text: format!(
            "Your dispute D-{number} about {amount} to {} is open. We write to you by {answer}.",
            payment.counterparty
        ),
        subject_kind: "dispute",
        subject_id: number.to_string(),
        details: json!({ "payment": payment.id, "reason": reason.as_str() }),
    })
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
    Ok(Done {
        reference: None,
        text,
        subject_kind: "customer",
        subject_id: customer.to_string(),
        details: json!({ "what": what }),
    })
}

async fn file_complaint(
    connection: &mut PgConnection,
    request: &Request<'_>,
    about: &str,
    wish: &str,
) -> Result<Done, Stop> {
    let due = working_days_after(request.today, COMPLAINT_DAYS);
    let mut words = about.trim().to_owned();
    if !wish.trim().is_empty() {
        words.push_str("\nWhat would put it right: ");
        words.push_str(wish.trim());
    }
    let number = complaints::file(connection, request.customer, request.conversation, &words, due).await?;
    Ok(Done {
        reference: Some(format!("CO-{number}")),
        text: format!(
            "Your complaint CO-{number} is with our complaints team. You have an answer by {}.",
            in_words(due)
        ),
        subject_kind: "complaint",
        subject_id: number.to_string(),
        details: json!({}),
    })
}
