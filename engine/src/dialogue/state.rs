//! What the dialogue remembers between two messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::bank::CustomerId;
use super::flow::IDENTIFY;
use super::saying::Spoken;
use super::summary::{Line, Note, Summary};

/// Turns that are kept in full; older ones are folded into the summary.
const WINDOW: usize = 8;

/// A conversation as the manager remembers it. Stored as JSON beside the conversation; `State::default()` begins one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The customer, once identified.
    pub identified: Option<CustomerId>,
    /// Language of the conversation.
    pub language: Language,
    /// Whether a person has taken over; [`State::hand_back`] ends it.
    pub handed_off: bool,
    /// Whether the customer said that nothing else is needed: the moment to ask for satisfaction.
    pub finished: bool,
    /// Running flows; the last one is being worked on, the others wait for it.
    pub(super) stack: Vec<Run>,
    /// What the last turn asked.
    pub(super) asked: Option<Asked>,
    /// Requests of the customer that wait their turn.
    pub(super) queue: VecDeque<Request>,
    /// Misunderstandings in a row.
    pub(super) failures: u8,
    /// Failed attempts at being identified.
    pub(super) attempts: u8,
    /// Messages with abuse.
    pub(super) insults: u8,
    /// Silences of the customer since their last message that were noticed.
    pub(super) silences: u8,
    /// Sentiment of the last messages, oldest first.
    pub(super) mood: VecDeque<f32>,
    /// Whether a person was offered because of the mood.
    pub(super) consoled: bool,
    /// The last operation, for a change of mind afterwards.
    pub(super) last_done: Option<Done>,
    /// The last turns in full, oldest first.
    pub(super) window: VecDeque<PastTurn>,
    /// What older turns amount to.
    pub(super) earlier: Summary,
}

/// A flow that is running.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) flow: String,
    /// The flow's title, for the summary.
    pub(super) title: String,
    /// Number of the message that started it: part of the key that keeps an operation from being performed twice.
    pub(super) started: i64,
    pub(super) slots: BTreeMap<String, Value>,
    /// What the customer wrote before anything was asked; slots are first looked for here.
    pub(super) heard: Vec<Heard>,
    /// Slots already looked for in what was heard.
    pub(super) tried: BTreeSet<String>,
    /// Whether the opening has been said.
    pub(super) opened: bool,
    /// Texts said by steps, so that none is said twice.
    pub(super) said: BTreeSet<String>,
    /// Steps whose operation was performed, with the slots that can no longer be changed.
    pub(super) performed: BTreeMap<usize, Vec<String>>,
    /// Steps whose operation the customer did not want.
    pub(super) declined: BTreeSet<usize>,
    /// What was confirmed: the step and the values at that moment.
    pub(super) confirmed: Option<String>,
    /// Records offered for the slot that is asked for, in the order shown.
    pub(super) offered: Vec<String>,
    /// Whether it waited for another flow and goes on now.
    pub(super) resumed: bool,
}

impl Run {
    /// Whether an operation that was performed used this slot.
    pub(super) fn is_frozen(&self, slot: &str) -> bool {
        self.performed.values().any(|slots| slots.iter().any(|name| name == slot))
    }
}

/// A value of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    /// As operations and conditions know it; a record's key.
    pub(super) value: String,
    /// In words for the customer.
    pub(super) shown: String,
    /// Fields of a record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, String>,
    /// Message it came from.
    pub(super) seq: i64,
}

/// Something the customer wrote, with the parts that already gave a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) seq: i64,
    #[serde(default)]
    pub(super) used: Vec<(usize, usize)>,
}

/// What the last turn asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "asked", rename_all = "snake_case")]
pub(super) enum Asked {
    /// For a slot of the running flow.
    Slot { slot: String },
    /// To confirm an operation.
    Confirm { step: usize, fingerprint: String },
    /// What should be changed before an operation.
    Change,
    /// Whether the customer wants something; `yes` is the choice that a yes takes.
    Offer { yes: String },
    /// Whether there is anything else.
    Else,
}

/// A request that waits its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) flow: String,
    pub(super) title: String,
    pub(super) heard: Vec<Heard>,
}

/// An operation that was performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) flow: String,
    pub(super) text: String,
    pub(super) undo: Option<String>,
    /// Turns since.
    pub(super) age: u8,
}

