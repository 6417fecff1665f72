//! A loan application as it is kept.

use candor_engine::dialogue::Money;
use candor_engine::risk;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{AppError, Result};

use super::Applicant;

/// Where an application came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Channel {
    /// The form on the bank's pages.
    Web,
    /// A conversation with the assistant.
    Chat,
    /// The API.
    Api,
    /// A branch.
    Branch,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Web, Self::Chat, Self::Api, Self::Branch];

    /// As stored, and as the factor `source` names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Chat => "chat",
            Self::Api => "api",
            Self::Branch => "branch",
        }
    }

    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Web => "Web form",
            Self::Chat => "Chat",
            Self::Api => "API",
            Self::Branch => "Branch",
        }
    }
}

/// Where an application stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Scored, waiting for an officer.
    Received,
    /// Documents are awaited from the applicant.
    Documents,
    /// An officer wants another look at it.
    Referred,
    /// Decided by one officer; a second person must confirm.
    PendingSecond,
    /// Approved.
    Approved,
    /// Declined.
    Declined,
    /// Withdrawn by the applicant.
    Withdrawn,
}

impl Status {
    /// Every status, open ones first.
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Documents,
        Self::Referred,
        Self::PendingSecond,
        Self::Approved,
        Self::Declined,
        Self::Withdrawn,
    ];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Documents => "documents",
            Self::Referred => "referred",
            Self::PendingSecond => "pending_second",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// For officers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Received => "New",
            Self::Documents => "Awaiting documents",
            Self::Referred => "Referred",
            Self::PendingSecond => "Needs a second person",
            Self::Approved => "Approved",
            Self::Declined => "Declined",
            Self::Withdrawn => "Withdrawn",
        }
    }

    /// Still to be decided.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Approved | Self::Declined | Self::Withdrawn)
    }

    /// An officer may decide now.
    #[must_use]
    pub fn may_be_decided(self) -> bool {
        matches!(self, Self::Received | Self::Documents | Self::Referred)
    }
}

/// What is known of the device and the session in which somebody applied. Nothing here is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// A stable mark of the device: a hash, never the cookie itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The device's operating system: `windows`, `macos`, `linux`, `android`, `ios`, `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_os: Option<String>,
    /// Whether the request came from another country than the bank's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<bool>,
    /// Minutes spent on the form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Whether the applicant asked to stay signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<bool>,
    /// When the application was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
}

/// A kept application.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Application {
    /// Key.
    pub id: Uuid,
    /// The reference that applicants quote.
    pub number: i64,
    /// The customer, where one is known.
    pub customer_id: Option<Uuid>,
    /// The conversation it came from.
    pub conversation_id: Option<Uuid>,
    /// Where it came from.
    pub channel: Channel,
    /// The CRM's own key.
    pub external_id: Option<String>,
    /// Who applies.
    pub applicant: Applicant,
    /// The factors that were scored at its arrival.
    pub factors: risk::Application,
    /// Device and session.
    pub session: Session,
    /// Amount in cents.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Term in months.
    pub term_months: i32,
    /// What it is for: `car`, `home`, `debts`, `education`, `purchase`, `other`.
    pub purpose: String,
    /// Where it stands.
    pub status: Status,
    /// Who looks after it.
    pub assignee_id: Option<Uuid>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was complete; `None` while documents are awaited.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it must be decided: 30 days after it was complete (12 CFR 1002.9(a)(1)).
    pub decide_by: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// When the bank confirmed that it was a fraud.
    pub fraud_confirmed_at: Option<DateTime<Utc>>,
    /// When its personal data was erased.
    pub erased_at: Option<DateTime<Utc>>,
}

impl Application {
    /// The amount with its currency.
    #[must_use]
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency.clone())
    }

    /// What the loan is for, in words.
    #[must_use]
    pub fn purpose_in_words(&self) -> &str {
        purpose_in_words(&self.purpose)
    }

    /// Whole days until it must be decided; negative when that day has passed.
    #[must_use]
    pub fn days_left(&self, now: DateTime<Utc>) -> i64 {
        (self.decide_by - now).num_days()
    }
}

/// Purposes of a loan: code and words.
pub const PURPOSES: [(&str, &str); 6] = [
    ("car", "A car"),
    ("home", "Home improvement"),
    ("debts", "Paying off other debts"),
    ("education", "Education"),
    ("purchase", "A large purchase or a journey"),
    ("other", "Something else"),
];

/// A purpose's words; an unknown code is its own words.
#[must_use]
pub fn purpose_in_words(purpose: &str) -> &str {
    PURPOSES.iter().find(|(code, _)| *code == purpose).map_or(purpose, |(_, words)| words)
}

