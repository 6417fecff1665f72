//! A user simulator: thousands of customers who want something known, say it in words of their own, slip, correct
//! themselves, digress and change their minds. Seeded, so that a run can be repeated to the letter.
//!
//! The customer never reads the summary card before saying yes: whatever the dialogue took up wrongly is performed and
//! counted.

mod customer;
mod goal;
mod wording;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value as Json;

use super::action::Action;
use super::evaluate::Understand;
use super::knowledge::Knowledge;
use super::manager::{Input, Manager, Turn};
use super::memory::MemoryBank;
use super::state::State;
use super::watch::{Remembering, Watch, holds, share};
use customer::{Customer, Saying};
use goal::{Ending, Twist};
use wording::Wording;

/// Messages after which a customer gives up.
const PATIENCE: usize = 40;
/// Failed conversations that are told in full.
const TOLD: usize = 40;

/// Why nothing could be simulated.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the simulation found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Simulation {
    /// Conversations held.
    pub runs: usize,
    /// The first conversation's seed; each has the one after.
    pub seed: u64,
    /// Messages of customers.
    pub turns: usize,
    /// Share of conversations that reached their outcome: exactly the operations that were wanted, everything told that
    /// was asked for, nothing left running, a person where and only where one was due.
    pub outcomes: f64,
    /// Share of turns, while the customer's flow was worked on, after which every filled slot held what the customer had
    /// said and every slot answered was filled.
    pub joint_slot_accuracy: f64,
    /// Operations performed on another value than the customer meant at that moment, or not wanted at all. Must be 0.
    pub wrong_actions: usize,
    /// Replies that held something about a customer before anybody was identified. Must be 0.
    pub disclosures: usize,
    /// The same by flow.
    pub flows: BTreeMap<String, Part>,
    /// Conversations in which a twist took place, by the twist.
    pub twists: BTreeMap<&'static str, Part>,
    /// Conversations that went otherwise, the first of them.
    pub failures: Vec<Story>,
}

/// A part of the conversations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Part {
    /// Conversations.
    pub runs: usize,
    /// Those that reached their outcome.
    pub reached: usize,
}

/// A conversation that went otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// Its seed.
    pub seed: u64,
    /// The flow the customer came for.
    pub flow: String,
    /// What went wrong.
    pub problems: Vec<String>,
    /// Who said what.
    pub lines: Vec<String>,
}

/// Holds so many conversations, each against a fresh bank in memory.
///
/// # Errors
/// When the encoder stops or the articles can not be read.
pub async fn simulate(
    manager: &Manager,
    understand: &dyn Understand,
    knowledge: &dyn Knowledge,
    runs: usize,
    seed: u64,
    today: NaiveDate,
    mut progress: impl FnMut(usize),
) -> Result<Simulation, Error> {
    let wording = Wording::shipped()?;
    let stage = Stage { manager, understand: &Remembering::new(understand), knowledge, today };
    let mut found = Simulation { runs, seed, ..Simulation::default() };
    let (mut reached, mut slot_turns, mut slots_met) = (0, 0, 0);
    for (number, seed) in (1..=runs).zip(seed..) {
        let Some(mut customer) = Customer::new(&wording, seed) else { continue };
        let held = stage.hold(&mut customer).await?;
        found.turns += held.turns;
        slot_turns += held.slot_turns;
        slots_met += held.slots_met;
        found.wrong_actions += held.wrong_actions;
        found.disclosures += held.disclosures;
        let well = held.problems.is_empty();
        reached += usize::from(well);
        let flow = found.flows.entry(customer.goal.flow.clone()).or_default();
        flow.runs += 1;
        flow.reached += usize::from(well);
        for twist in Twist::ALL.into_iter().filter(|twist| customer.lived.contains(twist)) {
            let part = found.twists.entry(twist.name()).or_default();
            part.runs += 1;
            part.reached += usize::from(well);
        }
        if (!well || held.slots_met < held.slot_turns) && found.failures.len() < TOLD {
            found.failures.push(Story {
                seed,
                flow: customer.goal.flow.clone(),
                problems: held.problems,
                lines: held.lines,
            });
        }
        progress(number);
    }
    found.outcomes = share(reached, runs);
    found.joint_slot_accuracy = share(slots_met, slot_turns);
    Ok(found)
}

/// What one conversation came to.
#[derive(Debug, Default)]
struct Held {
    turns: usize,
    slot_turns: usize,
    slots_met: usize,
    wrong_actions: usize,
    disclosures: usize,
    problems: Vec<String>,
    lines: Vec<String>,
}

struct Stage<'a> {
    manager: &'a Manager,
    understand: &'a dyn Understand,
    knowledge: &'a dyn Knowledge,
    today: NaiveDate,
}

