//! Walking a flow: from the top, passing over what is done, until something must be asked.

use super::super::action::{Action, Choice, SummaryCard, SummaryRow};
use super::super::answer::{Listening, email, read, words};
use super::super::bank::BankError;
use super::super::flow::{Act, Does, Flow, IDENTIFY, Slot, SlotKind, Step, Template};
use super::super::state::{Asked, Done, Heard, Run, Value};
use super::super::summary::{Line, Note};
use super::records::{Record, Resolved};
use super::within::hinted;
use super::{Exchange, Raw, Shown};

/// Records shown as buttons.
const OFFERED: usize = 5;

/// What a step left to do.
pub(super) enum After {
    /// It is done: the walk goes on.
    Pass,
    /// Something changed: the walk begins again at the top.
    Again,
    /// It waits for the customer, or the flow has ended.
    Stop,
}

impl<'m> Exchange<'m> {
    /// Works on what is running until the customer must answer or nothing is left.
    pub(super) async fn advance(&mut self) -> Result<(), BankError> {
        loop {
            let waits = self.actions.iter().any(|action| matches!(action, Action::Ask { .. }));
            if waits || self.state.handed_off {
                return Ok(());
            }
            let Some(flow) = self.flow() else {
                // A flow that no longer exists is dropped.
                if self.state.stack.pop().is_some() {
                    continue;
                }
                if self.next_request() {
                    continue;
                }
                return Ok(());
            };
            self.open_flow(flow);
            if flow.identity && self.customer().is_none() {
                self.identify();
                continue;
            }
            if !self.walk(flow).await? {
                continue;
            }
            self.finish();
        }
    }

    fn open_flow(&mut self, flow: &Flow) {
        let Some(run) = self.run_mut() else { return };
        let resumed = std::mem::take(&mut run.resumed);
        let first = !std::mem::replace(&mut run.opened, true);
        if first {
            if let Some(opening) = flow.opening.clone() {
                self.say(opening);
            }
        } else if resumed {
            let text = self.with_wish(&self.manager.words.back_to, flow);
            self.say(text);
        }
    }

    /// Identification comes first; what the customer has said already may answer its questions.
    fn identify(&mut self) {
        let Some(flow) = self.manager.flow(IDENTIFY) else { return };
        let mut heard: Vec<Heard> = self.run().map(|run| run.heard.clone()).unwrap_or_default();
        // "Change my email to anna@example.com": that address says nothing about who asks.
        for heard in &mut heard {
            heard.used.extend(new_email(&heard.text).map(|span| (span.start, span.end)));
        }
        let mut request = self.request(flow, "");
        request.heard = heard;
        self.start(request);
    }

    /// The flow's steps are all done.
    fn finish(&mut self) {
        if let Some(run) = self.state.stack.pop() {
            self.state.asked = None;
            self.ended = self.ended || run.flow != IDENTIFY;
        }
    }

    /// One walk. Says whether the flow has ended by itself.
    async fn walk(&mut self, flow: &'m Flow) -> Result<bool, BankError> {
        for (at, step) in flow.steps.iter().enumerate() {
            if !self.applies(step) {
                continue;
            }
            match self.step(flow, at, step).await? {
                After::Pass => {}
                After::Again | After::Stop => return Ok(false),
            }
        }
        Ok(true)
    }

    fn applies(&self, step: &Step) -> bool {
        let identified = self.customer().is_some();
        match (&step.when, self.run()) {
            (Some(when), Some(run)) => when.holds(&Raw { run, identified }),
            _ => true,
        }
    }

