//! Repair, alike in every flow: buttons, corrections, cancelling, reasons, persons, abuse, mood.

use super::super::action::{Choice, HandOffReason};
use super::super::answer::{Listening, find_phrase, read, words};
use super::super::bank::BankError;
use super::super::flow::{Does, Flow, IDENTIFY, Slot, SlotKind};
use super::super::lexicon;
use super::super::money::Money;
use super::super::state::{Asked, Language, Value};
use super::super::words::put;
use super::consult::PASSAGE;
use super::records::Resolved;
use super::within::negated;
use super::{Exchange, FAILURES};

/// Mean sentiment of the last three messages from which a person is offered.
const UNHAPPY: f32 = -0.5;

impl<'m> Exchange<'m> {
    /// Takes a button's value.
    pub(super) async fn press(&mut self, choice: &str) -> Result<(), BankError> {
        match choice.split_once(':') {
            None => match (choice, self.state.asked.clone()) {
                ("human", _) => self.pass_to_person(),
                ("cancel", _) => self.cancel(),
                ("why", _) => self.explain(),
                // Sent again after a failure: the question that waits is asked once more.
                ("again", _) => {}
                // The button's words are the passage's heading.
                (PASSAGE, _) => {
                    self.state.asked = None;
                    if !self.consult(self.input.text).await? {
                        self.decline(self.input.text);
                    }
                }
                ("wishes", _) => self.offer_wishes(self.manager.words.hello.clone()),
                ("yes", Some(Asked::Confirm { fingerprint, .. })) => self.confirm(&fingerprint),
                ("no", Some(Asked::Confirm { step, .. })) => self.decline_step(step),
                ("yes", Some(Asked::Offer { yes })) if yes != "yes" => Box::pin(self.press(&yes)).await?,
                ("no", Some(Asked::Slot { .. })) | ("yes", Some(Asked::Slot { .. })) => self.hear().await?,
                ("no", _) => {
                    self.state.asked = None;
                    self.ended = true;
                }
                _ => self.hear().await?,
            },
            Some(("start", name)) => {
                if let Some(flow) = self.manager.flow(name)
                    && !self.state.stack.iter().any(|run| run.flow == name)
                {
                    if let Some(run) = self.run_mut() {
                        run.resumed = true;
                    }
                    let mut request = self.request(flow, "");
                    request.heard.clear();
                    self.start(request);
                }
            }
            Some(("change", name)) => self.change(name),
            Some(("set", rest)) => {
                if let Some((slot, value)) = rest.split_once(':') {
                    self.set(slot, value).await?;
                }
            }
            Some(_) => self.hear().await?,
        }
        Ok(())
    }

    /// Sets a slot of the running flow from a button.
    async fn set(&mut self, name: &str, value: &str) -> Result<(), BankError> {
        let Some(slot) = self.flow().and_then(|flow| flow.slot(name)) else { return Ok(()) };
        if self.run().is_some_and(|run| run.is_frozen(name)) {
            return Ok(());
        }
        let filled =
            match &slot.kind {
                SlotKind::Choice { choices } => choices.iter().find(|choice| choice.value == value).map(|choice| {
                    Value { value: choice.value.clone(), shown: choice.label.clone(), ..Value::default() }
                }),
                SlotKind::YesNo => match value {
                    "yes" => Some(("yes", "Yes")),
                    "no" => Some(("no", "No")),
                    _ => None,
                }
                .map(|(value, shown)| Value {
                    value: value.to_owned(),
                    shown: shown.to_owned(),
                    ..Value::default()
                }),
                kind if kind.is_record() => {
                    let records = self.records(slot).await?;
                    records.into_iter().find(|record| record.fits && record.id == value).map(|record| Value {
                        value: record.id,
                        shown: record.shown,
                        fields: record.fields,
                        seq: 0,
                    })
                }
                _ => None,
            };
        if let Some(value) = filled {
            let value = Value { seq: self.input.seq, ..value };
            self.fill(slot, value);
        }
        Ok(())
    }

