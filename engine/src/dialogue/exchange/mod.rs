//! One exchange: a message comes in, the state changes, actions go out.

mod advance;
mod chinese;
mod consult;
mod foreign;
mod ground;
mod open;
mod operate;
mod records;
mod repair;
mod within;

use super::action::{Action, Choice, HandOffReason, SummaryCard};
use super::answer::Found;
use super::bank::{Bank, BankError, CustomerId, Refusal};
use super::flow::{Flow, Slot, Values};
use super::knowledge::Knowledge;
use super::manager::{Input, Manager, Turn};
use super::state::{Asked, Heard, Language, PastTurn, Request, Run, State, Value};
use super::summary::{Line, Note, excerpt};
use super::words::{put, tidy};

/// Misunderstandings in a row after which a person takes over.
const FAILURES: u8 = 2;
/// Confidence from which an intent starts a flow.
const START: f32 = 0.5;
/// Confidence from which an intent counts against an answer that would also be valid.
const CERTAIN: f32 = 0.85;

/// What is known while one message is answered.
pub(super) struct Exchange<'m> {
    manager: &'m Manager,
    input: Input<'m>,
    bank: &'m dyn Bank,
    knowledge: &'m dyn Knowledge,
    state: State,
    actions: Vec<Action>,
    notes: Vec<Note>,
    ground: ground::Ground,
    /// Whether a flow ended in this exchange, so that "anything else?" is due.
    ended: bool,
}

impl<'m> Exchange<'m> {
    pub(super) fn new(
        manager: &'m Manager,
        state: State,
        input: Input<'m>,
        bank: &'m dyn Bank,
        knowledge: &'m dyn Knowledge,
    ) -> Self {
        Self {
            manager,
            input,
            bank,
            knowledge,
            state,
            actions: Vec::new(),
            notes: Vec::new(),
            ground: ground::Ground::default(),
            ended: false,
        }
    }

    /// Answers the message.
    pub(super) async fn take(mut self) -> Result<Turn, BankError> {
        self.begin();
        if self.state.handed_off {
            let chinese = self.state.language == Language::Chinese;
            let words = if chinese { &self.manager.chinese.waiting } else { &self.manager.words.waiting };
            self.say(words.clone());
        } else if let (None, Some(english)) = (self.input.choice, &self.input.understanding.read_as) {
            self.answer_in_chinese(english).await?;
        } else {
            match self.input.choice {
                Some(choice) => self.press(choice).await?,
                None => self.hear().await?,
            }
            if !self.state.handed_off {
                self.advance().await?;
                self.close();
                self.console();
            }
        }
        self.check_grounds();
        Ok(self.end())
    }

    /// Breaks a silence: see [`Manager::silence`].
    pub(super) async fn remind(mut self) -> Result<Option<Turn>, BankError> {
        let waits = matches!(&self.state.asked, Some(asked) if *asked != Asked::Else);
        self.state.silences = self.state.silences.saturating_add(1);
        if !waits || self.state.handed_off || self.state.finished {
            return Ok(None);
        }
        match self.state.silences {
            1 => {
                self.say(self.manager.words.still_there.clone());
                self.advance().await?;
            }
            2 => self.say(self.manager.words.left_open.clone()),
            _ => return Ok(None),
        }
        self.check_grounds();
        Ok(Some(Turn { state: self.state, actions: self.actions }))
    }

    fn begin(&mut self) {
        self.state.finished = false;
        self.state.silences = 0;
        self.ground.add(self.input.text);
        self.state.mood.push_back(self.input.understanding.sentiment_score);
        while self.state.mood.len() > 3 {
            self.state.mood.pop_front();
        }
        if let Some(done) = &mut self.state.last_done {
            done.age = done.age.saturating_add(1);
        }
    }

    /// Nothing runs and nothing was asked any more: the customer is asked for another wish.
    fn close(&mut self) {
        let asks = self.actions.iter().any(|action| matches!(action, Action::Ask { .. } | Action::HandOff { .. }));
        if self.ended && !asks && self.state.stack.is_empty() {
            self.say(self.manager.words.anything_else.clone());
            self.state.asked = Some(Asked::Else);
        }
        if self.actions.is_empty() {
            self.offer_wishes(self.manager.words.hello.clone());
        }
    }

    fn end(mut self) -> Turn {
        let turn = PastTurn {
            seq: self.input.seq,
            customer: self.input.text.to_owned(),
            assistant: self.actions.iter().map(|action| action.text().to_owned()).collect(),
            notes: std::mem::take(&mut self.notes),
        };
        self.state.remember(turn);
        Turn { state: self.state, actions: self.actions }
    }

    // What is running.

    fn run(&self) -> Option<&Run> {
        self.state.stack.last()
    }

    fn run_mut(&mut self) -> Option<&mut Run> {
        self.state.stack.last_mut()
    }

