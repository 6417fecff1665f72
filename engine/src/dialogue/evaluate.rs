//! Conversations with known ends: do they reach them, on the right values, without disclosing anything too early?
//!
//! The format of scenarios is described in `tests/dialogue/README.md`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::Action;
use super::knowledge::Knowledge;
use super::manager::{Input, Manager, Turn};
use super::memory::MemoryBank;
use super::state::State;
use super::watch::{Remembering, Watch, holds, share};
use crate::understanding::{self, Understanding};

/// What understands the customer's words during an evaluation.
#[async_trait]
pub trait Understand: Send + Sync {
    /// Intent, sentiment, entities and embedding of one text.
    async fn understand(&self, text: &str) -> Result<Understanding, understanding::Error>;
}

#[async_trait]
impl Understand for crate::Engine {
    async fn understand(&self, text: &str) -> Result<Understanding, understanding::Error> {
        Self::understand(self, text).await
    }
}

/// A conversation with a known end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about; unique.
    pub name: String,
    /// The customer's messages and what is expected after each.
    pub turns: Vec<ScenarioTurn>,
    /// How it must end.
    pub outcome: Outcome,
}

/// One message and what is expected after it. What is left out is not compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioTurn {
    /// The customer's words.
    pub user: String,
    /// The value of a button that was pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// Whether the customer wrote nothing for a while instead; `user` is empty then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silence: bool,
    /// The intent a good encoder would name. Used only where no encoder runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The flow that is being worked on afterwards; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Every filled slot of that flow, records by their fields (`card.last4`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<BTreeMap<String, String>>,
    /// Actions that must be among the turn's: `ask:SLOT`, `confirm`, `act:OPERATION`, `cite:SLUG`, `hand_off:REASON`,
    /// `say`, or `say:words that must occur`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
}

/// How a scenario must end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Operations performed, in order: each field that is given must be equal. Any other operation is a wrong one.
    #[serde(default)]
    pub operations: Vec<Json>,
    /// Reason of the hand-over, where there must be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_off: Option<String>,
    /// The flow still running, where one must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Whether the customer must be known in the end; not compared where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identified: Option<bool>,
}

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Scenarios run.
    pub scenarios: usize,
    /// Turns run.
    pub turns: usize,
    /// Share of turns that met everything expected of them.
    pub turn_accuracy: f64,
    /// Share of turns with expected slots whose filled slots were exactly those.
    pub joint_slot_accuracy: f64,
    /// Share of scenarios that reached their outcome.
    pub outcomes: f64,
    /// Operations performed that were not expected, or on another value. Must be 0.
    pub wrong_actions: usize,
    /// Replies that held something about a customer before anybody was identified. Must be 0.
    pub disclosures: usize,
    /// What went otherwise.
    pub failures: Vec<Failure>,
}

/// Something that went otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The scenario.
    pub scenario: String,
    /// Turn, from 1; 0 for the outcome.
    pub turn: usize,
    /// The customer's words.
    pub user: String,
    /// What was expected and what was found.
    pub problem: String,
    /// What the assistant said.
    pub said: Vec<String>,
}

/// Reads scenarios from JSON lines; empty lines and lines that begin with `//` are passed over.
///
/// # Errors
/// Names the line that can not be read.
pub fn read_scenarios(text: &str) -> Result<Vec<Scenario>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("//"))
        .map(|(at, line)| serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1)))
        .collect()
}

/// Runs every scenario against a fresh demonstration bank.
///
/// # Errors
/// When the encoder stops or the articles can not be read.
pub async fn evaluate(
    manager: &Manager,
    understand: &dyn Understand,
    knowledge: &dyn Knowledge,
    scenarios: &[Scenario],
    today: NaiveDate,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let mut tally = Tally::default();
    let understand = &Remembering::new(understand);
    for scenario in scenarios {
        Conversation::new(manager, understand, knowledge, scenario, today).run(&mut tally).await?;
    }
    Ok(tally.report(scenarios.len()))
}

#[derive(Default)]
struct Tally {
    turns: usize,
    turns_met: usize,
    slot_turns: usize,
    slots_met: usize,
    outcomes: usize,
    wrong_actions: usize,
    disclosures: usize,
    failures: Vec<Failure>,
}

impl Tally {
    fn report(self, scenarios: usize) -> Report {
        Report {
            scenarios,
            turns: self.turns,
            turn_accuracy: share(self.turns_met, self.turns),
            joint_slot_accuracy: share(self.slots_met, self.slot_turns),
            outcomes: share(self.outcomes, scenarios),
            wrong_actions: self.wrong_actions,
            disclosures: self.disclosures,
            failures: self.failures,
        }
    }
}

struct Conversation<'a> {
    manager: &'a Manager,
    understand: &'a dyn Understand,
    knowledge: &'a dyn Knowledge,
    scenario: &'a Scenario,
    today: NaiveDate,
    bank: MemoryBank,
    watch: Watch,
}

impl<'a> Conversation<'a> {
    fn new(
        manager: &'a Manager,
        understand: &'a dyn Understand,
        knowledge: &'a dyn Knowledge,
        scenario: &'a Scenario,
        today: NaiveDate,
    ) -> Self {
        let bank = MemoryBank::demonstration(today);
        let watch = Watch::new(&bank);
        Self { manager, understand, knowledge, scenario, today, bank, watch }
    }