    async fn step(&mut self, flow: &'m Flow, at: usize, step: &'m Step) -> Result<After, BankError> {
        match &step.does {
            Does::Ask { slot } => match flow.slot(slot) {
                Some(slot) => self.step_ask(slot).await,
                None => Ok(After::Pass),
            },
            Does::Say { text, offers } => {
                let text = self.filled(text);
                if self.once(format!("{at}:{text}")) {
                    let choices = self.offers(offers);
                    self.say_with(text, choices);
                }
                Ok(After::Pass)
            }
            Does::Tell { what } => {
                if self.once(format!("{at}")) {
                    self.tell(*what).await?;
                }
                Ok(After::Pass)
            }
            Does::Act { act: Act::Identify, .. } => self.check_identity().await,
            Does::Act { act, confirm, rows, undo, .. } => {
                let settled =
                    self.run().is_some_and(|run| run.performed.contains_key(&at) || run.declined.contains(&at));
                if settled {
                    return Ok(After::Pass);
                }
                let fingerprint = self.fingerprint(at);
                let confirmed = self.run().and_then(|run| run.confirmed.clone());
                if confirmed.as_deref() != Some(fingerprint.as_str()) {
                    self.ask_confirmation(flow, at, fingerprint, confirm.as_ref(), rows);
                    return Ok(After::Stop);
                }
                self.perform(at, *act, undo.clone()).await
            }
            Does::HandOff { .. } => {
                self.state.stack.pop();
                self.pass_to_person();
                Ok(After::Stop)
            }
            Does::Start { flow: name } => {
                if self.once(format!("{at}:start"))
                    && let Some(next) = self.manager.flow(name)
                {
                    let mut request = self.request(next, "");
                    request.heard.clear();
                    self.state.queue.push_front(request);
                }
                Ok(After::Pass)
            }
            Does::End { text } => {
                let text = self.filled(text);
                self.say(text);
                self.finish();
                Ok(After::Stop)
            }
        }
    }

    /// A text with the running flow's values.
    fn filled(&self, text: &Template) -> String {
        self.run().map(|run| text.fill(&Shown(run))).unwrap_or_default()
    }

    /// Whether this is the first time.
    fn once(&mut self, key: String) -> bool {
        self.run_mut().is_some_and(|run| run.said.insert(key))
    }

    fn offers(&self, names: &[String]) -> Vec<Choice> {
        names
            .iter()
            .filter_map(|name| self.manager.flow(name))
            .map(|flow| Choice::new(flow.title.clone(), format!("start:{}", flow.name)))
            .collect()
    }

    /// Sees to it that a slot is filled: from what was said before, from the only record that fits, or by asking.
    async fn step_ask(&mut self, slot: &'m Slot) -> Result<After, BankError> {
        if self.run().is_some_and(|run| run.slots.contains_key(&slot.name)) {
            return Ok(After::Pass);
        }
        let first = self.run_mut().is_some_and(|run| run.tried.insert(slot.name.clone()));
        if first {
            match self.fill_from_heard(slot).await? {
                After::Pass => {}
                after => return Ok(after),
            }
        }
        if slot.kind.is_record() {
            let records: Vec<Record> = self.records(slot).await?.into_iter().filter(|record| record.fits).collect();
            match records.as_slice() {
                [] => {
                    let text = slot.none.clone().unwrap_or_else(|| self.manager.words.not_found.clone());
                    self.say(text);
                    self.finish();
                    return Ok(After::Stop);
                }
                [one] if !matches!(slot.kind, SlotKind::Payment { .. }) => {
                    let value = one.value(self.input.seq);
                    self.fill(slot, value);
                    return Ok(After::Again);
                }
                _ => {}
            }
            let question = self.question(slot);
            // Payments are offered only once the first answer did not name one: there may be many.
            let shown = if matches!(slot.kind, SlotKind::Payment { .. }) && self.state.failures == 0 {
                records.get(..3.min(records.len())).unwrap_or_default()
            } else {
                records.as_slice()
            };
            self.ask_record(slot, shown, &question);
            return Ok(After::Stop);
        }
        let choices = match &slot.kind {
            SlotKind::Choice { choices } => choices
                .iter()
                .map(|choice| Choice::new(choice.label.clone(), format!("set:{}:{}", slot.name, choice.value)))
                .collect(),
            SlotKind::YesNo => vec![
                Choice::new("Yes", format!("set:{}:yes", slot.name)),
                Choice::new("No", format!("set:{}:no", slot.name)),
            ],
            _ => Vec::new(),
        };
        let question = self.question(slot);
        let asked = Asked::Slot { slot: slot.name.clone() };
        self.ask(asked, question, choices, None);
        Ok(After::Stop)
    }

    /// The slot's question, in other words when the last answer was not understood.
    fn question(&self, slot: &Slot) -> String {
        let text = if self.state.failures > 0 { &slot.help } else { &slot.ask };
        self.filled(text)
    }

