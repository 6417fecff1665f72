//! The dialogue manager: from a message to the next actions.

use std::path::Path;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::action::{Action, Choice};
use super::bank::{Bank, BankError};
use super::clauses;
use super::exchange::Exchange;
use super::flow::{self, Does, Flow, FlowError, TALK_TO_HUMAN};
use super::knowledge::Knowledge;
use super::language::{Others, Phrasebook};
use super::state::State;
use super::words::Words;
use crate::understanding::{Sentiment, Understanding};

/// A customer's message with what the engine understood of it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The words as written; for a button, its label.
    pub text: &'a str,
    /// The message's number within the conversation, for the summary's links.
    pub seq: i64,
    /// What the encoder says about the whole message.
    pub understanding: &'a Understanding,
    /// What it says about each of [`Manager::clauses`], in order; empty when there is only one clause.
    pub parts: &'a [Understanding],
    /// Today, in the bank's time zone.
    pub today: NaiveDate,
    /// The value of the button that was pressed, if one was.
    pub choice: Option<&'a str>,
}

/// What [`Manager::next`] answers: keep the state, show and obey the actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The conversation as it is now.
    pub state: State,
    /// What the assistant does, in order; never empty.
    pub actions: Vec<Action>,
}

/// Why no turn could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bank's records or the articles could not be read or written. The message may be sent again: an operation
    /// that was performed is recognised by its key.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The flows were changed under a running conversation: it holds one that no longer exists. Begin with a fresh
    /// state and the same customer.
    #[error("the conversation runs a flow that no longer exists: {0}")]
    State(String),
}

/// The dialogue manager. Holds the flows, no conversation: it may be shared by all, and is cheap to clone.
#[derive(Debug, Clone)]
pub struct Manager {
    flows: Arc<[Flow]>,
    pub(super) words: Arc<Words>,
    pub(super) chinese: Arc<Phrasebook>,
    pub(super) others: Arc<Others>,
}

impl Manager {
    /// The manager with the flows compiled into the program.
    ///
    /// # Errors
    /// [`FlowError`] names file and line of what is wrong.
    pub fn shipped() -> Result<Self, FlowError> {
        Self::new(flow::shipped()?)
    }

    /// The manager with the `*.toml` files of a folder in place of the shipped flows.
    ///
    /// # Errors
    /// [`FlowError`] names file and line of what is wrong.
    pub fn from_dir(folder: &Path) -> Result<Self, FlowError> {
        Self::new(flow::from_dir(folder)?)
    }

    fn new(flows: Vec<Flow>) -> Result<Self, FlowError> {
        Ok(Self {
            flows: flows.into(),
            words: Arc::new(Words::shipped()?),
            chinese: Arc::new(Phrasebook::chinese()?),
            others: Arc::new(Others::shipped()?),
        })
    }

    /// The first words of every conversation: that it is an AI, and that a person is available at any time
    /// (Regulation (EU) 2024/1689, Article 50).
    #[must_use]
    pub fn greeting(&self) -> Action {
        let mut choices = self.wishes();
        choices.push(Choice::new("Talk to a person", "human"));
        Action::Say { text: self.words.greeting.clone(), citations: Vec::new(), choices }
    }

    /// The bank's name, as customers know it.
    #[must_use]
    pub fn bank_name(&self) -> &str {
        &self.words.bank
    }

    /// The flows, for the pages that show them.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The flow of a name.
    #[must_use]
    pub fn flow(&self, name: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.name == name)
    }

    /// The clauses of a message that may hold requests of their own. Understand each and pass the results as
    /// [`Input::parts`]. Empty when the message is a single clause.
    #[must_use]
    pub fn clauses<'t>(&self, text: &'t str) -> Vec<&'t str> {
        clauses::split(text)
    }

    /// The next turn of a conversation.
    ///
    /// # Errors
    /// [`Error::Bank`] when records can not be read: keep the old state, the message may be sent again.
    /// [`Error::State`] when the state holds a flow that no longer exists.
    pub async fn next(
        &self,
        state: State,
        input: Input<'_>,
        bank: &dyn Bank,
        knowledge: &dyn Knowledge,
    ) -> Result<Turn, Error> {
        if let Some(gone) = state.flows().find(|name| self.flow(name).is_none()) {
            return Err(Error::State(gone.to_owned()));
        }
        Ok(Exchange::new(self, state, input, bank, knowledge).take().await?)
    }

    /// What the assistant says when the customer has written nothing for a while: once the question that waits, once
    /// more that nothing is lost. `None` where there is nothing to say. Whatever was asked stays asked.
    ///
    /// # Errors
    /// As [`Manager::next`].
    pub async fn silence(
        &self,
        state: State,
        seq: i64,
        today: NaiveDate,
        bank: &dyn Bank,
        knowledge: &dyn Knowledge,
    ) -> Result<Option<Turn>, Error> {
        if let Some(gone) = state.flows().find(|name| self.flow(name).is_none()) {
            return Err(Error::State(gone.to_owned()));
        }
        let unsaid = nothing_said();
        let input = Input { text: "", seq, understanding: &unsaid, parts: &[], today, choice: None };
        Ok(Exchange::new(self, state, input, bank, knowledge).remind().await?)
    }

    pub(super) fn by_intent(&self, intent: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.intents.iter().any(|one| one == intent))
    }

    /// The commonest wishes as buttons.
    pub(super) fn wishes(&self) -> Vec<Choice> {
        self.words
            .wishes
            .iter()
            .filter_map(|name| self.flow(name))
            .map(|flow| Choice::new(flow.title.clone(), format!("start:{}", flow.name)))
            .collect()
    }

    /// What is said when a person takes over on request.
    pub(super) fn human_text(&self) -> String {
        self.flow(TALK_TO_HUMAN)
            .and_then(|flow| {
                flow.steps.iter().find_map(|step| match &step.does {
                    Does::HandOff { text } => Some(text.text().to_owned()),
                    _ => None,
                })
            })
            .unwrap_or_else(|| self.words.hand_off_needs_person.clone())
    }

    /// Every text that flows and manager say by themselves.
    pub(super) fn own_texts(&self, mut each: impl FnMut(&str)) {
        each(&self.words.greeting);
        self.chinese.texts().chain(self.others.texts()).for_each(&mut each);
        for flow in self.flows.iter() {
            flow.opening.iter().for_each(|text| each(text));
            for slot in &flow.slots {
                each(slot.ask.text());
                each(slot.help.text());
                each(&slot.why);
                slot.none.iter().chain(&slot.unfit).for_each(|text| each(text));
            }
            for step in &flow.steps {
                match &step.does {
                    Does::Say { text, .. } | Does::HandOff { text } | Does::End { text } => each(text.text()),
                    Does::Act { confirm, declined, undo, .. } => {
                        confirm.iter().for_each(|text| each(text.text()));
                        declined.iter().chain(undo).for_each(|text| each(text));
                    }
                    Does::Ask { .. } | Does::Tell { .. } | Does::Start { .. } => {}
                }
            }
        }
    }
}

/// What is understood of a silence.
fn nothing_said() -> Understanding {
    Understanding {
        text: String::new(),
        read_as: None,
        intent: String::new(),
        confidence: 0.0,
        in_scope: false,
        sentiment: Sentiment::Neutral,
        sentiment_score: 0.0,
        entities: Vec::new(),
        alternatives: Vec::new(),
        embedding: Vec::new(),
        model_version: String::new(),
    }
}
