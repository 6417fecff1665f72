//! The shipped scenarios, run with scripted understanding: what is tested is the manager, not the encoder.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDate;

use super::evaluate::{Scenario, Understand, evaluate, read_scenarios};
use super::manager::Manager;
use super::memory::MemoryKnowledge;
use super::simulate::simulate;
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
        read_as: crate::understanding::chinese::in_english(text),
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

/// The passages of the shipped articles with their embeddings.
async fn embedded_articles(engine: &crate::Engine) -> MemoryKnowledge {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/demo/articles");
    let mut knowledge = MemoryKnowledge::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for passage in MemoryKnowledge::passages(&std::fs::read_to_string(entry.unwrap().path()).unwrap()) {
            let embeddings = passage.texts().map(|text| async move { engine.embed(&text).await.unwrap() });
            let embeddings = futures::future::join_all(embeddings).await;
            knowledge.add(passage, embeddings);
        }
    }
    knowledge
}

#[tokio::test]
async fn real_and_simulated_customers_reach_their_outcome_with_the_shipped_encoder() {
    let engine = crate::Engine::load(&crate::Options::default()).unwrap();
    let knowledge = embedded_articles(&engine).await;
    let manager = engine.dialogue();
    let scenarios = read_scenarios(include_str!("../../../tests/dialogue/customers.jsonl")).unwrap();
    let report = evaluate(&manager, &engine, &knowledge, &scenarios, today()).await.unwrap();
    assert_eq!((report.wrong_actions, report.disclosures), (0, 0), "{:#?}", report.failures);
    assert!(report.outcomes >= 0.97, "{}: {:#?}", report.outcomes, report.failures);
    assert!(report.joint_slot_accuracy >= 0.95, "{}: {:#?}", report.joint_slot_accuracy, report.failures);
    assert!(report.scenarios >= 200);

    let found = simulate(&manager, &engine, &knowledge, 100, 1, today(), |_| {}).await.unwrap();
    assert_eq!((found.wrong_actions, found.disclosures), (0, 0), "{:#?}", found.failures);
    assert!(found.outcomes >= 0.93, "{}: {:#?}", found.outcomes, found.failures);
    assert!(found.joint_slot_accuracy >= 0.93, "{}: {:#?}", found.joint_slot_accuracy, found.failures);
}

#[tokio::test]
async fn requests_in_chinese_are_understood_through_english_words() {
    let engine = crate::Engine::load(&crate::Options::default()).unwrap();
    let knowledge = embedded_articles(&engine).await;
    let files = [
        (290, include_str!("../../../tests/dialogue/chinese.jsonl")),
        (180, include_str!("../../../tests/dialogue/chinese_unseen.jsonl")),
    ];
    for (count, file) in files {
        let scenarios = read_scenarios(file).unwrap();
        let report = evaluate(&engine.dialogue(), &engine, &knowledge, &scenarios, today()).await.unwrap();
        assert_eq!((report.wrong_actions, report.disclosures), (0, 0), "{:#?}", report.failures);
        assert!(report.turn_accuracy >= 0.73, "{}: {:#?}", report.turn_accuracy, report.failures);
        assert_eq!(report.scenarios, count);
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_conversations() {
    let scenarios = read_scenarios(include_str!("../../../tests/dialogue/scenarios.jsonl")).unwrap();
    let (manager, knowledge, scripted) = (Manager::shipped().unwrap(), articles(), Scripted::of(&scenarios));
    let run = async |seed| {
        let found = simulate(&manager, &scripted, &knowledge, 30, seed, today(), |_| {}).await.unwrap();
        serde_json::to_string(&found).unwrap()
    };
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}