/// A row as `query!` reads it.
struct Row {
    id: Uuid,
    number: i64,
    customer_id: Option<Uuid>,
    conversation_id: Option<Uuid>,
    channel: Channel,
    external_id: Option<String>,
    applicant: Json<Applicant>,
    factors: Json<risk::Application>,
    session: Json<Session>,
    amount_minor: i64,
    currency: String,
    term_months: i32,
    purpose: String,
    status: Status,
    assignee_id: Option<Uuid>,
    received_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    decide_by: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    fraud_confirmed_at: Option<DateTime<Utc>>,
    erased_at: Option<DateTime<Utc>>,
}

impl From<Row> for Application {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            number: row.number,
            customer_id: row.customer_id,
            conversation_id: row.conversation_id,
            channel: row.channel,
            external_id: row.external_id,
            applicant: row.applicant.0,
            factors: row.factors.0,
            session: row.session.0,
            amount_minor: row.amount_minor,
            currency: row.currency,
            term_months: row.term_months,
            purpose: row.purpose,
            status: row.status,
            assignee_id: row.assignee_id,
            received_at: row.received_at,
            completed_at: row.completed_at,
            decide_by: row.decide_by,
            decided_at: row.decided_at,
            fraud_confirmed_at: row.fraud_confirmed_at,
            erased_at: row.erased_at,
        }
    }
}

/// `query_as!` over the columns of an application, with the rest of the statement given.
macro_rules! select_application {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id, number, customer_id, conversation_id, channel as "channel: Channel", external_id,
                      applicant as "applicant: Json<Applicant>", factors as "factors: Json<risk::Application>",
                      session as "session: Json<Session>", amount_minor, currency, term_months, purpose,
                      status as "status: Status", assignee_id, received_at, completed_at, decide_by, decided_at,
                      fraud_confirmed_at, erased_at
               from applications "# + $rest
            $(, $argument)*
        )
    };
}

/// The application with that key.
///
/// # Errors
/// [`AppError::NotFound`] when there is none.
pub async fn find(db: impl PgExecutor<'_>, id: Uuid) -> Result<Application> {
    let row = select_application!("where id = $1", id).fetch_optional(db).await?;
    row.map(Application::from).ok_or(AppError::NotFound("This application"))
}

/// The application with that key, locked until the transaction ends.
pub(super) async fn lock(db: impl PgExecutor<'_>, id: Uuid) -> Result<Application> {
    let row = select_application!("where id = $1 for update", id).fetch_optional(db).await?;
    row.map(Application::from).ok_or(AppError::NotFound("This application"))
}

/// The application with that number.
///
/// # Errors
/// When the database fails.
pub async fn find_by_number(db: impl PgExecutor<'_>, number: i64) -> Result<Option<Application>> {
    Ok(select_application!("where number = $1", number).fetch_optional(db).await?.map(Application::from))
}

/// The application that the CRM knows under that key.
///
/// # Errors
/// When the database fails.
pub async fn find_by_external_id(db: impl PgExecutor<'_>, external_id: &str) -> Result<Option<Application>> {
    Ok(select_application!("where external_id = $1", external_id).fetch_optional(db).await?.map(Application::from))
}

/// The application that was submitted from that draft.
pub(super) async fn find_by_draft(db: impl PgExecutor<'_>, draft: Uuid) -> Result<Option<Application>> {
    Ok(select_application!("where draft_id = $1", draft).fetch_optional(db).await?.map(Application::from))
}

/// The application behind an applicant's link; `hash` is the SHA-256 of the link's token.
pub(super) async fn find_by_status_token(db: impl PgExecutor<'_>, hash: &[u8]) -> Result<Option<Application>> {
    Ok(select_application!("where status_token_hash = $1", hash).fetch_optional(db).await?.map(Application::from))
}

/// A customer's applications, newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_customer(db: impl PgExecutor<'_>, customer: Uuid) -> Result<Vec<Application>> {
    let rows = select_application!("where customer_id = $1 order by received_at desc, id desc limit 100", customer)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Application::from).collect())
}

/// The applications that came out of a conversation, newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_conversation(db: impl PgExecutor<'_>, conversation: Uuid) -> Result<Vec<Application>> {
    let rows = select_application!("where conversation_id = $1 order by received_at desc, id desc", conversation)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Application::from).collect())
}

/// Applications, the newest first, older than the one with the key `before`.
///
/// # Errors
/// When the database fails.
pub async fn newest(db: impl PgExecutor<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<Application>> {
    let rows = select_application!("where ($1::uuid is null or id < $1) order by id desc limit $2", before, limit)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Application::from).collect())
}
