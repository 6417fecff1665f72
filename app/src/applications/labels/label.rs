//! One label.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Actor;

/// What became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LabelKind {
    /// It was a fraud, and that is certain.
    ConfirmedFraud,
    /// Not certainly a fraud, but the look was worth it.
    ValuableAlert,
    /// The look was not worth it: nothing was wrong.
    FalseAlarm,
    /// The loan was paid back.
    Repaid,
    /// Payments are missing.
    InArrears,
    /// The bank gave the loan up.
    WrittenOff,
}

impl LabelKind {
    /// What an officer can find.
    pub const VERDICTS: [Self; 3] = [Self::ConfirmedFraud, Self::ValuableAlert, Self::FalseAlarm];
    /// What only time can tell.
    pub const OUTCOMES: [Self; 3] = [Self::Repaid, Self::InArrears, Self::WrittenOff];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmedFraud => "confirmed_fraud",
            Self::ValuableAlert => "valuable_alert",
            Self::FalseAlarm => "false_alarm",
            Self::Repaid => "repaid",
            Self::InArrears => "in_arrears",
            Self::WrittenOff => "written_off",
        }
    }

    /// For officers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ConfirmedFraud => "Confirmed fraud",
            Self::ValuableAlert => "Valuable alert",
            Self::FalseAlarm => "False alarm",
            Self::Repaid => "Repaid",
            Self::InArrears => "In arrears",
            Self::WrittenOff => "Written off",
        }
    }

    /// What it means, for whoever chooses it.
    #[must_use]
    pub fn means(self) -> &'static str {
        match self {
            Self::ConfirmedFraud => "It was a fraud, and that is certain.",
            Self::ValuableAlert => "Not certainly a fraud, but the look was worth it.",
            Self::FalseAlarm => "Nothing was wrong.",
            Self::Repaid => "The loan was paid back.",
            Self::InArrears => "Payments are missing.",
            Self::WrittenOff => "The bank gave the loan up.",
        }
    }

    /// Whether it says that the application was a fraud; `None` where it says neither. A loan that is not paid back is a
    /// loss and not yet a fraud, and an alert that was worth a look proves nothing: neither teaches a model of fraud.
    #[must_use]
    pub fn is_fraud(self) -> Option<bool> {
        match self {
            Self::ConfirmedFraud => Some(true),
            Self::FalseAlarm | Self::Repaid => Some(false),
            Self::ValuableAlert | Self::InArrears | Self::WrittenOff => None,
        }
    }
}

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An officer.
    Person {
        /// The person's key.
        id: Uuid,
        /// For the audit log.
        actor: Actor,
    },
    /// A program of the bank.
    Client {
        /// The client's key.
        id: Uuid,
        /// For the audit log.
        actor: Actor,
    },
}

/// A kept label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Label {
    /// Key.
    pub id: Uuid,
    /// The application.
    pub application_id: Uuid,
    /// What became known.
    pub kind: LabelKind,
    /// In the words of whoever said it.
    pub note: String,
    /// When the bank knew it.
    pub known_at: DateTime<Utc>,
    /// Who said it.
    pub said_by: String,
}
