//! Flows: what the assistant does for one wish of the customer, as data.
//!
//! A flow is one TOML file: slots that hold what is asked for, and steps that are walked from the top after every
//! message. A step whose work is done is passed over, so that a corrected slot is all a correction needs: the walk
//! finds by itself what has to be asked, confirmed or said anew.

mod condition;
mod load;
mod template;

use serde::Serialize;

pub(super) use condition::Values;
pub use condition::{Condition, Test};
pub use load::FlowError;
pub(super) use load::{IDENTIFY, TALK_TO_HUMAN, from_dir, shipped};
pub use template::Template;

/// A flow as read from its file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    /// Name: the file's name without `.toml`.
    pub name: String,
    /// What it does, as a manager of the bank would say it.
    pub title: String,
    /// What the customer wants, to go on from "Back to …" and "Do you want to …?": `block your card`.
    pub wish: String,
    /// Intents of the encoder that start it.
    pub intents: Vec<String>,
    /// Words that start it where the encoder is unsure: every word of a cue must occur.
    pub cues: Vec<String>,
    /// Phrases that start it whatever the encoder says.
    pub settles: Vec<String>,
    /// Phrases that say it is something else, whatever the encoder says.
    pub unless: Vec<String>,
    /// Whether the customer must be identified before anything in it is asked or said beyond its opening.
    pub identity: bool,
    /// Whether it can simply be run again to change what it did.
    pub repeat: bool,
    /// Said when it starts.
    pub opening: Option<String>,
    /// What it asks for.
    pub slots: Vec<Slot>,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

impl Flow {
    /// The slot of a name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

/// Something a flow asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slot {
    /// Name within the flow.
    pub name: String,
    /// Its label on the summary card and for the person who takes over.
    pub label: String,
    /// What is a valid answer.
    pub kind: SlotKind,
    /// The question.
    pub ask: Template,
    /// The question once more, in other words, after an answer that was not understood.
    pub help: Template,
    /// Answer to "why do you ask?".
    pub why: String,
    /// Words by which the customer names the slot when correcting it.
    pub words: Vec<String>,
    /// Words that must stand in the clause for a value to be taken without being asked for.
    pub hints: Vec<String>,
    /// Whether a value in the message that starts the flow is taken even without a hint.
    pub open: bool,
    /// Whether the value is kept out of the summary.
    pub private: bool,
    /// Slots whose values are dropped when this one changes.
    pub resets: Vec<String>,
    /// Said when the customer has no record that fits; the flow then ends.
    pub none: Option<String>,
    /// Said when the customer names a record that exists but does not fit.
    pub unfit: Option<String>,
}

/// What is a valid answer to a slot's question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SlotKind {
    /// The customer's own words: at least this many of them.
    Text {
        /// Fewest words.
        min_words: usize,
    },
    /// One of several values.
    Choice {
        /// The values.
        choices: Vec<SlotChoice>,
    },
    /// Yes or no.
    YesNo,
    /// An amount between two bounds.
    Money {
        /// Smallest, in whole units of the currency.
        min: i64,
        /// Largest, in whole units of the currency.
        max: i64,
    },
    /// A length of time in months between two bounds.
    Months {
        /// Shortest.
        min: i64,
        /// Longest.
        max: i64,
        /// Whether a bare number counts years.
        bare_years: bool,
    },
    /// A day in the past.
    Birthday,
    /// A mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A postcode.
    Postcode,
    /// A customer number or mail address, to be identified by.
    Who,
    /// One of the customer's cards in one of these states.
    Card {
        /// States: `ordered`, `active`, `blocked`.
        statuses: Vec<String>,
    },
    /// One of the customer's payments of these kinds.
    Payment {
        /// Kinds, see [`super::Payment::kind`]; empty for all.
        kinds: Vec<String>,
    },
    /// One of the customer's loan applications.
    Application,
}

impl SlotKind {
    /// The fields of its values that conditions and texts may use.
    #[must_use]
    pub fn fields(&self) -> &'static [&'static str] {
        match self {
            Self::Card { .. } => &["last4", "kind", "status", "arrives_on"],
            Self::Payment { .. } => &[
                "label",
                "amount",
                "counterparty",
                "kind",
                "status",
                "detail",
                "direction",
                "made_on",
                "expected",
                "disputed",
            ],
            Self::Application => {
                &["reference", "amount", "term", "purpose", "status", "received_on", "decide_by", "reasons"]
            }
            _ => &[],
        }
    }

    /// Whether its values are records of the customer, to be read only after identification.
    #[must_use]
    pub fn is_record(&self) -> bool {
        matches!(self, Self::Card { .. } | Self::Payment { .. } | Self::Application)
    }
}

/// A value of a [`SlotKind::Choice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotChoice {
    /// The value, as operations know it.
    pub value: String,
    /// What the customer sees.
    pub label: String,
    /// Words and phrases that mean it.
    pub words: Vec<String>,
}

/// A step of a flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// When it is taken; always where there is none.
    pub when: Option<Condition>,
    /// What it does.
    pub does: Does,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "does", rename_all = "snake_case")]
pub enum Does {
    /// Sees to it that a slot is filled.
    Ask {
        /// The slot's name.
        slot: String,
    },
    /// Says something once.
    Say {
        /// The words.
        text: Template,
        /// Flows offered as buttons with it.
        offers: Vec<String>,
    },
    /// Tells what the records hold.
    Tell {
        /// Which records.
        what: Tell,
    },
    /// Performs an operation.
    Act {
        /// Which.
        act: Act,
        /// The question that confirms it; nothing is confirmed for [`Act::Identify`].
        confirm: Option<Template>,
        /// Slots shown on the summary card.
        rows: Vec<String>,
        /// Said when the customer says no to it: the flow then goes on without it. Where there is none, a no asks
        /// what should be changed.
        declined: Option<String>,
        /// Said when the customer wants it undone afterwards.
        undo: Option<String>,
    },
    /// Hands over to a person.
    HandOff {
        /// What the customer is told.
        text: Template,
    },
    /// Starts another flow when this one has ended.
    Start {
        /// Its name.
        flow: String,
    },
    /// Ends the flow here.
    End {
        /// What is said.
        text: Template,
    },
}

/// Records a flow can tell about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// Every account with its balance.
    Balances,
    /// The newest payments.
    RecentPayments,
    /// Cards on their way.
    CardArrival,
}

/// Operations a flow can perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Compares what the customer said with the records.
    Identify,
    /// [`super::Operation::BlockCard`].
    BlockCard,
    /// [`super::Operation::OrderReplacement`].
    OrderReplacement,
    /// [`super::Operation::OpenDispute`].
    OpenDispute,
    /// [`super::Operation::ChangeContact`].
    ChangeContact,
    /// [`super::Operation::SubmitApplication`].
    SubmitApplication,
    /// [`super::Operation::FileComplaint`].
    FileComplaint,
}
