//! What a person needs to know who takes over: problem, facts, done, open, each with the message it came from.

use serde::{Deserialize, Serialize};

/// A conversation in a few lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What the customer came for.
    pub problem: Vec<Line>,
    /// What was said or found out.
    pub facts: Vec<Line>,
    /// What was done, with references.
    pub done: Vec<Line>,
    /// What is still open.
    pub open: Vec<Line>,
}

/// One line of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The words.
    pub text: String,
    /// Number of the customer's message it came from.
    pub seq: i64,
    /// What the line is about: a later line about the same replaces it. Empty where lines only add up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// Something a turn adds to the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub(super) enum Note {
    /// The customer came with this.
    Problem(Line),
    /// This was said or found out.
    Fact(Line),
    /// This is no longer true.
    Dropped {
        /// What the dropped fact was about.
        about: String,
    },
    /// This was done.
    Done(Line),
    /// This could not be settled.
    Open(Line),
}

impl Summary {
    /// Adds a note: a fact about the same thing replaces the one before.
    pub(super) fn add(&mut self, note: &Note) {
        match note {
            Note::Problem(line) => put(&mut self.problem, line),
            Note::Fact(line) => put(&mut self.facts, line),
            Note::Dropped { about } => self.facts.retain(|fact| fact.about != *about),
            Note::Done(line) => put(&mut self.done, line),
            Note::Open(line) => put(&mut self.open, line),
        }
    }
}

fn put(lines: &mut Vec<Line>, line: &Line) {
    match lines.iter_mut().find(|before| !line.about.is_empty() && before.about == line.about) {
        Some(before) => *before = line.clone(),
        None => lines.push(line.clone()),
    }
}

/// The beginning of a customer's words, short enough for a line.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 140;
    let text = text.trim();
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    format!("{}…", cut.trim_end())
}
