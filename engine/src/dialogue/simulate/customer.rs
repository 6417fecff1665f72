//! A customer who is simulated: reads what is asked, answers in words of their own, slips, corrects, digresses.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::action::{Action, Choice};
use super::super::flow::{Flow, SlotKind};
use super::super::manager::Manager;
use super::super::state::State;
use super::goal::{Ending, Goal, Meant, Twist};
use super::wording::{Wording, mistyped};

/// A message of the customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) text: String,
    /// The button that was pressed instead of writing.
    pub(super) choice: Option<String>,
    /// Nothing is written for a while.
    pub(super) silence: bool,
}

impl Saying {
    fn words(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn button(choice: &Choice) -> Self {
        Self { text: choice.label.clone(), choice: Some(choice.value.clone()), silence: false }
    }
}

/// A customer within a conversation.
pub(super) struct Customer<'w> {
    pub(super) goal: Goal<'w>,
    /// The ending the customer brought about, where it is not the plain one.
    pub(super) ended: Option<Ending>,
    /// What each slot must hold by what was said until now; wrong for a while where a correction is on its way.
    pub(super) said: BTreeMap<String, String>,
    /// Twists that took place.
    pub(super) lived: Vec<Twist>,
    wording: &'w Wording,
    random: ChaCha8Rng,
    opened: bool,
    /// A slot that was answered wrongly and is corrected next.
    fix: Option<String>,
    /// The slot answered last, and how often in a row.
    last: Option<(String, u8)>,
    /// Questions answered.
    answers: usize,
    /// The answer with which an ending other than the plain one begins.
    leaves_at: usize,
    /// Confirmations of the plan's operations that were given or refused.
    confirmed: usize,
    /// The last summary that was agreed to.
    agreed_to: Option<String>,
    farewell: bool,
}

impl<'w> Customer<'w> {
    pub(super) fn new(wording: &'w Wording, seed: u64) -> Option<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let goal = Goal::draw(wording, &mut random)?;
        let leaves_at = random.random_range(1..6);
        Some(Self {
            goal,
            ended: None,
            said: BTreeMap::new(),
            lived: Vec::new(),
            wording,
            random,
            opened: false,
            fix: None,
            last: None,
            answers: 0,
            leaves_at,
            confirmed: 0,
            agreed_to: None,
            farewell: false,
        })
    }

    /// The next message after these actions; none when the customer leaves.
    pub(super) fn next(&mut self, manager: &Manager, state: &State, actions: &[Action]) -> Option<Saying> {
        if state.handed_off || state.finished || self.farewell {
            return None;
        }
        if !self.opened {
            self.opened = true;
            let opening = self.goal.opening.clone();
            return Some(Saying::words(self.typed(&opening, 0.25)));
        }
        let asked = state.asked().unwrap_or_default().to_owned();
        let question = actions.iter().rev().find(|action| matches!(action, Action::Ask { .. }));
        let choices = question.map(|question| question.choices().to_vec()).unwrap_or_default();
        let flow = manager.flow(&self.goal.flow);
        if let Some(slot) = self.fix.take()
            && !matches!(asked.as_str(), "" | "else" | "offer")
        {
            return Some(self.correct(flow, &slot));
        }
        match asked.as_str() {
            "" => None,
            "else" => self.leave(),
            "offer" => Some(self.offered(&choices)),
            "change" => self.choose_change(&choices),
            "confirm" => Some(self.confirm(flow, question.map(Action::text).unwrap_or_default())),
            slot => self.answer(flow, slot, &choices),
        }
    }

    /// Whether a twist takes place here: it was planned, has not happened yet, and the coin says so.
    fn twist(&mut self, twist: Twist, likely: f64) -> bool {
        let happens =
            self.goal.twists.contains(&twist) && !self.lived.contains(&twist) && self.random.random_bool(likely);
        if happens {
            self.lived.push(twist);
        }
        happens
    }

    fn phrase(&mut self, kind: &str, places: &[(&str, &str)]) -> String {
        self.wording.phrase(kind, places, &mut self.random)
    }

    /// The text, with a slip now and then.
    fn typed(&mut self, text: &str, likely: f64) -> String {
        if self.random.random_bool(likely) { mistyped(text, &mut self.random) } else { text.to_owned() }
    }

    /// Everything is done: perhaps a change of mind, then a goodbye.
    fn leave(&mut self) -> Option<Saying> {
        let done = !self.goal.operations().is_empty() && self.confirmed >= self.goal.operations().len();
        if done && self.twist(Twist::Regret, 0.9) {
            return Some(Saying::words(self.phrase("regret", &[])));
        }
        if self.random.random_bool(0.5) {
            return None;
        }
        self.farewell = true;
        Some(Saying::words(self.phrase("done", &[])))
    }