    async fn run(mut self, tally: &mut Tally) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut state = State::default();
        for (at, turn) in self.scenario.turns.iter().enumerate() {
            let seq = i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(2).saturating_add(1);
            let known_before = state.identified.is_some();
            let next = if turn.silence {
                match self.manager.silence(state.clone(), seq, self.today, &self.bank, self.knowledge).await? {
                    Some(next) => next,
                    None => Turn { state, actions: Vec::new() },
                }
            } else {
                self.answer(state, turn, seq).await?
            };
            state = next.state;
            self.watch.hear(&turn.user);
            let known = known_before || state.identified.is_some();
            for secret in self.watch.see(&next.actions, known) {
                tally.disclosures += 1;
                let problem = format!("'{secret}' was disclosed before identification");
                tally.failures.push(self.failure(at + 1, &turn.user, problem, &next.actions));
            }
            self.compare(at + 1, turn, &state, &next.actions, tally);
        }
        self.conclude(&state, tally);
        Ok(())
    }

    async fn answer(
        &self,
        state: State,
        turn: &ScenarioTurn,
        seq: i64,
    ) -> Result<Turn, Box<dyn std::error::Error + Send + Sync>> {
        let whole = self.understand.understand(&turn.user).await?;
        let mut parts = Vec::new();
        for clause in self.manager.clauses(&turn.user) {
            parts.push(self.understand.understand(clause).await?);
        }
        let input = Input {
            text: &turn.user,
            seq,
            understanding: &whole,
            parts: &parts,
            today: self.today,
            choice: turn.choice.as_deref(),
        };
        Ok(self.manager.next(state, input, &self.bank, self.knowledge).await?)
    }

    fn compare(&self, at: usize, turn: &ScenarioTurn, state: &State, actions: &[Action], tally: &mut Tally) {
        let mut problems = Vec::new();
        if let Some(flow) = &turn.flow {
            let running = state.flow().unwrap_or_default();
            if running != flow {
                problems.push(format!("flow '{running}' instead of '{flow}'"));
            }
        }
        if let Some(expected) = &turn.slots {
            tally.slot_turns += 1;
            match slots_differ(expected, &state.slots()) {
                Some(problem) => problems.push(problem),
                None => tally.slots_met += 1,
            }
        }
        for expected in &turn.actions {
            if !actions.iter().any(|action| is(action, expected)) {
                let found: Vec<String> = actions.iter().map(described).collect();
                problems.push(format!("no '{expected}' among {found:?}"));
            }
        }
        tally.turns += 1;
        if problems.is_empty() {
            tally.turns_met += 1;
        } else {
            tally.failures.push(self.failure(at, &turn.user, problems.join("; "), actions));
        }
    }

    fn conclude(&self, state: &State, tally: &mut Tally) {
        let outcome = &self.scenario.outcome;
        let mut problems = Vec::new();
        let wrong: Vec<&Json> = self
            .watch
            .operations
            .iter()
            .enumerate()
            .filter(|(at, done)| !outcome.operations.get(*at).is_some_and(|expected| holds(done, expected)))
            .map(|(_, done)| done)
            .collect();
        tally.wrong_actions += wrong.len();
        for done in &wrong {
            problems.push(format!("wrong operation {done}"));
        }
        if self.watch.operations.len() < outcome.operations.len() {
            problems.push(format!(
                "{} of {} operations performed",
                self.watch.operations.len(),
                outcome.operations.len()
            ));
        }
        if self.watch.handed_off != outcome.hand_off {
            problems.push(format!("hand-over {:?} instead of {:?}", self.watch.handed_off, outcome.hand_off));
        }
        let running = state.flow().filter(|_| !state.handed_off);
        if running != outcome.running.as_deref() {
            problems.push(format!("running {running:?} instead of {:?}", outcome.running));
        }
        if outcome.identified.is_some_and(|wanted| wanted != state.identified.is_some()) {
            problems.push("identification is not as expected".to_owned());
        }
        if problems.is_empty() {
            tally.outcomes += 1;
        } else {
            tally.failures.push(self.failure(0, "", format!("outcome: {}", problems.join("; ")), &[]));
        }
    }

    fn failure(&self, turn: usize, user: &str, problem: String, actions: &[Action]) -> Failure {
        Failure {
            scenario: self.scenario.name.clone(),
            turn,
            user: user.to_owned(),
            problem,
            said: actions.iter().map(|action| action.text().to_owned()).collect(),
        }
    }
}

/// The first difference between the slots expected and those filled.
fn slots_differ(expected: &BTreeMap<String, String>, filled: &BTreeMap<String, String>) -> Option<String> {
    for (name, value) in expected {
        let have = filled.get(name);
        if have != Some(value) {
            return Some(format!("slot {name} is {have:?} instead of '{value}'"));
        }
    }
    let base = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let extra = filled.keys().find(|name| !expected.keys().any(|wanted| base(wanted) == base(name)));
    extra.map(|name| format!("slot {name} is filled, which was not expected"))
}

fn is(action: &Action, expected: &str) -> bool {
    let (kind, rest) = expected.split_once(':').unwrap_or((expected, ""));
    match (action, kind) {
        (Action::Ask { slot, .. }, "ask") => rest.is_empty() || slot == rest,
        (Action::Ask { summary: Some(_), .. }, "confirm") => true,
        (Action::Act { operation, .. }, "act") => operation.name() == rest,
        (Action::Say { citations, .. }, "cite") => citations.iter().any(|citation| citation.article_slug == rest),
        (Action::HandOff { reason, .. }, "hand_off") => rest.is_empty() || reason.as_str() == rest,
        (action, "say") => action.text().to_lowercase().contains(&rest.to_lowercase()),
        _ => false,
    }
}

fn described(action: &Action) -> String {
    match action {
        Action::Ask { slot, .. } => format!("ask:{slot}"),
        Action::Act { operation, .. } => format!("act:{}", operation.name()),
        Action::HandOff { reason, .. } => format!("hand_off:{}", reason.as_str()),
        Action::Say { citations, text, .. } => match citations.first() {
            Some(citation) => format!("cite:{}", citation.article_slug),
            None => format!("say:{text}"),
        },
    }
}