    /// Empties a slot, so that it is asked for again.
    pub(super) fn change(&mut self, name: &str) {
        let known = self.flow().is_some_and(|flow| flow.slot(name).is_some());
        let frozen = self.run().is_some_and(|run| run.is_frozen(name));
        if known && !frozen {
            self.drop_slot(name);
            self.state.asked = None;
            self.state.failures = 0;
        }
    }

    /// The customer agreed to what the summary card showed.
    pub(super) fn confirm(&mut self, fingerprint: &str) {
        let fingerprint = fingerprint.to_owned();
        self.state.failures = 0;
        self.state.asked = None;
        if let Some(run) = self.run_mut() {
            run.confirmed = Some(fingerprint);
        }
    }

    /// The customer does not want an operation: it is left out where the flow allows, or something is wrong with it.
    pub(super) fn decline_step(&mut self, step: usize) {
        let declined = self.flow().and_then(|flow| flow.steps.get(step)).and_then(|step| match &step.does {
            Does::Act { declined, .. } => declined.clone(),
            _ => None,
        });
        match declined {
            Some(text) => {
                if let Some(run) = self.run_mut() {
                    run.declined.insert(step);
                }
                self.state.failures = 0;
                self.state.asked = None;
                self.say(text);
            }
            None => self.ask_what_to_change(),
        }
    }

    pub(super) fn ask_what_to_change(&mut self) {
        let Some((flow, run)) = self.flow().zip(self.run()) else { return };
        let mut choices: Vec<Choice> = flow
            .slots
            .iter()
            .filter(|slot| run.slots.contains_key(&slot.name) && !run.is_frozen(&slot.name))
            .map(|slot| Choice::new(slot.label.clone(), format!("change:{}", slot.name)))
            .collect();
        choices.push(Choice::new("Stop, do nothing", "cancel"));
        self.state.failures = 0;
        let text = self.manager.words.what_to_change.clone();
        self.ask(Asked::Change, text, choices, None);
    }

    /// A correction while another slot is asked for: "no, the other card", "sorry, I meant 36 months".
    pub(super) async fn correct_other(&mut self, text: &str, asked: &Slot) -> Result<bool, BankError> {
        let (kept, denied) = negated(text);
        let (today, currency) = (self.input.today, self.manager.words.currency.as_str());
        // "Sorry, 14 March" may simply be the answer.
        let answers = !asked.kind.is_record()
            && !lexicon::means_other(text)
            && denied.is_empty()
            && read(asked, &kept, Listening::Asked, today, currency).is_some();
        let names_other = self.flow().zip(self.run()).is_some_and(|(flow, run)| {
            let among = words(text);
            flow.slots.iter().any(|slot| {
                slot.name != asked.name
                    && run.slots.contains_key(&slot.name)
                    && names(slot, &among)
                    && !names(asked, &among)
            })
        });
        if answers && !names_other {
            return Ok(false);
        }
        self.correct(text).await
    }

    /// Corrects an earlier slot that the words name. Says whether they did.
    pub(super) async fn correct_named(&mut self, text: &str) -> Result<bool, BankError> {
        let among = words(text);
        let named = self.flow().zip(self.run()).is_some_and(|(flow, run)| {
            flow.slots.iter().any(|slot| run.slots.contains_key(&slot.name) && names(slot, &among))
        });
        Ok(named && !lexicon::is_question(text) && self.correct(text).await?)
    }

    /// Corrects the choice or record that the message before gave, if the words hold another one ("sorry, I meant it never
    /// arrived"). Says whether they did.
    pub(super) async fn correct_newest(&mut self, text: &str) -> Result<bool, BankError> {
        let Some((flow, run)) = self.flow().zip(self.run()) else { return Ok(false) };
        let newest = run.slots.values().map(|value| value.seq).max();
        let given_before = |slot: &&Slot| {
            (slot.kind.is_record() || matches!(slot.kind, SlotKind::Choice { .. }))
                && !run.is_frozen(&slot.name)
                && run.slots.get(&slot.name).is_some_and(|value| Some(value.seq) == newest)
        };
        match flow.slots.iter().find(given_before) {
            Some(slot) => self.correct_slot(slot, &negated(text).0, false).await,
            None => Ok(false),
        }
    }