    /// An offer: taken if it is what the customer came for, else refused.
    fn offered(&mut self, choices: &[Choice]) -> Saying {
        let start = format!("start:{}", self.goal.flow);
        match choices.iter().find(|choice| choice.value == start) {
            Some(choice) if !self.lived.contains(&Twist::Regret) => Saying::button(choice),
            _ => Saying::words("no thanks"),
        }
    }

    /// "What should I change?" is answered with the value that is wrong.
    fn choose_change(&mut self, choices: &[Choice]) -> Option<Saying> {
        let wrong = self.said.keys().find(|slot| choices.iter().any(|choice| choice.value == format!("change:{slot}")));
        let value = format!("change:{}", wrong?);
        choices.iter().find(|choice| choice.value == value).map(Saying::button)
    }

    /// The summary is agreed to, or something in it changed first.
    fn confirm(&mut self, flow: Option<&Flow>, question: &str) -> Saying {
        if let Some(saying) = self.aside(true) {
            return saying;
        }
        if self.confirmed == 0
            && self.twist(Twist::Change, 0.9)
            && let Some(saying) = self.change(flow)
        {
            return saying;
        }
        self.answers += 1;
        // The same question again: the yes to it was not understood.
        if self.agreed_to.as_deref() != Some(question) {
            self.agreed_to = Some(question.to_owned());
            self.confirmed += 1;
        }
        let second = self.goal.flow == "block_card" && self.confirmed == 2;
        if second && !self.goal.replacement {
            return Saying::words(self.phrase("no", &[]));
        }
        let yes = self.phrase("yes", &[]);
        Saying::words(self.typed(&yes, 0.05))
    }

    /// The customer changes their mind about a value that was summed up.
    fn change(&mut self, flow: Option<&Flow>) -> Option<Saying> {
        let slots: Vec<String> = self.said.keys().filter(|slot| self.alternative(slot).is_some()).cloned().collect();
        let slot = slots.choose(&mut self.random)?.clone();
        let meant = self.alternative(&slot)?;
        self.mean(flow, &slot, meant);
        Some(self.correction("change", flow, &slot))
    }

    /// From now on the customer means this.
    fn mean(&mut self, flow: Option<&Flow>, slot: &str, meant: Meant) {
        self.said.insert(slot.to_owned(), meant.value.clone());
        let resets = flow.and_then(|flow| flow.slot(slot)).map(|slot| slot.resets.clone()).unwrap_or_default();
        for name in &resets {
            self.said.remove(name);
            self.goal.given.retain(|given| given != name);
        }
        self.goal.meant.insert(slot.to_owned(), meant);
    }

    /// Another value the customer might have meant.
    fn alternative(&self, slot: &str) -> Option<Meant> {
        let mut random = self.random.clone();
        let now = self.goal.meant.get(slot)?;
        let others: Vec<Meant> = self
            .wording
            .meanings(&self.goal.flow, slot, &self.goal.person.key)
            .map(|meaning| meaning.meant(&mut random))
            .filter(|meant| meant.value != now.value)
            .collect();
        others.choose(&mut random).cloned()
    }

    /// Something else than an answer: a question, abuse, silence, the end.
    fn aside(&mut self, may_talk_nonsense: bool) -> Option<Saying> {
        if self.answers >= self.leaves_at {
            match self.goal.ending {
                Ending::Cancelled => {
                    self.ended = Some(Ending::Cancelled);
                    return Some(Saying::words(self.phrase("cancel", &[])));
                }
                Ending::Person => {
                    self.ended = Some(Ending::Person);
                    return Some(Saying::words(self.phrase("person", &[])));
                }
                Ending::Nonsense if may_talk_nonsense => {
                    self.ended = Some(Ending::Nonsense);
                    return Some(Saying::words(self.phrase("nonsense", &[])));
                }
                _ => {}
            }
        }
        if self.twist(Twist::Digress, 0.3) {
            return Some(Saying::words(self.phrase("digression", &[])));
        }
        if self.twist(Twist::Insult, 0.3) {
            return Some(Saying::words(self.phrase("insult", &[])));
        }
        if self.twist(Twist::Silence, 0.3) {
            return Some(Saying { silence: true, ..Saying::default() });
        }
        None
    }