    /// Asks for a record with buttons for those that may be meant.
    pub(super) fn ask_record(&mut self, slot: &Slot, records: &[Record], question: &str) {
        let shown = records.get(..OFFERED.min(records.len())).unwrap_or_default();
        let choices = shown
            .iter()
            .map(|record| Choice::new(record.label.clone(), format!("set:{}:{}", slot.name, record.id)))
            .collect();
        if let Some(run) = self.run_mut() {
            run.offered = shown.iter().map(|record| record.id.clone()).collect();
        }
        let asked = Asked::Slot { slot: slot.name.clone() };
        self.ask(asked, question, choices, None);
    }

    /// Looks for a slot's value in what the customer wrote before anything was asked.
    async fn fill_from_heard(&mut self, slot: &'m Slot) -> Result<After, BankError> {
        let heard = self.run().map(|run| run.heard.clone()).unwrap_or_default();
        for (at, heard) in heard.iter().enumerate() {
            let named = (!slot.hints.is_empty() && hinted(slot, &heard.text)) || self.identifies(slot, &heard.text);
            if !slot.open && !named {
                continue;
            }
            if self.belongs_to_other(slot, &heard.text) {
                continue;
            }
            // Parts that already gave a value are blanked out.
            let mut text = heard.text.clone();
            for (start, end) in &heard.used {
                if text.get(*start..*end).is_some() {
                    text.replace_range(*start..*end, &" ".repeat(end - start));
                }
            }
            if slot.kind.is_record() {
                match self.resolve(slot, &text, Listening::Overheard).await? {
                    Resolved::One(record) => {
                        let value = record.value(heard.seq);
                        self.fill(slot, value);
                        if super::super::lexicon::means_all(&text) {
                            self.queue_others(slot).await?;
                        }
                        return Ok(After::Again);
                    }
                    Resolved::Several(records) if super::super::lexicon::means_all(&text) => {
                        if let Some(record) = records.first() {
                            let value = record.value(heard.seq);
                            self.fill(slot, value);
                            self.queue_others(slot).await?;
                            return Ok(After::Again);
                        }
                    }
                    Resolved::Several(records) => {
                        let question = self.question(slot);
                        self.ask_record(slot, &records, &question);
                        return Ok(After::Stop);
                    }
                    _ => {}
                }
                continue;
            }
            let currency = &self.manager.words.currency;
            if let Some(found) = read(slot, &text, Listening::Overheard, self.input.today, currency) {
                let value =
                    Value { value: found.value, shown: found.shown, fields: Default::default(), seq: heard.seq };
                self.fill(slot, value);
                let takes = matches!(
                    slot.kind,
                    SlotKind::Money { .. } | SlotKind::Months { .. } | SlotKind::Phone | SlotKind::Who
                );
                if takes && let Some(heard) = self.run_mut().and_then(|run| run.heard.get_mut(at)) {
                    heard.used.push((found.span.start, found.span.end));
                }
                return Ok(After::Again);
            }
        }
        Ok(After::Pass)
    }

    /// Whether a postcode in the text says who asks, because a customer number or a birthday stands beside it:
    /// "C-10023, born 14 March 1988, 10115".
    fn identifies(&self, slot: &Slot, text: &str) -> bool {
        let Some(flow) = self.flow().filter(|_| matches!(slot.kind, SlotKind::Postcode)) else { return false };
        let currency = &self.manager.words.currency;
        flow.slots.iter().any(|other| {
            matches!(other.kind, SlotKind::Who | SlotKind::Birthday)
                && read(other, text, Listening::Overheard, self.input.today, currency).is_some()
        })
    }

    /// Whether an amount that was heard is another slot's: "I want a loan, I earn 2400 a month" names an income, and
    /// nothing of what is to be borrowed.
    fn belongs_to_other(&self, slot: &Slot, text: &str) -> bool {
        let money = |slot: &Slot| matches!(slot.kind, SlotKind::Money { .. });
        let Some(flow) = self.flow().filter(|_| money(slot)) else { return false };
        let of_other = flow.slots.iter().any(|other| other.name != slot.name && money(other) && hinted(other, text));
        of_other && !hinted(slot, text)
    }