    /// Corrects an earlier slot from the words, if they name one or hold another value for one. Says whether they did.
    pub(super) async fn correct(&mut self, text: &str) -> Result<bool, BankError> {
        let Some((flow, run)) = self.flow().zip(self.run().cloned()) else { return Ok(false) };
        let (kept, denied) = negated(text);
        let among = words(&kept);
        let mut candidates: Vec<&'m Slot> =
            flow.slots.iter().filter(|slot| run.slots.contains_key(&slot.name) && !run.is_frozen(&slot.name)).collect();
        let denies_value = |slot: &Slot| {
            run.slots.get(&slot.name).is_some_and(|value| denied.iter().any(|text| same_number(slot, value, text)))
        };
        candidates.sort_by_key(|slot| {
            let seq = run.slots.get(&slot.name).map_or(0, |value| value.seq);
            (!denies_value(slot), !names(slot, &among), std::cmp::Reverse(seq))
        });
        let any_named = candidates.iter().any(|slot| denies_value(slot) || names(slot, &among));
        for slot in &candidates {
            let named = denies_value(slot) || names(slot, &among);
            if any_named && !named {
                break;
            }
            if self.correct_slot(slot, &kept, named).await? {
                return Ok(true);
            }
        }
        // The slot was named, but without a value: it is asked for again.
        let named = candidates
            .iter()
            .find(|slot| names(slot, &among) && (lexicon::corrects(text) || self.state.asked == Some(Asked::Change)));
        if let Some(slot) = named
            && !lexicon::is_question(text)
        {
            self.change(&slot.name);
            return Ok(true);
        }
        Ok(false)
    }

    async fn correct_slot(&mut self, slot: &'m Slot, text: &str, named: bool) -> Result<bool, BankError> {
        let before = self.run().and_then(|run| run.slots.get(&slot.name)).cloned().unwrap_or_default();
        let value = if slot.kind.is_record() {
            match self.resolve(slot, text, Listening::Asked).await? {
                Resolved::One(record) => {
                    Value { value: record.id, shown: record.shown, fields: record.fields, seq: self.input.seq }
                }
                Resolved::Several(records) => {
                    self.drop_slot(&slot.name);
                    let question = self.manager.words.which_other.clone();
                    self.ask_record(slot, &records, &question);
                    return Ok(true);
                }
                Resolved::Unfit | Resolved::Absent if named => {
                    self.say(slot.unfit.clone().unwrap_or_else(|| self.manager.words.not_found.clone()));
                    self.change(&slot.name);
                    return Ok(true);
                }
                _ => return Ok(false),
            }
        } else {
            let may = match slot.kind {
                // One's own words and a yes or no are corrected by naming them, and then asked for again.
                SlotKind::Text { .. } | SlotKind::YesNo => false,
                _ => true,
            };
            let listening = if named || lexicon::corrects(text) { Listening::Asked } else { Listening::Overheard };
            let found =
                may.then(|| read(slot, text, listening, self.input.today, &self.manager.words.currency)).flatten();
            match found {
                Some(found) => self.value(&found),
                None => return Ok(false),
            }
        };
        if value.value == before.value {
            return Ok(false);
        }
        let text = put(&put(&self.manager.words.changed, "label", &slot.label), "value", &value.shown);
        self.ground.add(&value.shown);
        self.fill(slot, value);
        self.say(text);
        Ok(true)
    }