impl Stage<'_> {
    async fn turn(&self, state: State, saying: &Saying, seq: i64, bank: &MemoryBank) -> Result<Turn, Error> {
        if saying.silence {
            let said = self.manager.silence(state.clone(), seq, self.today, bank, self.knowledge).await?;
            return Ok(said.unwrap_or(Turn { state, actions: Vec::new() }));
        }
        let whole = self.understand.understand(&saying.text).await?;
        let mut parts = Vec::new();
        for clause in self.manager.clauses(&saying.text) {
            parts.push(self.understand.understand(clause).await?);
        }
        let input = Input {
            text: &saying.text,
            seq,
            understanding: &whole,
            parts: &parts,
            today: self.today,
            choice: saying.choice.as_deref(),
        };
        Ok(self.manager.next(state, input, bank, self.knowledge).await?)
    }

    async fn hold(&self, customer: &mut Customer<'_>) -> Result<Held, Error> {
        let bank = MemoryBank::demonstration(self.today);
        let mut watch = Watch::new(&bank);
        let mut held = Held::default();
        let mut state = State::default();
        let mut actions: Vec<Action> = vec![self.manager.greeting()];
        let mut told = String::new();
        while let Some(saying) = customer.next(self.manager, &state, &actions) {
            if held.turns >= PATIENCE {
                held.problems.push("the customer lost patience".to_owned());
                break;
            }
            held.turns += 1;
            let known_before = state.identified.is_some();
            let seq = i64::try_from(held.turns * 2).unwrap_or(i64::MAX);
            let turn = self.turn(state, &saying, seq, &bank).await?;
            state = turn.state;
            actions = turn.actions;
            watch.hear(&saying.text);
            let known = known_before || state.identified.is_some();
            let before = watch.operations.len();
            held.disclosures += watch.see(&actions, known).len();
            let wanted = customer.goal.operations();
            for (at, done) in watch.operations.iter().enumerate().skip(before) {
                if !wanted.get(at).is_some_and(|wanted| holds(done, wanted)) {
                    held.wrong_actions += 1;
                    held.problems.push(format!("wrong operation {done}"));
                }
            }
            held.lines.push(match (&saying.choice, saying.silence) {
                (_, true) => "(silence)".to_owned(),
                (Some(choice), _) => format!("> [{choice}]"),
                _ => format!("> {}", saying.text),
            });
            for action in &actions {
                told.push_str(action.text());
                told.push('\n');
                held.lines.push(format!("< {}", action.text()));
            }
            self.compare(customer, &state, &mut held);
        }
        if held.disclosures > 0 {
            held.problems.push("something was disclosed before identification".to_owned());
        }
        conclude(customer, &state, &watch, &told, &mut held);
        Ok(held)
    }

    /// Compares what is filled with what was said.
    fn compare(&self, customer: &Customer<'_>, state: &State, held: &mut Held) {
        let goal = &customer.goal;
        let identifying = matches!(state.asked(), Some("who" | "date_of_birth"))
            || (state.asked() == Some("postcode") && !customer.said.contains_key("street"));
        if customer.ended.is_some() || state.handed_off || identifying || state.flow() != Some(goal.flow.as_str()) {
            return;
        }
        held.slot_turns += 1;
        let filled = state.slots();
        let value = |slot: &str| match slot {
            "card" => filled.get("card.last4"),
            "application" => filled.get("application.reference"),
            slot => filled.get(slot),
        };
        let mut wrong = Vec::new();
        for (slot, said) in &customer.said {
            // What is asked for again, or for the first time, is empty by right.
            if state.asked() != Some(slot.as_str()) && value(slot) != Some(said) {
                wrong.push(format!("slot {slot} is {:?} instead of '{said}'", value(slot)));
            }
        }
        for (slot, meant) in goal.meant.iter().filter(|(slot, _)| !customer.said.contains_key(*slot)) {
            if value(slot).is_some_and(|value| *value != meant.value) {
                wrong.push(format!("slot {slot} is {:?} instead of '{}'", value(slot), meant.value));
            }
        }
        if let Some(slot) = goal.given.iter().find(|slot| {
            state.asked() == Some(slot.as_str()) && !customer.said.contains_key(*slot) && goal.meant.contains_key(*slot)
        }) {
            wrong.push(format!("slot {slot} was given with the first words and is asked for"));
        }
        match wrong.is_empty() {
            true => held.slots_met += 1,
            false => held.lines.push(format!("! {}", wrong.join("; "))),
        }
    }
}

/// Whether the conversation came to what the customer wanted.
fn conclude(customer: &Customer<'_>, state: &State, watch: &Watch, told: &str, held: &mut Held) {
    let goal = &customer.goal;
    let due = match customer.ended {
        Some(Ending::Person) => Some("asked"),
        Some(Ending::Nonsense) => Some("misunderstood"),
        _ => None,
    };
    if watch.handed_off.as_deref() != due {
        held.problems.push(format!("hand-over {:?} instead of {due:?}", watch.handed_off));
    }
    if let Some(flow) = state.flow().filter(|_| !state.handed_off) {
        held.problems.push(format!("{flow} is still running"));
    }
    if customer.ended.is_some() {
        return;
    }
    let wanted: Vec<Json> = goal.operations();
    if watch.operations.len() < wanted.len() {
        held.problems.push(format!("{} of {} operations performed", watch.operations.len(), wanted.len()));
    }
    for words in goal.told.iter().filter(|words| !told.contains(words.as_str())) {
        held.problems.push(format!("'{words}' was not told"));
    }
}
