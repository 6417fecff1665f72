//! The shipped scenarios, run with scripted understanding: what is tested is the manager, not the encoder.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDate;

use super::evaluate::{Scenario, Understand, evaluate, read_scenarios};
use super::manager::Manager;
use super::memory::MemoryKnowledge;
use crate::understanding::{Error, Sentiment, Understanding};

/// Says what the scenario says about a message, and nothing about any other text.
pub(super) struct Scripted(HashMap<String, String>);

impl Scripted {
    pub(super) fn of(scenarios: &[Scenario]) -> Self {
        let turns = scenarios.iter().flat_map(|scenario| &scenario.turns);
        Self(turns.filter_map(|turn| Some((turn.user.clone(), turn.intent.clone()?))).collect())
    }
}

pub(super) fn understood(text: &str, intent: &str, confidence: f32) -> Understanding {
    Understanding {
        text: text.to_owned(),
        intent: intent.to_owned(),
        confidence,
        in_scope: intent != "other",
        sentiment: Sentiment::Neutral,
        sentiment_score: 0.0,
        entities: Vec::new(),
        alternatives: Vec::new(),
        embedding: Vec::new(),
        model_version: "scripted".to_owned(),
    }
}

#[async_trait]
impl Understand for Scripted {
    async fn understand(&self, text: &str) -> Result<Understanding, Error> {
        Ok(match self.0.get(text) {
            Some(intent) => understood(text, intent, 0.95),
            None => understood(text, "other", 0.0),
        })
    }
}

pub(super) fn articles() -> MemoryKnowledge {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/demo/articles");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut knowledge = MemoryKnowledge::new();
    for file in files {
        for passage in MemoryKnowledge::passages(&std::fs::read_to_string(file).unwrap()) {
            knowledge.add(passage, Vec::new());
        }
    }
    knowledge
}

pub(super) fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
}

#[tokio::test]
async fn every_scenario_reaches_its_outcome() {
    let scenarios = read_scenarios(include_str!("../../../tests/dialogue/scenarios.jsonl")).unwrap();
    let manager = Manager::shipped().unwrap();
    let report = evaluate(&manager, &Scripted::of(&scenarios), &articles(), &scenarios, today()).await.unwrap();
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|failure| {
            format!(
                "{} [{}] «{}»: {}\n      {:?}",
                failure.scenario, failure.turn, failure.user, failure.problem, failure.said
            )
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} turns, {} wrong actions, {} disclosures\n{}",
        report.turn_accuracy,
        report.turns,
        report.wrong_actions,
        report.disclosures,
        failures.join("\n")
    );
    assert!(report.scenarios >= 60);
    assert_eq!((report.wrong_actions, report.disclosures), (0, 0));
}
