//! Promises of the manager that a scenario can not show.

use super::action::{Action, HandOffReason};
use super::bank::CustomerId;
use super::manager::{Error, Input, Manager, Turn};
use super::memory::{MemoryBank, MemoryKnowledge};
use super::scenarios_test::{today, understood};
use super::state::State;
use crate::understanding::Understanding;

struct Desk {
    manager: Manager,
    bank: MemoryBank,
    articles: MemoryKnowledge,
}

impl Desk {
    fn new() -> Self {
        Self {
            manager: Manager::shipped().unwrap(),
            bank: MemoryBank::demonstration(today()),
            articles: MemoryKnowledge::new(),
        }
    }

    async fn hears(&self, state: State, seq: i64, understanding: &Understanding) -> Turn {
        let input = Input { text: &understanding.text, seq, understanding, parts: &[], today: today(), choice: None };
        self.manager.next(state, input, &self.bank, &self.articles).await.unwrap()
    }

    /// Says one thing after the other and answers the last turn.
    async fn talk(&self, mut state: State, from: i64, words: &[(&str, &str)]) -> Turn {
        let mut last = None;
        for ((text, intent), seq) in words.iter().zip(from..) {
            let turn = self.hears(state, seq, &understood(text, intent, 0.95)).await;
            state = turn.state.clone();
            last = Some(turn);
        }
        last.unwrap()
    }
}

fn anna() -> State {
    State::signed_in(CustomerId("anna".to_owned()))
}

#[tokio::test]
async fn a_message_sent_twice_is_performed_once() {
    let desk = Desk::new();
    let before = desk.talk(anna(), 1, &[("I lost my debit card", "block_card")]).await.state;
    let yes = understood("yes", "affirm", 0.95);
    let first = desk.hears(before.clone(), 3, &yes).await;
    let second = desk.hears(before, 3, &yes).await;
    assert_eq!(first.actions, second.actions);
    assert_eq!(desk.bank.performed().len(), 1);
}

#[tokio::test]
async fn who_is_identified_later_does_not_act_on_the_first_ones_records() {
    let desk = Desk::new();
    let mut state = desk.talk(anna(), 1, &[("I lost my debit card", "block_card")]).await.state;
    // The application forgets who is there after a long silence.
    state.identified = None;
    let turn = desk
        .talk(state, 3, &[("yes", "affirm"), ("C-10088", "other"), ("2 November 1975", "other"), ("20457", "other")])
        .await;
    assert!(desk.bank.performed().is_empty(), "{:?}", desk.bank.performed());
    assert_eq!(turn.state.slots().get("card.last4").map(String::as_str), Some("5566"), "Ben's own card");
    assert_eq!(turn.state.asked(), Some("confirm"));
}