    /// What a confirmation is bound to: the step and every value at that moment.
    fn fingerprint(&self, step: usize) -> String {
        let mut text = step.to_string();
        if let Some(run) = self.run() {
            for (name, value) in &run.slots {
                text.push_str(&format!("|{name}={}", value.value));
            }
        }
        text
    }

    fn ask_confirmation(
        &mut self,
        flow: &Flow,
        step: usize,
        fingerprint: String,
        confirm: Option<&Template>,
        rows: &[String],
    ) {
        let Some(run) = self.run() else { return };
        let rows = rows
            .iter()
            .filter_map(|name| {
                let (slot, value) = (flow.slot(name)?, run.slots.get(name)?);
                let change = (!run.is_frozen(name)).then(|| format!("change:{name}"));
                Some(SummaryRow { label: slot.label.clone(), value: value.shown.clone(), change })
            })
            .collect();
        let text = confirm.map(|text| text.fill(&Shown(run))).unwrap_or_default();
        let card = SummaryCard { title: flow.title.clone(), rows };
        let choices = vec![Choice::new("Yes", "yes"), Choice::new("No", "no")];
        self.ask(Asked::Confirm { step, fingerprint }, text, choices, Some(card));
    }

    async fn perform(&mut self, at: usize, act: Act, undo: Option<String>) -> Result<After, BankError> {
        let Some(run) = self.run() else { return Ok(After::Stop) };
        let Some(operation) = super::operate::operation(
            act,
            run,
            self.customer().is_some(),
            self.input.today,
            &self.manager.words.currency,
        ) else {
            tracing::error!(flow = run.flow, step = at, "a confirmed operation lacks a value");
            self.ask_what_to_change();
            return Ok(After::Stop);
        };
        let key = format!("{}:{}:{at}", run.flow, run.started);
        let receipt = match self.bank.perform(self.state.identified.as_ref(), &key, &operation).await {
            Ok(receipt) => receipt,
            Err(refusal) => {
                self.refused(refusal)?;
                return Ok(After::Stop);
            }
        };
        self.state.last_done = Some(Done { flow: run.flow.clone(), text: receipt.text.clone(), undo, age: 0 });
        self.notes.push(Note::Done(Line { text: receipt.text.clone(), seq: self.input.seq, about: String::new() }));
        self.ground.add(&receipt.text);
        if let Some(run) = self.run_mut() {
            let used = run.slots.keys().cloned().collect();
            run.performed.insert(at, used);
            run.confirmed = None;
        }
        self.actions.push(Action::Act { operation, receipt });
        Ok(After::Again)
    }

    /// Keeps a run's heading for other flows that wait on it.
    pub(super) async fn queue_others(&mut self, slot: &'m Slot) -> Result<(), BankError> {
        let Some((flow, chosen)) = self.flow().zip(self.run().and_then(|run| run.slots.get(&slot.name)).cloned())
        else {
            return Ok(());
        };
        let SlotKind::Card { .. } = slot.kind else { return Ok(()) };
        let others = self.records(slot).await?;
        let words: Vec<String> =
            self.run().map(|run: &Run| run.heard.iter().map(|heard| heard.text.clone()).collect()).unwrap_or_default();
        for other in others.into_iter().filter(|record| record.fits && record.id != chosen.value) {
            let last4 = other.fields.get("last4").cloned().unwrap_or_default();
            let mut request = self.request(flow, &format!("the card ending {last4}"));
            request.heard.extend(words.iter().map(|text| self.heard(text)));
            self.state.queue.push_back(request);
        }
        Ok(())
    }
}

/// Where a text names a mail address that something is to be changed to: "to anna@example.com", "my new email is …".
fn new_email(text: &str) -> Option<std::ops::Range<usize>> {
    let (_, span) = email(text)?;
    let before = words(text.get(..span.start)?);
    let near = before.iter().rev().take(4).any(|word| word.text == "new");
    (near || before.last().is_some_and(|word| word.text == "to")).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_change_to_is_told_from_the_one_that_says_who_asks() {
        assert!(new_email("please change my email to anna@example.com").is_some());
        assert!(new_email("my new email address is anna@example.com").is_some());
        assert!(new_email("my email is anna@example.com and I moved house").is_none());
        assert!(new_email("I want to change my address").is_none());
    }
}