    /// Stops what is running. What was done stays done, and is said.
    pub(super) fn cancel(&mut self) {
        // Identification alone is not what the customer wanted: the wish behind it stops too.
        while self.run().is_some_and(|run| run.flow == IDENTIFY) {
            self.state.stack.pop();
        }
        let Some(run) = self.state.stack.pop() else {
            self.offer_wishes(self.manager.words.nothing_to_cancel.clone());
            return;
        };
        self.state.asked = None;
        self.state.failures = 0;
        self.note_open(format!("Stopped by the customer: {}", run.title));
        match self.state.last_done.clone().filter(|_| !run.performed.is_empty()) {
            None => self.say(self.manager.words.cancelled.clone()),
            Some(done) => {
                self.ground.add(&done.text);
                let text = put(&self.manager.words.cancelled_after, "done", &done.text);
                self.say(text);
                if let Some(undo) = done.undo {
                    self.say_with(undo, vec![Choice::new("Talk to a person", "human")]);
                }
            }
        }
        self.ended = true;
    }

    /// Answers "why do you ask?", then the question comes again.
    pub(super) fn explain(&mut self) {
        match (&self.state.asked, self.asked_slot()) {
            (_, Some(slot)) => self.say(slot.why.clone()),
            (Some(Asked::Confirm { .. }), _) => {
                self.say("I ask so that nothing is done that you do not want. Only your yes starts it.");
            }
            _ => {
                let wish = self.flow().map_or_else(|| "help you".to_owned(), |flow: &Flow| flow.wish.clone());
                self.say(format!("I ask because I need it to {wish}."));
            }
        }
    }

    pub(super) fn pass_to_person(&mut self) {
        let text = match self.state.language {
            Language::English => self.manager.human_text(),
            Language::Chinese => self.manager.chinese.handed.clone(),
        };
        self.hand_off(HandOffReason::Asked, text);
    }

    /// Abuse: sorry and a person offered, the second time handed over. Says whether it was handed over.
    pub(super) fn insulted(&mut self) -> bool {
        self.state.insults = self.state.insults.saturating_add(1);
        if self.state.insults >= FAILURES {
            let text = self.manager.words.hand_off_unhappy.clone();
            self.hand_off(HandOffReason::Unhappy, text);
            return true;
        }
        let text = self.manager.words.sorry.clone();
        self.say_with(text, vec![Choice::new("Talk to a person", "human")]);
        false
    }

    /// Offers a person when the mood has fallen; when it stays down after that, a person takes over.
    pub(super) fn console(&mut self) {
        let mood = &self.state.mood;
        let three = mood.len() == 3;
        let mean = mood.iter().sum::<f32>() / 3.0;
        if !three || mean > UNHAPPY || self.state.insults > 0 || self.state.handed_off {
            return;
        }
        if std::mem::replace(&mut self.state.consoled, true) {
            // Offered before, and the message after it sounds no better.
            if self.state.mood.back().is_none_or(|last| *last > UNHAPPY) {
                return;
            }
            self.actions.retain(|action| !matches!(action, super::Action::Ask { .. }));
            let text = self.manager.words.hand_off_unhappy.clone();
            self.hand_off(HandOffReason::Unhappy, text);
            return;
        }
        let text = self.manager.words.unhappy.clone();
        let at = self.actions.len().saturating_sub(1);
        self.actions.insert(
            at,
            super::Action::Say { text, citations: Vec::new(), choices: vec![Choice::new("Talk to a person", "human")] },
        );
    }
}

/// Whether the text names a slot by its label or one of its words.
fn names(slot: &Slot, among: &[super::super::answer::Word]) -> bool {
    std::iter::once(&slot.label).chain(&slot.words).any(|name| find_phrase(among, name).is_some())
}

/// Whether a number in a text is a slot's present value.
fn same_number(slot: &Slot, value: &Value, text: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    match slot.kind {
        SlotKind::Money { .. } => {
            let minor = super::super::answer::amounts(text)
                .first()
                .map(|amount| Money::new(amount.minor, "").minor.to_string());
            minor.as_deref() == Some(value.value.as_str())
        }
        SlotKind::Card { .. } => value.fields.get("last4").is_some_and(|last4| *last4 == digits(text)),
        _ => {
            let text = digits(text);
            !text.is_empty() && (digits(&value.value) == text || digits(&value.shown).starts_with(&text))
        }
    }
}
