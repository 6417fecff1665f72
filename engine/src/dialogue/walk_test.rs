//! Random walks: customers who say anything at any time. Whatever they say, nothing is done that they did not see and
//! agree to, and nothing is disclosed before they are known.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::action::{Action, SummaryCard};
use super::evaluate::{Understand, read_scenarios};
use super::lexicon;
use super::manager::{Input, Manager};
use super::memory::MemoryBank;
use super::operation::{ContactChange, Operation};
use super::scenarios_test::{Scripted, articles, today};
use super::state::State;

const WALKS: u64 = 600;
const TURNS: i64 = 24;

/// What the customer must have read in the question or on its card before the operation.
fn must_be_shown(operation: &Operation) -> Vec<String> {
    match operation {
        Operation::BlockCard { last4, .. } | Operation::OrderReplacement { last4, .. } => vec![last4.clone()],
        Operation::OpenDispute { explanation, .. } => vec![explanation.clone()],
        Operation::ChangeContact { change } => match change {
            ContactChange::Email { email } => vec![email.clone()],
            ContactChange::Phone { phone } => vec![phone.clone()],
            ContactChange::Address { street, city, postcode } => vec![street.clone(), city.clone(), postcode.clone()],
        },
        Operation::SubmitApplication { particulars } => vec![
            super::answer::money_shown(&particulars.amount),
            super::answer::money_shown(&particulars.monthly_income),
            super::answer::months_shown(particulars.term_months.into()),
            particulars.phone.clone(),
        ],
        Operation::FileComplaint { about, wish, .. } => vec![about.clone(), wish.clone()],
    }
}

fn read_by_customer(text: &str, card: &SummaryCard) -> String {
    let rows: Vec<&str> = card.rows.iter().map(|row| row.value.as_str()).collect();
    format!("{text}\n{}", rows.join("\n"))
}

#[tokio::test]
async fn nothing_is_done_unseen_and_nothing_disclosed_early() {
    let scenarios = read_scenarios(include_str!("../../../tests/dialogue/scenarios.jsonl")).unwrap();
    let understand = Scripted::of(&scenarios);
    let manager = Manager::shipped().unwrap();
    let knowledge = articles();
    let said: Vec<&str> = scenarios.iter().flat_map(|one| &one.turns).map(|turn| turn.user.as_str()).collect();
    let identity = ["C-10023", "14 March 1988", "10115"];
    let mut acts = 0;
    let mut known_walks = 0;
    for seed in 0..WALKS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let bank = MemoryBank::demonstration(today());
        let secrets = bank.secrets();
        let mut state = State::default();
        let mut last: Vec<Action> = Vec::new();
        let mut written = String::new();
        for seq in 0..TURNS {
            let buttons: Vec<(String, String)> = last
                .iter()
                .flat_map(|action| {
                    let card = match action {
                        Action::Ask { summary: Some(card), .. } => card.rows.as_slice(),
                        _ => &[],
                    };
                    let changes = card.iter().filter_map(|row| Some((row.label.clone(), row.change.clone()?)));
                    let choices = action.choices().iter().map(|choice| (choice.label.clone(), choice.value.clone()));
                    choices.chain(changes).collect::<Vec<_>>()
                })
                .filter(|(_, value)| value != "human" && value != "start:talk_to_human")
                .collect();
            let (text, choice) = match state.asked() {
                Some("who") if random.random_bool(0.8) => (identity[0].to_owned(), None),
                Some("date_of_birth") if random.random_bool(0.8) => (identity[1].to_owned(), None),
                Some("postcode") if random.random_bool(0.8) => (identity[2].to_owned(), None),
                _ if !buttons.is_empty() && random.random_bool(0.35) => {
                    let (label, value) = buttons.choose(&mut random).unwrap().clone();
                    (label, Some(value))
                }
                Some("confirm") if random.random_bool(0.3) => ("yes".to_owned(), None),
                _ => ((*said.choose(&mut random).unwrap()).to_owned(), None),
            };
            let whole = understand.understand(&text).await.unwrap();
            let mut parts = Vec::new();
            for clause in manager.clauses(&text) {
                parts.push(understand.understand(clause).await.unwrap());
            }
            let input = Input {
                text: &text,
                seq,
                understanding: &whole,
                parts: &parts,
                today: today(),
                choice: choice.as_deref(),
            };
            let turn = manager.next(state, input, &bank, &knowledge).await.unwrap();
            written.push_str(&text.to_lowercase());
            written.push('\n');
            let context = format!("walk {seed}, turn {seq}: «{text}» {choice:?} -> {:#?}", turn.actions);
            assert!(!turn.actions.is_empty(), "{context}");
            let asks = turn.actions.iter().filter(|action| matches!(action, Action::Ask { .. })).count();
            assert!(asks <= 1, "two questions at once: {context}");
            for action in &turn.actions {
                if let Action::Act { operation, .. } = action {
                    acts += 1;
                    let agreed = choice.as_deref() == Some("yes")
                        || lexicon::affirms(&text)
                        || parts.first().is_some_and(|part| lexicon::affirms(&part.text));
                    assert!(agreed, "done without a yes: {context}");
                    let shown = last.iter().find_map(|action| match action {
                        Action::Ask { text, summary: Some(card), .. } => Some(read_by_customer(text, card)),
                        _ => None,
                    });
                    let shown = shown.unwrap_or_else(|| panic!("done without a card: {context}"));
                    for value in must_be_shown(operation) {
                        assert!(shown.contains(&value), "'{value}' was not shown in {shown}: {context}");
                    }
                }
                let cited = matches!(action, Action::Say { citations, .. } if !citations.is_empty());
                if turn.state.identified.is_none() && !cited {
                    let told = format!("{} {:?}", action.text(), action.choices());
                    let secret = secrets
                        .iter()
                        .find(|secret| told.contains(secret.as_str()) && !written.contains(&secret.to_lowercase()));
                    assert_eq!(secret, None, "disclosed: {context}");
                }
            }
            let json = serde_json::to_string(&turn.state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), turn.state, "{context}");
            known_walks += usize::from(turn.state.identified.is_some() && state_is_new(seq));
            state = turn.state;
            if state.handed_off {
                state.hand_back();
            }
            last = turn.actions;
        }
    }
    assert!(acts > 100, "only {acts} operations in all walks");
    assert!(known_walks > 100, "only {known_walks} walks got to know their customer");
}

fn state_is_new(seq: i64) -> bool {
    seq == TURNS - 1
}
