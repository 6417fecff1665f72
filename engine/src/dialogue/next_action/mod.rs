//! What the system should do next in dialogues that were not made for this program: STAR's tasks (Mosig, Mehri and Kober 2020).
//!
//! The papers' task: given what has been said and looked up, name the action that the person who played the system took. Here a
//! task's graph, which is what a flow is to our own manager, is followed with the shipped encoder: it says how alike the last words
//! are to what a node says, to the conditions of edges and to questions already answered. How much each of that counts is
//! learned in seconds (`ranker.rs`); the encoder itself learns nothing. A task that was not learned from (zero-shot) is chosen for
//! by its graph and its replies alone.

mod corpus;
mod features;
mod ranker;

pub use corpus::{Actor, Dialogue, Event, Task};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::models::moe_encoder::Encoded;
use crate::understanding::evaluate::encode_all;
use crate::{Engine, understanding};
use features::{Choice, Embedded, Vocabulary};
use ranker::{Learning, Ranker};

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file or a line is not of the corpus' form.
    #[error("{at}: {source}")]
    Json {
        /// Where.
        at: String,
        /// Why.
        source: serde_json::Error,
    },
    /// No dialogue is left to learn from, or none to measure on.
    #[error("{0}: no dialogues to learn from, or none to measure on")]
    Empty(String),
    /// The encoder did not answer.
    #[error(transparent)]
    Engine(#[from] understanding::Error),
}

/// An action that so many tasks have may be chosen in any other.
const SHARED_BY: usize = 3;
/// Shares of the dialogues, by number from the first and from the last, that the standard setting learns from and measures on: the
/// papers' split.
const LEARNED: f64 = 0.8;
const TESTED: f64 = 0.2;
const SEED: u64 = 1;

/// What a choice was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Other dialogues of the same tasks.
    Standard,
    /// Other tasks.
    UnseenTask,
    /// Tasks of other fields.
    UnseenDomain,
}

/// How often the right action came first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was learned from.
    pub setting: Setting,
    /// What was measured on: a task, a field, or the beginning of their names.
    pub about: String,
    /// Dialogues measured on.
    pub dialogues: usize,
    /// Actions chosen in them.
    pub choices: usize,
    /// Share of the choices that the person who played the system made too.
    pub accuracy: f64,
    /// Harmonic mean of precision and recall of each action, weighted by how often the action is right.
    pub f1: f64,
}

/// Measures the straight dialogues of `tasks`: the standard setting over all tasks and over those whose names begin with
/// `about`, then each of those tasks and their fields unseen.
///
/// # Errors
/// [`Error::Empty`] where a setting has nothing to learn from or to measure on, [`Error::Engine`] when the encoder does not answer.
pub async fn evaluate(
    engine: &Engine,
    tasks: &BTreeMap<String, Task>,
    dialogues: &[Dialogue],
    about: &str,
    mut tell: impl FnMut(&Report),
) -> Result<(), Error> {
    let straight: Vec<&Dialogue> = dialogues
        .iter()
        .filter(|one| one.happy && tasks.contains_key(&one.task) && one.choices().next().is_some())
        .collect();
    let (places, rows) = embed(engine, tasks, &straight).await?;
    let corpus = Corpus { tasks, texts: Embedded { rows: &rows, places: &places } };

    let mut numbers: Vec<u64> = straight.iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let learned = (0..=numbers.len()).rev().find(|n| *n as f64 <= numbers.len() as f64 * LEARNED).unwrap_or(0);
    let tested = (0..=numbers.len()).rev().find(|n| *n as f64 <= numbers.len() as f64 * TESTED).unwrap_or(0);
    let learned: BTreeSet<u64> = numbers.iter().take(learned).copied().collect();
    let tested: BTreeSet<u64> = numbers.iter().rev().take(tested).copied().collect();
    let learned: Vec<&Dialogue> = straight.iter().copied().filter(|one| learned.contains(&one.number)).collect();
    let tested: Vec<&Dialogue> = straight.iter().copied().filter(|one| tested.contains(&one.number)).collect();
    let chosen = corpus.choose(&learned, &tested, "standard")?;
    tell(&report(Setting::Standard, "all", &chosen, |_| true));
    tell(&report(Setting::Standard, about, &chosen, |task| task.starts_with(about)));

    let named = |one: &&Dialogue| one.task.starts_with(about);
    for (setting, of) in [(Setting::UnseenTask, 0), (Setting::UnseenDomain, 1)] {
        let group = |one: &Dialogue| if of == 0 { one.task.clone() } else { one.domain.clone() };
        let groups: BTreeSet<String> = straight.iter().copied().filter(named).map(group).collect();
        for unseen in groups {
            let (tested, learned): (Vec<&Dialogue>, Vec<&Dialogue>) =
                straight.iter().copied().partition(|one| group(one) == unseen);
            let chosen = corpus.choose(&learned, &tested, &unseen)?;
            tell(&report(setting, &unseen, &chosen, |_| true));
        }
    }
    Ok(())
}