#[tokio::test]
async fn older_turns_are_folded_into_the_summary() {
    let desk = Desk::new();
    let words = [
        ("I'd like to apply for a loan", "loan_apply"),
        ("5000", "other"),
        ("24 months", "other"),
        ("a car", "other"),
        ("2600", "other"),
        ("employed", "other"),
        ("actually make the amount 6000", "other"),
        ("rented", "other"),
        ("5 years", "other"),
        ("no", "other"),
        ("+49 151 1112223", "other"),
        ("yes", "affirm"),
    ];
    let turn = desk.talk(anna(), 1, &words).await;
    let summary = turn.state.summary();
    assert!(summary.problem[0].text.starts_with("Apply for a loan: “I'd like to apply"), "{summary:?}");
    assert_eq!(summary.problem[0].seq, 1);
    let amount: Vec<_> = summary.facts.iter().filter(|fact| fact.text.starts_with("Amount")).collect();
    assert_eq!(amount.len(), 1, "a corrected fact replaces the first: {summary:?}");
    assert_eq!((amount[0].text.as_str(), amount[0].seq), ("Amount: €6,000", 7));
    assert_eq!(summary.done.len(), 1);
    assert_eq!(summary.done[0].seq, 12);
    assert!(summary.open.is_empty());
    let json = serde_json::to_value(&turn.state).unwrap();
    assert_eq!(json["window"].as_array().unwrap().len(), 8);
    assert_eq!(json["earlier"]["problem"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_running_is_open_in_the_summary() {
    let desk = Desk::new();
    let turn = desk.talk(anna(), 1, &[("I lost my card", "block_card"), ("talk to a human", "talk_to_human")]).await;
    assert!(matches!(turn.actions.as_slice(), [Action::HandOff { reason: HandOffReason::Asked, .. }]));
    let open: Vec<String> = turn.state.summary().open.into_iter().map(|line| line.text).collect();
    assert_eq!(open, ["Handed over: asked", "Not finished: Block a lost or stolen card"]);

    let mut state = turn.state;
    assert!(state.handed_off);
    state.hand_back();
    let turn = desk.talk(state, 5, &[("my balance please", "balance")]).await;
    assert!(turn.actions[0].text().contains("€1,842.55"), "who it is stays known: {:?}", turn.actions);
}

#[tokio::test]
async fn a_falling_mood_brings_an_offer_and_one_that_stays_down_a_person() {
    let desk = Desk::new();
    let says = async |state: State, seq: i64, text: &str, score: f32| {
        let intent = if seq == 1 { "loan_apply" } else { "other" };
        let understanding = Understanding { sentiment_score: score, ..understood(text, intent, 0.95) };
        desk.hears(state, seq, &understanding).await
    };
    let offers = |turn: &Turn| {
        let offered = |action: &&Action| matches!(action, Action::Say { choices, .. } if choices.iter().any(|choice| choice.value == "human"));
        turn.actions.iter().filter(offered).count()
    };
    let first = says(anna(), 1, "I want a loan", -0.8).await;
    let second = says(first.state, 3, "5000", -0.8).await;
    let third = says(second.state, 5, "24 months", -0.8).await;
    assert_eq!(offers(&third), 1);
    assert!(matches!(third.actions.last(), Some(Action::Ask { .. })), "the flow goes on: {:?}", third.actions);

    let better = says(third.state.clone(), 7, "a car", 0.1).await;
    assert_eq!(offers(&better), 0, "it is offered once");
    assert!(matches!(better.actions.last(), Some(Action::Ask { .. })), "{:?}", better.actions);
    let no_better = says(third.state, 7, "a car", -0.8).await;
    let handed = |action: &Action| matches!(action, Action::HandOff { reason: HandOffReason::Unhappy, .. });
    assert!(no_better.actions.iter().any(handed), "{:?}", no_better.actions);
}

#[tokio::test]
async fn a_flow_that_vanished_is_an_error_and_the_first_words_name_the_ai() {
    let desk = Desk::new();
    let state = desk.talk(anna(), 1, &[("I lost my card", "block_card")]).await.state;
    let mut json = serde_json::to_value(&state).unwrap();
    json["stack"][0]["flow"] = "gone".into();
    let state: State = serde_json::from_value(json).unwrap();
    let understanding = understood("yes", "affirm", 0.95);
    let input = Input { text: "yes", seq: 3, understanding: &understanding, parts: &[], today: today(), choice: None };
    let error = desk.manager.next(state, input, &desk.bank, &desk.articles).await.unwrap_err();
    assert!(matches!(error, Error::State(name) if name == "gone"));

    let greeting = desk.manager.greeting();
    assert!(greeting.text().contains("AI assistant") && greeting.text().contains("person"), "{greeting:?}");
    assert!(greeting.choices().iter().any(|choice| choice.value == "human"));
}

#[tokio::test]
async fn states_of_earlier_versions_are_read() {
    let state: State = serde_json::from_str("{}").unwrap();
    assert_eq!(state, State::default());
    let state: State = serde_json::from_str(r#"{"identified":"anna","later_addition":1}"#).unwrap();
    assert_eq!(state, anna());
}
