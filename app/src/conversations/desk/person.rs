//! The customer's records beside the thread.

use candor_engine::dialogue::{ApplicationStatus, Bank as _, CustomerId, Line, LoanApplication, Money, Summary};
use chrono::Utc;
use serde::Deserialize;
use uuid::Uuid;

use crate::app::App;
use crate::bank::{self, Account, Card, Customer, PostgresBank, SharedTransaction};
use crate::conversations::{Conversation, store};
use crate::{AppError, Result};

use super::inbox::intent_label;
use super::mood::{self, Plot, Reading};
use super::stamp::Stamp;
use super::thread::confidence_label;

/// Payments shown.
const PAYMENTS: i64 = 6;
/// Past conversations shown.
const PAST: i64 = 8;

/// Everything the person pane shows.
#[derive(Debug, Clone)]
pub(super) struct Records {
    /// What the customer came for, and how sure that is.
    pub(super) intent: Option<(String, Option<String>)>,
    /// The mood's name and word.
    pub(super) mood: Option<(String, &'static str)>,
    pub(super) plot: Option<Plot>,
    /// The summary's parts that say something: heading and lines. In a generator's words where they passed the check.
    pub(super) summary: Vec<(&'static str, Vec<Line>)>,
    /// The assistant's own notes, where the summary is in other words.
    pub(super) notes: Vec<(&'static str, Vec<Line>)>,
    /// Satisfaction at the end, 1 to 5, and the customer's words.
    pub(super) csat: Option<(i16, String)>,
    /// The customer, once known.
    pub(super) customer: Option<Box<Known>>,
}

/// What the bank has about a known customer.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) particulars: Customer,
    pub(super) since: String,
    pub(super) accounts: Vec<(Account, String)>,
    pub(super) cards: Vec<Card>,
    pub(super) payments: Vec<Payment>,
    pub(super) applications: Vec<Application>,
    pub(super) past: Vec<Past>,
}

/// A payment as the pane shows it.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) counterparty: String,
    pub(super) amount: String,
    pub(super) status: String,
    pub(super) detail: String,
    pub(super) at: Stamp,
    pub(super) disputed: bool,
}

/// A loan application as the pane shows it.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub(super) reference: String,
    pub(super) amount: String,
    pub(super) purpose: String,
    pub(super) status: &'static str,
    pub(super) received: String,
}

/// Another conversation of the same customer.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) number: i64,
    pub(super) intent: String,
    pub(super) status: &'static str,
    pub(super) last: Stamp,
    pub(super) words: String,
}

/// The summary as it is stored: the assistant's notes, and a generator's words for them where they passed the check.
#[derive(Default, Deserialize)]
struct Noted {
    #[serde(flatten)]
    notes: Summary,
    worded: Option<Summary>,
}

fn parts(summary: Summary) -> Vec<(&'static str, Vec<Line>)> {
    let parts =
        [("Problem", summary.problem), ("Facts", summary.facts), ("Done", summary.done), ("Open", summary.open)];
    parts.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
}

/// Reads the records of the conversation's customer.
pub(super) async fn read(app: &App, conversation: &Conversation, readings: &[Reading]) -> Result<Records> {
    let now = Utc::now();
    // A summary of an older shape is no reason to refuse the conversation; the next message writes it anew.
    let Noted { notes, worded } = Noted::deserialize(&conversation.summary).unwrap_or_default();
    let (summary, notes) = match worded {
        Some(worded) => (parts(worded), parts(notes)),
        None => (parts(notes), Vec::new()),
    };
    let customer = match conversation.customer_id {
        Some(customer) => Some(Box::new(known(app, customer, conversation.id).await?)),
        None => None,
    };
    Ok(Records {
        intent: conversation
            .intent
            .as_deref()
            .map(|intent| (intent_label(intent), conversation.intent_confidence.map(confidence_label))),
        mood: conversation.sentiment.clone().map(|name| (name.clone(), mood::word(&name))),
        plot: Plot::new(readings, now),
        summary,
        notes,
        csat: conversation.csat.map(|score| (score, conversation.csat_comment.clone().unwrap_or_default())),
        customer,
    })
}

async fn known(app: &App, customer: Uuid, conversation: Uuid) -> Result<Known> {
    let now = Utc::now();
    let particulars = bank::customer(&app.db, customer).await?;
    let accounts = bank::accounts(&app.db, customer).await?;
    let payments = bank::payments(&app.db, customer, PAYMENTS).await?;
    let past = store::of_customer(&app.db, customer, conversation, PAST).await?;
    Ok(Known {
        since: particulars.created_at.format("%B %Y").to_string(),
        particulars,
        accounts: accounts
            .into_iter()
            .map(|account| {
                let balance = Money::new(account.balance_minor, &*account.currency).to_string();
                (account, balance)
            })
            .collect(),
        cards: bank::cards(&app.db, customer).await?,
        payments: payments
            .into_iter()
            .map(|payment| Payment {
                counterparty: payment.counterparty,
                amount: Money::new(payment.amount_minor, payment.currency).to_string(),
                status: payment.status,
                detail: payment.status_detail,
                at: Stamp::new(payment.made_at, now),
                disputed: payment.disputed,
            })
            .collect(),
        applications: applications(app, customer, conversation).await?,
        past: past
            .into_iter()
            .map(|past| Past {
                number: past.number,
                intent: past.intent.as_deref().map_or_else(|| "No intent yet".to_owned(), intent_label),
                status: past.status.label(),
                last: Stamp::new(past.last_message_at, now),
                words: past.last_words,
            })
            .collect(),
    })
}

/// The applications as the customer may see them, through the same door the assistant uses.
async fn applications(app: &App, customer: Uuid, conversation: Uuid) -> Result<Vec<Application>> {
    let transaction = SharedTransaction::new(app.db.begin().await?);
    let records = PostgresBank::new(&transaction, conversation, bank::today());
    let found = records.applications(&CustomerId(customer.to_string())).await;
    drop(records);
    transaction.into_inner().rollback().await?;
    let found = found.map_err(|error| AppError::Internal(error.to_string()))?;
    Ok(found.into_iter().map(application).collect())
}

fn application(application: LoanApplication) -> Application {
    Application {
        reference: application.reference,
        amount: application.amount.to_string(),
        purpose: application.purpose,
        status: match application.status {
            ApplicationStatus::InReview => "In review",
            ApplicationStatus::Documents => "Documents awaited",
            ApplicationStatus::Approved => "Approved",
            ApplicationStatus::Declined => "Declined",
            ApplicationStatus::Withdrawn => "Withdrawn",
        },
        received: application.received_on.format("%-d %b %Y").to_string(),
    }
}
