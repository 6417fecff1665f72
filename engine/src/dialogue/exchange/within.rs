//! A flow is running or something was asked: an answer, a confirmation, a repair, or something else altogether?

use super::super::action::HandOffReason;
use super::super::answer::{Found, Listening, find_exactly, read, words};
use super::super::bank::BankError;
use super::super::flow::{Flow, Slot, SlotKind};
use super::super::lexicon;
use super::super::state::{Asked, Value};
use super::open::{Wish, says};
use super::records::Resolved;
use super::{CERTAIN, Exchange, START};

impl<'m> Exchange<'m> {
    /// Understands a message that is not a button.
    pub(super) async fn hear(&mut self) -> Result<(), BankError> {
        let text = self.input.text;
        let understanding = self.input.understanding;
        if lexicon::asks_who_answers(text) {
            self.say(self.manager.words.greeting.clone());
            return Ok(());
        }
        let asked_for_person = understanding.intent == "talk_to_human" && understanding.confidence >= CERTAIN;
        if lexicon::wants_person(text)
            || (asked_for_person && !self.is_readable_answer(text) && !lexicon::refuses_person(text))
        {
            self.pass_to_person();
            return Ok(());
        }
        if lexicon::insults(text) {
            let running = !self.state.stack.is_empty();
            if self.insulted() || (running && words(text).len() <= 6) {
                return Ok(());
            }
        }
        match (&self.state.asked, self.state.stack.is_empty()) {
            (Some(Asked::Offer { yes }), _) => {
                let yes = yes.clone();
                self.hear_offer(&yes).await
            }
            (_, true) => self.open().await,
            _ => self.hear_within().await,
        }
    }

    /// Whether the text holds a value for what is asked: then it is an answer, whatever else the encoder thinks.
    fn is_readable_answer(&self, text: &str) -> bool {
        let (today, currency) = (self.input.today, self.manager.words.currency.as_str());
        self.asked_slot().is_some_and(|slot| read(slot, text, Listening::Asked, today, currency).is_some())
    }

    /// An offer was made: taken, refused, or passed over.
    async fn hear_offer(&mut self, yes: &str) -> Result<(), BankError> {
        let text = self.input.text;
        if lexicon::affirms(text) {
            return Box::pin(self.press(yes)).await;
        }
        if lexicon::denies(text) && words(text).len() <= 5 {
            self.state.asked = None;
            self.ended = true;
            return Ok(());
        }
        self.state.asked = None;
        if self.state.stack.is_empty() { self.open().await } else { self.hear_within().await }
    }

    async fn hear_within(&mut self) -> Result<(), BankError> {
        let (text, extras) = self.split();
        let text = text.as_str();
        if lexicon::cancels(text) {
            self.cancel();
        } else if lexicon::asks_why(text) {
            self.explain();
        } else {
            let understood = match self.state.asked.clone() {
                Some(Asked::Confirm { step, fingerprint }) => self.hear_confirmation(text, step, &fingerprint).await?,
                Some(Asked::Change) => self.hear_change(text).await?,
                _ => self.hear_answer(text).await?,
            };
            if !understood && !self.hear_other(text).await? {
                self.misunderstood();
            }
        }
        for (wish, words) in extras {
            match wish {
                Wish::Flow(flow) => {
                    let request = self.request(flow, &words);
                    self.state.queue.push_back(request);
                }
                Wish::Question => {
                    self.digress(&words).await?;
                }
            }
        }
        Ok(())
    }