    /// The answer to a slot's question.
    fn answer(&mut self, flow: Option<&Flow>, slot: &str, choices: &[Choice]) -> Option<Saying> {
        let own = flow.and_then(|flow| flow.slot(slot));
        let own_words = own.is_some_and(|slot| matches!(slot.kind, SlotKind::Text { .. }));
        let yes_no = own.is_some_and(|slot| matches!(slot.kind, SlotKind::YesNo));
        if let Some(saying) = self.aside(!own_words) {
            return Some(saying);
        }
        if self.twist(Twist::Why, 0.3) {
            let name = slot.replace('_', " ");
            return Some(Saying::words(self.phrase("why", &[("slot", &name)])));
        }
        self.answers += 1;
        let again = match &mut self.last {
            Some((last, count)) if *last == slot => {
                *count += 1;
                *count
            }
            _ => {
                self.last = Some((slot.to_owned(), 1));
                1
            }
        };
        if again > 6 {
            return None;
        }
        if let Some(ways) = self.of_person(slot) {
            let way = ways.choose(&mut self.random)?.clone();
            return Some(Saying::words(way));
        }
        let operations = !self.goal.operations().is_empty();
        if operations
            && !own_words
            && !yes_no
            && again == 1
            && self.goal.ending == Ending::Served
            && self.alternative(slot).is_some()
            && self.twist(Twist::Correct, 0.4)
        {
            let wrong = self.alternative(slot)?;
            self.said.insert(slot.to_owned(), wrong.value.clone());
            self.fix = Some(slot.to_owned());
            return Some(Saying::words(wrong.ways.choose(&mut self.random)?.clone()));
        }
        let meant = self.goal.meant.get(slot)?.clone();
        let button = choices.iter().find(|choice| {
            choice.value == format!("set:{slot}:{}", meant.value)
                || (slot == "card" && choice.value.starts_with("set:card:") && choice.label.contains(&meant.value))
        });
        if let Some(button) = button
            && (again > 1 || self.random.random_bool(0.15))
        {
            self.said.insert(slot.to_owned(), meant.value);
            return Some(Saying::button(button));
        }
        let way = if again > 1 { meant.ways.first() } else { meant.ways.choose(&mut self.random) }?.clone();
        if own_words {
            let typed = self.typed(&way, 0.2);
            self.said.insert(slot.to_owned(), typed.clone());
            self.goal
                .meant
                .insert(slot.to_owned(), Meant { value: typed.clone(), ways: vec![typed.clone()], told: None });
            return Some(Saying::words(typed));
        }
        self.said.insert(slot.to_owned(), meant.value);
        let likely = if again > 1 { 0.0 } else { 0.2 };
        let typed = if way.contains('@') { way } else { self.typed(&way, likely) };
        Some(Saying::words(typed))
    }

    /// What the customer says to be identified.
    fn of_person(&self, slot: &str) -> Option<&'w Vec<String>> {
        let person = self.goal.person;
        match slot {
            "who" => Some(&person.who),
            "date_of_birth" => Some(&person.date_of_birth),
            "postcode" if !self.said.contains_key("street") => Some(&person.postcode),
            _ => None,
        }
    }

    /// The value that was given wrongly is put right.
    fn correct(&mut self, flow: Option<&Flow>, slot: &str) -> Saying {
        let Some(meant) = self.goal.meant.get(slot).cloned() else { return Saying::words("hm") };
        self.mean(flow, slot, meant);
        self.correction("named_correction", flow, slot)
    }

    /// The words of a correction: with the slot's name and, where it is not in the customer's own words, the value.
    fn correction(&mut self, kind: &str, flow: Option<&Flow>, slot: &str) -> Saying {
        let name = self.wording.name(&self.goal.flow, slot);
        let kind_of = flow.and_then(|flow| flow.slot(slot)).map(|slot| &slot.kind);
        let by_name = matches!(kind_of, Some(SlotKind::Text { .. } | SlotKind::YesNo));
        if by_name {
            self.said.remove(slot);
            return Saying::words(self.phrase("text_correction", &[("name", &name)]));
        }
        let way = self.goal.meant.get(slot).and_then(|meant| meant.bare().cloned()).unwrap_or_default();
        // A bare value is enough where nothing else that was said could be meant.
        let alone = !matches!(kind_of, Some(SlotKind::Money { .. } | SlotKind::Months { .. }));
        let kind =
            if alone && kind == "named_correction" && self.random.random_bool(0.5) { "correction" } else { kind };
        Saying::words(self.phrase(kind, &[("name", &name), ("v", &way)]))
    }
}