    fn flow(&self) -> Option<&'m Flow> {
        self.run().and_then(|run| self.manager.flow(&run.flow))
    }

    fn asked_slot(&self) -> Option<&'m Slot> {
        match &self.state.asked {
            Some(Asked::Slot { slot }) => self.flow()?.slot(slot),
            _ => None,
        }
    }

    fn customer(&self) -> Option<&CustomerId> {
        self.state.identified.as_ref()
    }

    /// Starts a flow on top of what is running.
    fn start(&mut self, request: Request) {
        let Some(flow) = self.manager.flow(&request.flow) else { return };
        let words = request.heard.first().map(|heard| heard.text.clone()).unwrap_or_default();
        let seq = request.heard.first().map_or(self.input.seq, |heard| heard.seq);
        if flow.name != super::flow::IDENTIFY {
            let text = if words.is_empty() {
                flow.title.clone()
            } else {
                format!("{}: “{}”", flow.title, excerpt(&words))
            };
            self.notes.push(Note::Problem(Line { text, seq, about: String::new() }));
        }
        self.state.failures = 0;
        self.state.asked = None;
        self.state.stack.push(Run {
            flow: flow.name.clone(),
            title: flow.title.clone(),
            started: seq,
            heard: request.heard,
            ..Run::default()
        });
    }

    fn request(&self, flow: &Flow, text: &str) -> Request {
        Request {
            flow: flow.name.clone(),
            title: flow.title.clone(),
            heard: vec![Heard { text: text.to_owned(), seq: self.input.seq, used: Vec::new() }],
        }
    }

    /// Gives a slot of the running flow a value. What depended on it is dropped.
    fn fill(&mut self, slot: &Slot, value: Value) {
        let started = self.run().map_or(0, |run| run.started);
        let about = format!("{started}:{}", slot.name);
        let shown = if slot.private { "given".to_owned() } else { value.shown.clone() };
        // What was said to be identified is compared and then of no use to anybody who reads the summary.
        if self.run().is_some_and(|run| run.flow != super::flow::IDENTIFY) {
            self.notes.push(Note::Fact(Line {
                text: format!("{}: {}", slot.label, excerpt(&shown)),
                seq: value.seq,
                about,
            }));
        }
        self.state.failures = 0;
        let resets = match self.run_mut() {
            Some(run) => {
                let changed = run.slots.get(&slot.name).is_some_and(|before| before.value != value.value);
                run.slots.insert(slot.name.clone(), value);
                run.confirmed = None;
                run.offered.clear();
                if changed { slot.resets.as_slice() } else { &[] }
            }
            None => &[],
        };
        for name in resets {
            self.drop_slot(name);
        }
    }

    fn drop_slot(&mut self, name: &str) {
        let about = format!("{}:{name}", self.run().map_or(0, |run| run.started));
        let mut dropped = false;
        if let Some(run) = self.run_mut() {
            dropped = run.slots.remove(name).is_some();
            run.tried.insert(name.to_owned());
            run.confirmed = None;
        }
        if dropped {
            self.notes.push(Note::Dropped { about });
        }
    }

    fn value(&self, found: &Found) -> Value {
        Value {
            value: found.value.clone(),
            shown: found.shown.clone(),
            fields: Default::default(),
            seq: self.input.seq,
        }
    }

    // What is said.

    fn say(&mut self, text: impl AsRef<str>) {
        self.say_with(text, Vec::new());
    }

    fn say_with(&mut self, text: impl AsRef<str>, choices: Vec<Choice>) {
        let text = tidy(text.as_ref());
        if !text.is_empty() {
            self.actions.push(Action::Say { text, citations: Vec::new(), choices });
        }
    }

    fn ask(&mut self, asked: Asked, text: impl AsRef<str>, choices: Vec<Choice>, summary: Option<SummaryCard>) {
        self.state.asked = Some(asked);
        let slot = self.state.asked().unwrap_or_default().to_owned();
        self.actions.push(Action::Ask { slot, text: tidy(text.as_ref()), choices, summary });
    }

    fn offer_wishes(&mut self, text: String) {
        let choices = self.manager.wishes();
        self.say_with(text, choices);
    }

    fn hand_off(&mut self, reason: HandOffReason, text: impl AsRef<str>) {
        self.state.handed_off = true;
        self.state.asked = None;
        self.note_open(format!("Handed over: {}", reason.as_str().replace('_', " ")));
        self.actions.push(Action::HandOff { reason, text: tidy(text.as_ref()) });
    }

    fn note_open(&mut self, text: String) {
        self.notes.push(Note::Open(Line { text, seq: self.input.seq, about: String::new() }));
    }

    /// The words for a refusal of the bank, and whether a person takes over.
    fn refused(&mut self, refusal: Refusal) -> Result<(), BankError> {
        match refusal {
            Refusal::NotPossible(text) => {
                self.ground.add(&text);
                self.note_open(format!("Not possible: {text}"));
                self.say(text);
                self.state.stack.pop();
                self.ended = true;
                Ok(())
            }
            Refusal::NeedsPerson(text) => {
                self.ground.add(&text);
                let text = format!("{text} {}", self.manager.words.hand_off_needs_person);
                self.hand_off(HandOffReason::NeedsPerson, text);
                Ok(())
            }
            Refusal::Unavailable(cause) => Err(BankError::Unavailable(cause)),
        }
    }

    /// A sentence of the manager with the running flow's wish in it.
    fn with_wish(&self, sentence: &str, flow: &Flow) -> String {
        put(sentence, "wish", &flow.wish)
    }
}

/// A run's values for conditions: as operations know them.
pub(super) struct Raw<'a> {
    pub(super) run: &'a Run,
    pub(super) identified: bool,
}

impl Values for Raw<'_> {
    fn identified(&self) -> bool {
        self.identified
    }

    fn value(&self, slot: &str, field: Option<&str>) -> Option<&str> {
        let value = self.run.slots.get(slot)?;
        match field {
            None => Some(&value.value),
            Some(field) => value.fields.get(field).map(String::as_str),
        }
    }
}

/// A run's values for texts: in words for the customer.
pub(super) struct Shown<'a>(pub(super) &'a Run);

impl Values for Shown<'_> {
    fn identified(&self) -> bool {
        false
    }

    fn value(&self, slot: &str, field: Option<&str>) -> Option<&str> {
        let value = self.0.slots.get(slot)?;
        match field {
            None => Some(&value.shown),
            Some(field) => value.fields.get(field).map(String::as_str),
        }
    }
}
