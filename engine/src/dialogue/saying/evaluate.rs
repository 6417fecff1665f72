//! How often a generator's words are said, and whether any of them states what it should not.
//!
//! Scenarios run against the demonstration bank in every tone until enough replies were asked for. What was said is looked at
//! once more by an audit that shares nothing with the check: every run of digits and every word with a capital must
//! stand in the flow's wording, letter by letter.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::Serialize;

use super::super::action::Action;
use super::super::evaluate::{Scenario, Understand};
use super::super::knowledge::Knowledge;
use super::super::manager::{Input, Manager};
use super::super::memory::MemoryBank;
use super::super::state::State;
use super::{NotSaid, Saying, Spoken};

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Replies asked for.
    pub replies: u64,
    /// Of these, said in the generator's words.
    pub said: u64,
    /// Of these, word for word the flow's own.
    pub alike: u64,
    /// Share that the flow's own wording had to say.
    pub fallback_rate: f64,
    /// Why.
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// Replies that the audit objects to, after the check. Must be 0.
    pub ungrounded: usize,
    /// Summaries asked for, and those said.
    pub summaries: (u64, u64),
    /// Why summaries were refused.
    pub summary_fallbacks: BTreeMap<&'static str, u64>,
    /// Seconds per reply, in the middle.
    pub seconds: f64,
    /// Words that were said and stand in no source, for a person to read: courtesies and words of grammar.
    pub new_words: BTreeSet<String>,
    /// Replies to read: what had to be said, and what was said or why it was not.
    pub examples: Vec<(String, String)>,
}

/// Runs scenarios until so many replies were asked for, and summarises each conversation once.
///
/// # Errors
/// When the encoder stops or the articles can not be read.
pub async fn evaluate(
    manager: &Manager,
    understand: &dyn Understand,
    knowledge: &dyn Knowledge,
    saying: &Saying,
    scenarios: &[Scenario],
    replies: u64,
    today: NaiveDate,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let mut report = Report::default();
    let mut seconds = Vec::new();
    let mut round = 0_u64;
    'all: loop {
        for scenario in scenarios {
            round += 1;
            let bank = MemoryBank::demonstration(today);
            let mut state = State::default();
            let mut said: Vec<(bool, String)> = vec![(false, manager.greeting().text().to_owned())];
            for (at, turn) in scenario.turns.iter().enumerate() {
                if turn.silence {
                    break;
                }
                let whole = understand.understand(&turn.user).await?;
                let mut parts = Vec::new();
                for clause in manager.clauses(&turn.user) {
                    parts.push(understand.understand(clause).await?);
                }
                let seq = i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(2).saturating_add(1);
                let choice = turn.choice.as_deref();
                let input = Input { text: &turn.user, seq, understanding: &whole, parts: &parts, today, choice };
                let next = manager.next(state, input, &bank, knowledge).await?;
                said.push((true, turn.user.clone()));
                let flow = next.state.flow().and_then(|name| manager.flow(name)).map(|flow| flow.title.clone());
                for action in &next.actions {
                    let spoken: Vec<Spoken<'_>> =
                        said.iter().map(|(by, text)| Spoken { by_customer: *by, text }).collect();
                    let unhappy = (round + u64::try_from(at).unwrap_or_default()).is_multiple_of(4);
                    let start = std::time::Instant::now();
                    let worded = saying.reply(&spoken, action, flow.as_deref(), unhappy).await;
                    if !matches!(worded, Err(NotSaid::NotAsked)) {
                        seconds.push(start.elapsed().as_secs_f64());
                    }
                    report.take(action, flow.as_deref(), &worded);
                    said.push((false, worded.unwrap_or_else(|_| action.text().to_owned())));
                }
                state = next.state;
                if saying.figures().asked >= replies {
                    break 'all;
                }
            }
            if round <= u64::try_from(scenarios.len()).unwrap_or(u64::MAX) {
                let spoken: Vec<Spoken<'_>> = said.iter().map(|(by, text)| Spoken { by_customer: *by, text }).collect();
                // A refusal is counted; the manager's own summary would be shown.
                let _counted = saying.summary(&spoken, &state.summary()).await;
            }
        }
        if scenarios.is_empty() || seconds.is_empty() {
            break;
        }
    }
    let figures = saying.figures();
    report.fallback_rate = figures.fallback_rate();
    (report.replies, report.said, report.alike) = (figures.asked, figures.said, figures.alike);
    report.fallbacks = figures.fallbacks;
    let figures = saying.summary_figures();
    report.summaries = (figures.asked, figures.said);
    report.summary_fallbacks = figures.fallbacks;
    seconds.sort_by(f64::total_cmp);
    report.seconds = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    Ok(report)
}

impl Report {
    fn take(&mut self, action: &Action, flow: Option<&str>, worded: &Result<String, NotSaid>) {
        let title = match action {
            Action::Say { citations, .. } => citations.first().map_or("", |citation| citation.title.as_str()),
            _ => "",
        };
        let source = format!("{}\n{title}\n{}", action.text(), flow.unwrap_or_default());
        match worded {
            Ok(text) => {
                let objection = audit(text, &source);
                self.ungrounded += usize::from(objection.is_some());
                let known: BTreeSet<String> = letters(&source).collect();
                self.new_words.extend(letters(text).filter(|word| !known.contains(word)));
                if objection.is_some() || text != action.text() && self.examples.len() < 200 {
                    let shown = objection.map_or_else(|| text.clone(), |found| format!("AUDIT {found}: {text}"));
                    self.examples.push((action.text().to_owned(), shown));
                }
            }
            Err(NotSaid::NotAsked) => {}
            Err(problem) => {
                if self.examples.len() < 400 {
                    self.examples.push((action.text().to_owned(), format!("FALLBACK {problem}")));
                }
            }
        }
    }
}

fn letters(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// What a text holds that its source does not: digits, or a capital within a sentence.
fn audit(text: &str, source: &str) -> Option<String> {
    let runs = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).map(str::to_owned).collect()
    };
    let have = runs(source);
    if let Some(run) = runs(text).into_iter().find(|run| !have.contains(run)) {
        return Some(run);
    }
    let mut starts = true;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let capital = bare.chars().next().is_some_and(char::is_uppercase);
        if capital && !starts && bare != "I" && !source.contains(bare) {
            return Some(bare.to_owned());
        }
        starts = word.ends_with(['.', '?', '!', ':']);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_finds_what_stands_in_no_source() {
        let source = "Block the debit card ending 4821? Maria Rossi";
        assert_eq!(audit("Shall I block the card ending 4821?", source), None);
        assert_eq!(audit("Shall I block the card ending 4822?", source), Some("4822".into()));
        assert_eq!(audit("Shall I block it for Maria Russo?", source), Some("Russo".into()));
    }
}