/// Embeddings of every text that takes part, each of length 1.
async fn embed(
    engine: &Engine,
    tasks: &BTreeMap<String, Task>,
    dialogues: &[&Dialogue],
) -> Result<(HashMap<String, usize>, Vec<Vec<f32>>), Error> {
    let said = dialogues.iter().flat_map(|dialogue| &dialogue.events).map(|event| event.text.as_str());
    let replies = tasks.values().flat_map(|task| task.replies.values()).map(String::as_str);
    let texts: BTreeSet<&str> = said.chain(replies).filter(|text| !text.trim().is_empty()).collect();
    let encoded = encode_all(engine.reader(), texts.iter().copied()).await?;
    let rows = encoded.iter().map(Encoded::embedding).collect();
    Ok((texts.into_iter().enumerate().map(|(place, text)| (text.to_owned(), place)).collect(), rows))
}

struct Corpus<'e> {
    tasks: &'e BTreeMap<String, Task>,
    texts: Embedded<'e>,
}

/// A choice and what was chosen instead.
struct Chosen {
    task: String,
    dialogue: u64,
    right: String,
    answer: Option<String>,
}

impl Corpus<'_> {
    /// Learns from some dialogues and chooses in others.
    fn choose(&self, learned: &[&Dialogue], tested: &[&Dialogue], what: &str) -> Result<Vec<Chosen>, Error> {
        let mut names = Vocabulary::default();
        let shared = self.shared(learned);
        let lessons = self.choices(learned, &shared, &mut names);
        names.close();
        let questions = self.choices(tested, &shared, &mut names);
        if lessons.is_empty() || questions.is_empty() {
            return Err(Error::Empty(what.to_owned()));
        }
        let lessons: Vec<&Choice> = lessons.iter().collect();
        let ranker = Ranker::learn(&lessons, &self.texts, &names, Learning::default(), SEED);
        let answer = |choice: &Choice| Chosen {
            task: choice.task.clone(),
            dialogue: choice.number,
            right: choice.chosen.clone(),
            answer: ranker.choose(choice, &self.texts).map(str::to_owned),
        };
        Ok(questions.iter().map(answer).collect())
    }

    fn choices(
        &self,
        dialogues: &[&Dialogue],
        shared: &BTreeMap<String, String>,
        names: &mut Vocabulary,
    ) -> Vec<Choice> {
        let known = dialogues.iter().filter_map(|dialogue| Some((*dialogue, self.tasks.get(&dialogue.task)?)));
        known.flat_map(|(dialogue, task)| features::choices(dialogue, task, shared, &self.texts, names)).collect()
    }

    /// Actions taken in several tasks, with what they say.
    fn shared(&self, dialogues: &[&Dialogue]) -> BTreeMap<String, String> {
        let mut taken: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for dialogue in dialogues {
            dialogue.choices().for_each(|(_, action)| {
                taken.entry(action).or_default().insert(&dialogue.task);
            });
        }
        let often = taken.into_iter().filter(|(_, tasks)| tasks.len() >= SHARED_BY);
        let reply = |action: &str| self.tasks.values().find_map(|task| task.replies.get(action)).cloned();
        often.map(|(action, _)| (action.to_owned(), reply(action).unwrap_or_default())).collect()
    }
}

fn report(setting: Setting, about: &str, chosen: &[Chosen], which: impl Fn(&str) -> bool) -> Report {
    let counted: Vec<&Chosen> = chosen.iter().filter(|one| which(&one.task)).collect();
    let dialogues: BTreeSet<u64> = counted.iter().map(|one| one.dialogue).collect();
    // Right, given and wanted, by action.
    let mut by_action: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for one in &counted {
        let answer = one.answer.as_deref().unwrap_or_default();
        by_action.entry(&one.right).or_default().2 += 1.0;
        by_action.entry(answer).or_default().1 += 1.0;
        if answer == one.right {
            by_action.entry(answer).or_default().0 += 1.0;
        }
    }
    let rows = (counted.len() as f64).max(1.0);
    let right: f64 = by_action.values().map(|(right, _, _)| right).sum();
    let f1: f64 = by_action.values().map(|(right, given, wanted)| wanted * 2.0 * right / (given + wanted)).sum();
    Report {
        setting,
        about: about.to_owned(),
        dialogues: dialogues.len(),
        choices: counted.len(),
        accuracy: right / rows,
        f1: f1 / rows,
    }
}

#[cfg(test)]
mod tests;