    /// Parts of the message after the first that are wishes of their own, and the rest.
    fn split(&self) -> (String, Vec<(Wish<'m>, String)>) {
        let whole = (self.input.text.to_owned(), Vec::new());
        let own_words = self.asked_slot().is_some_and(|slot| matches!(slot.kind, SlotKind::Text { .. }));
        if own_words || self.input.parts.len() < 2 {
            return whole;
        }
        let mut main: Vec<&str> = Vec::new();
        let mut extras = Vec::new();
        for (at, part) in self.input.parts.iter().enumerate() {
            let other = match self.wish(part) {
                Some(Wish::Flow(flow)) => {
                    let running = self.state.stack.iter().any(|run| run.flow == flow.name);
                    (at > 0 && !running && flow.name != super::super::flow::TALK_TO_HUMAN).then_some(Wish::Flow(flow))
                }
                Some(Wish::Question) => (at > 0).then_some(Wish::Question),
                None => None,
            };
            match other {
                Some(wish) => extras.push((wish, part.text.clone())),
                None => main.push(part.text.trim()),
            }
        }
        if main.is_empty() || extras.is_empty() {
            return whole;
        }
        (main.join(" "), extras)
    }

    /// The answer to "shall I do it?". Only a plain yes performs anything.
    async fn hear_confirmation(&mut self, text: &str, step: usize, fingerprint: &str) -> Result<bool, BankError> {
        if lexicon::affirms(text) {
            self.confirm(fingerprint);
            return Ok(true);
        }
        if self.correct(text).await? {
            return Ok(true);
        }
        let understanding = self.input.understanding;
        let says_yes = understanding.intent == "affirm" && understanding.confidence >= CERTAIN;
        let plain = words(text).len() <= 6
            && !lexicon::negates(text)
            && !lexicon::corrects(text)
            && !lexicon::is_question(text)
            && !text.contains(|c: char| c.is_ascii_digit());
        if says_yes && plain {
            self.confirm(fingerprint);
            return Ok(true);
        }
        let says_no = understanding.intent == "deny" && understanding.confidence >= CERTAIN;
        if lexicon::denies(text) || says_no {
            self.decline_step(step);
            return Ok(true);
        }
        if lexicon::begins_with_no(text) {
            self.ask_what_to_change();
            return Ok(true);
        }
        Ok(false)
    }

    /// The answer to "what should I change?".
    async fn hear_change(&mut self, text: &str) -> Result<bool, BankError> {
        if self.correct(text).await? {
            return Ok(true);
        }
        if lexicon::denies(text) {
            self.cancel();
            return Ok(true);
        }
        Ok(false)
    }

    /// The answer to a slot's question, or a correction of an earlier one.
    async fn hear_answer(&mut self, text: &str) -> Result<bool, BankError> {
        let Some(slot) = self.asked_slot() else { return Ok(false) };
        let own_words = matches!(slot.kind, SlotKind::Text { .. });
        if own_words && self.is_clearly_other(text).await? {
            return Ok(true);
        }
        // "I want to complain" says once more what is being done, and nothing of what happened.
        if own_words && self.flow().is_some_and(|flow| only_names(flow, text)) {
            return Ok(false);
        }
        if own_words
            && lexicon::puts_right(text)
            && (self.correct_named(text).await? || self.correct_newest(text).await?)
        {
            return Ok(true);
        }
        let corrects = lexicon::corrects(text);
        if corrects && !own_words && self.correct_other(text, slot).await? {
            return Ok(true);
        }
        // "What if it was stolen?" is a question, although it names a choice; "are branches open on Sunday?", although
        // there was a payment on Sunday.
        if !own_words && lexicon::is_question(text) && words(text).len() > 4 && self.digress(text).await? {
            return Ok(true);
        }
        if slot.kind.is_record() {
            return self.answer_record(slot, text).await;
        }
        // "I want to apply for a loan for my car" is a wish, although it names a choice.
        if matches!(slot.kind, SlotKind::Choice { .. }) && lexicon::requests(text) && self.sure_of_other_flow() {
            return Ok(false);
        }
        let (today, currency) = (self.input.today, self.manager.words.currency.as_str());
        let heard = without_negated(text);
        let Some(found) = read(slot, &heard, Listening::Asked, today, currency) else {
            return Ok(self.overhear(text).await? || self.correct_named(text).await?);
        };
        let value = self.value(&found);
        self.fill(slot, value);
        self.overhear_rest(slot, &heard, &found);
        Ok(true)
    }

    /// Whether a message is certainly no answer in the customer's own words but a side question or another wish.
    async fn is_clearly_other(&mut self, text: &str) -> Result<bool, BankError> {
        let understanding = self.input.understanding;
        let asks = lexicon::is_question(text)
            && (lexicon::digresses(text)
                || (understanding.intent == "general_question" && understanding.confidence >= CERTAIN));
        if asks && self.digress(text).await? {
            return Ok(true);
        }
        if asks && lexicon::digresses(text) {
            return self.hear_other(text).await;
        }
        Ok(false)
    }

    fn sure_of_other_flow(&self) -> bool {
        let understanding = self.input.understanding;
        understanding.confidence >= CERTAIN
            && understanding.in_scope
            && self
                .manager
                .by_intent(&understanding.intent)
                .is_some_and(|flow| !self.state.stack.iter().any(|run| run.flow == flow.name))
    }

    /// An answer that names one of the customer's records.
    async fn answer_record(&mut self, slot: &'m Slot, text: &str) -> Result<bool, BankError> {
        match self.resolve(slot, text, Listening::Asked).await? {
            Resolved::One(record) => {
                let value = Value { value: record.id, shown: record.shown, fields: record.fields, seq: self.input.seq };
                self.fill(slot, value);
                if lexicon::means_all(text) {
                    self.queue_others(slot).await?;
                }
                Ok(true)
            }
            Resolved::Several(records) => {
                self.ask_record(slot, &records, slot.ask.text());
                self.state.failures = 0;
                Ok(true)
            }
            Resolved::Unfit => {
                let text = slot.unfit.clone().unwrap_or_else(|| self.manager.words.not_found.clone());
                self.say(text);
                Ok(false)
            }
            Resolved::Absent => {
                self.say(self.manager.words.not_found.clone());
                Ok(false)
            }
            Resolved::NotNamed => self.overhear(text).await,
        }
    }

    /// Takes values for other slots than the one asked for, where the words leave no doubt. Says whether there were any.
    async fn overhear(&mut self, text: &str) -> Result<bool, BankError> {
        let Some(flow) = self.flow() else { return Ok(false) };
        let (today, currency) = (self.input.today, self.manager.words.currency.as_str());
        let asked = self.state.asked().unwrap_or_default().to_owned();
        let mut any = false;
        for slot in &flow.slots {
            let filled = self.run().is_some_and(|run| run.slots.contains_key(&slot.name));
            if slot.name == asked || filled || slot.kind.is_record() || !hinted(slot, text) {
                continue;
            }
            if let Some(found) = read(slot, text, Listening::Overheard, today, currency) {
                let value = self.value(&found);
                self.fill(slot, value);
                any = true;
            }
        }
        Ok(any)
    }

    /// What the answer said beyond the value that was asked for.
    fn overhear_rest(&mut self, answered: &Slot, text: &str, found: &Found) {
        let Some(flow) = self.flow() else { return };
        if matches!(answered.kind, SlotKind::Text { .. } | SlotKind::YesNo) {
            return;
        }
        let (today, currency) = (self.input.today, self.manager.words.currency.as_str());
        // The value that was taken is blanked out, so that no number is taken twice.
        let mut rest = text.to_owned();
        if rest.get(found.span.clone()).is_some() {
            rest.replace_range(found.span.clone(), &" ".repeat(found.span.len()));
        }
        for slot in &flow.slots {
            let filled = self.run().is_some_and(|run| run.slots.contains_key(&slot.name));
            if filled || slot.kind.is_record() || matches!(slot.kind, SlotKind::Text { .. }) {
                continue;
            }
            let unmistakable = matches!(slot.kind, SlotKind::Email | SlotKind::Birthday)
                || (matches!(slot.kind, SlotKind::Months { .. }) && slot.open)
                // Who gives a customer number or a birthday and more is being identified: "C-10023, 12 April 1988, 10115".
                || (matches!(slot.kind, SlotKind::Postcode)
                    && matches!(answered.kind, SlotKind::Who | SlotKind::Birthday));
            if !unmistakable && !hinted(slot, &rest) {
                continue;
            }
            if let Some(more) = read(slot, &rest, Listening::Overheard, today, currency) {
                let value = self.value(&more);
                self.fill(slot, value);
                if rest.get(more.span.clone()).is_some() {
                    rest.replace_range(more.span.clone(), &" ".repeat(more.span.len()));
                }
            }
        }
    }

    /// Whether a message that answers nothing is a wish of its own. In the middle of a flow the encoder alone is not
    /// enough unless it is nearly certain: an answer that can not be read is more often that than another wish.
    fn may_leave_for(&self, flow: &Flow, text: &str) -> bool {
        const NEARLY_CERTAIN: f32 = 0.97;
        self.input.understanding.confidence >= NEARLY_CERTAIN
            || lexicon::is_question(text)
            || lexicon::requests(text)
            || says(flow, text)
    }

    /// Nothing in the flow explains the message: another wish, a side question, or small talk?
    async fn hear_other(&mut self, text: &str) -> Result<bool, BankError> {
        let understanding = self.input.understanding;
        match self.wish(understanding) {
            Some(Wish::Flow(flow))
                if !self.state.stack.iter().any(|run| run.flow == flow.name) && self.may_leave_for(flow, text) =>
            {
                if flow.name == super::super::flow::TALK_TO_HUMAN {
                    self.pass_to_person();
                    return Ok(true);
                }
                let request = self.request(flow, text);
                if let Some(run) = self.run_mut() {
                    run.resumed = true;
                }
                self.start(request);
                return Ok(true);
            }
            Some(Wish::Flow(_)) if understanding.confidence >= START => {
                // The wish that is being served, said again: the question is asked again.
                if matches!(self.state.asked, Some(Asked::Slot { .. })) {
                    return Ok(false);
                }
            }
            _ => {}
        }
        let asks = understanding.intent == "general_question" && understanding.confidence >= CERTAIN;
        if lexicon::is_question(text) || asks {
            return self.digress(text).await;
        }
        if lexicon::greets(text) || lexicon::thanks(text) {
            return Ok(true);
        }
        Ok(false)
    }

    /// Neither understood: once more in other words, then a person.
    fn misunderstood(&mut self) {
        self.state.failures = self.state.failures.saturating_add(1);
        if self.state.failures >= super::FAILURES {
            let text = self.manager.words.hand_off_misunderstood.clone();
            self.hand_off(HandOffReason::Misunderstood, text);
        }
    }
}

/// Whether a text is no more than the words that stand for a flow.
fn only_names(flow: &Flow, text: &str) -> bool {
    let among = words(text);
    let settles = |phrase: &&String| find_exactly(&among, phrase).is_some() && among.len() <= words(phrase).len() + 1;
    flow.settles.iter().any(|phrase| settles(&phrase))
}

/// Whether one of a slot's hints stands in the text; a slot without hints is hinted at by its words.
pub(super) fn hinted(slot: &Slot, text: &str) -> bool {
    let among = words(text);
    let hints = if slot.hints.is_empty() { &slot.words } else { &slot.hints };
    hints.iter().any(|hint| super::super::answer::find_phrase(&among, hint).is_some())
}

/// The text without what it denies: "500 not 50" becomes "500".
pub(super) fn without_negated(text: &str) -> String {
    let (kept, _) = negated(text);
    kept
}

/// The text without what it denies, and what it denies.
pub(super) fn negated(text: &str) -> (String, Vec<String>) {
    let among = words(text);
    let mut kept = text.to_owned();
    let mut denied = Vec::new();
    for (at, word) in among.iter().enumerate().rev() {
        let value_follows =
            |skip: usize| among.get(at + skip).filter(|next| next.text.chars().any(|c| c.is_ascii_digit()));
        let next = match word.text.as_str() {
            "not" => value_follows(1),
            "instead" | "rather" => among
                .get(at + 1)
                .filter(|next| matches!(next.text.as_str(), "of" | "than"))
                .and_then(|_| value_follows(2)),
            _ => None,
        };
        if let Some(next) = next {
            denied.push(next.text.clone());
            let range = word.span.start..next.span.end;
            if kept.get(range.clone()).is_some() {
                kept.replace_range(range.clone(), &" ".repeat(range.len()));
            }
        }
    }
    (kept, denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_left_out() {
        let (kept, denied) = negated("no, 500 not 50");
        assert_eq!((kept.trim_end(), denied), ("no, 500", vec!["50".to_owned()]));
        let (kept, denied) = negated("make it 24 months instead of 36 months");
        assert!(kept.contains("24 months") && !kept.contains("36"));
        assert_eq!(denied, ["36"]);
        assert_eq!(negated("it was not me").1, Vec::<String>::new());
    }
}