/// A turn of the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PastTurn {
    pub(super) seq: i64,
    pub(super) customer: String,
    pub(super) assistant: Vec<String>,
    pub(super) notes: Vec<Note>,
}

impl State {
    /// A conversation with a customer whom the application has already signed in.
    #[must_use]
    pub fn signed_in(customer: CustomerId) -> Self {
        Self { identified: Some(customer), ..Self::default() }
    }

    /// The assistant takes the conversation back from a person: what was running is taken as settled, and counts of
    /// misunderstandings begin anew. Who the customer is stays known.
    pub fn hand_back(&mut self) {
        self.handed_off = false;
        self.finished = false;
        self.stack.clear();
        self.queue.clear();
        self.asked = None;
        self.failures = 0;
        self.attempts = 0;
        self.insults = 0;
        self.silences = 0;
        self.consoled = false;
        self.last_done = None;
        self.mood.clear();
    }

    /// The flow that is being worked on, by name; the customer's wish, not the identification it may need first.
    #[must_use]
    pub fn flow(&self) -> Option<&str> {
        self.stack.iter().rev().map(|run| run.flow.as_str()).find(|name| *name != IDENTIFY)
    }

    /// Every flow that is running or waits, the one being worked on last.
    pub fn flows(&self) -> impl Iterator<Item = &str> {
        self.stack.iter().map(|run| run.flow.as_str())
    }

    /// The filled slots of the flow that is being worked on, by name: the value as operations know it. For records this
    /// is the record's key; a field is named `slot.field`. What was said to be identified is not among them.
    #[must_use]
    pub fn slots(&self) -> BTreeMap<String, String> {
        let mut slots = BTreeMap::new();
        if let Some(run) = self.stack.iter().rev().find(|run| run.flow != IDENTIFY) {
            for (name, value) in &run.slots {
                slots.insert(name.clone(), value.value.clone());
                for (field, text) in &value.fields {
                    slots.insert(format!("{name}.{field}"), text.clone());
                }
            }
        }
        slots
    }

    /// What is asked for now: a slot's name, `confirm`, `change`, `offer` or `else`.
    #[must_use]
    pub fn asked(&self) -> Option<&str> {
        self.asked.as_ref().map(|asked| match asked {
            Asked::Slot { slot } => slot.as_str(),
            Asked::Confirm { .. } => "confirm",
            Asked::Change => "change",
            Asked::Offer { .. } => "offer",
            Asked::Else => "else",
        })
    }

    /// The whole conversation in a few lines, for the person who takes over.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.earlier.clone();
        for note in self.window.iter().flat_map(|turn| &turn.notes) {
            summary.add(note);
        }
        for run in &self.stack {
            if run.flow != IDENTIFY {
                summary.open.push(Line {
                    text: format!("Not finished: {}", run.title),
                    seq: run.started,
                    about: String::new(),
                });
            }
        }
        for request in &self.queue {
            summary.open.push(Line {
                text: format!("Waiting: {}", request.title),
                seq: request.heard.first().map_or(0, |heard| heard.seq),
                about: String::new(),
            });
        }
        summary
    }

    /// What was said in the turns kept in full, up to the customer's last message.
    pub(super) fn said(&self) -> Vec<Spoken<'_>> {
        let last = self.window.len().saturating_sub(1);
        let mut said = Vec::new();
        for (at, turn) in self.window.iter().enumerate() {
            said.push(Spoken { by_customer: true, text: &turn.customer });
            if at != last {
                said.extend(turn.assistant.iter().map(|text| Spoken { by_customer: false, text }));
            }
        }
        said
    }

    /// The last turn as it was really said.
    pub(super) fn reword(&mut self, said: Vec<String>) {
        if let Some(last) = self.window.back_mut() {
            last.assistant = said;
        }
    }

    /// Adds a turn to the window; what falls out of it is folded into the summary.
    pub(super) fn remember(&mut self, turn: PastTurn) {
        self.window.push_back(turn);
        while self.window.len() > WINDOW {
            if let Some(oldest) = self.window.pop_front() {
                for note in &oldest.notes {
                    self.earlier.add(note);
                }
            }
        }
    }
}

/// Language of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese.
    Chinese,
}
