//! Conversations of Candor's own dialogue manager, for training the generator: customers who answer, wander, change their
//! minds and lose patience, walked through the shipped flows with the demonstration bank.
//!
//! ```text
//! cargo run --release -p candor-engine --example record-conversations -- WALKS > conversations.jsonl
//! ```
//!
//! A line is a conversation: `{"events": [{"user": ...} | {"act": ..., "words": ...} | {"summary": {...}}]}`, with places
//! (`<money1>`) where values stood. The same number of walks gives the same file.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Write;
use std::path::Path;

use candor_engine::dialogue::evaluate::read_scenarios;
use candor_engine::dialogue::memory::{MemoryBank, MemoryKnowledge};
use candor_engine::dialogue::saying::places::Places;
use candor_engine::dialogue::{Action, Input, Manager, State, Turn};
use candor_engine::{Sentiment, Understanding};
use chrono::NaiveDate;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const SCENARIOS: &str = include_str!("../../../tests/dialogue/scenarios.jsonl");
const REQUESTS: &str = include_str!("../encoder/desk_templates.txt");
const CUSTOMERS: [[&str; 3]; 3] = [
    ["C-10023", "14 March 1988", "10115"],
    ["ben.okafor@example.com", "2 November 1975", "20457"],
    ["C-10140", "30 July 1999", "04109"],
];
const UNHAPPY: [&str; 10] = [
    "This is ridiculous.",
    "I am really annoyed by now.",
    "Why is this so complicated?",
    "I am very disappointed with you.",
    "This is taking forever.",
    "I am really worried about this.",
    "It is the third time I have to ask.",
    "You are no help at all.",
    "I am so upset right now.",
    "That is not good enough.",
];
const MOST_TURNS: usize = 16;

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let walks: u64 = std::env::args().nth(1).ok_or("usage: record-conversations WALKS")?.parse()?;
    let manager = Manager::shipped()?;
    let (knowledge, questions) = articles()?;
    let mut customers = Customers::new(questions)?;
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    // What customers of the scenarios answer is what customers of the walks may answer.
    for scenario in read_scenarios(SCENARIOS)? {
        let bank = MemoryBank::demonstration(today());
        let mut walk = Walk::new(&manager, &bank, &knowledge);
        for turn in &scenario.turns {
            if let Some(asked) = walk.state.asked().filter(|asked| !IDENTITY.contains(asked)) {
                let flow = walk.state.flow().unwrap_or_default();
                let heard = (turn.user.clone(), turn.choice.clone(), turn.intent.clone());
                customers.answers.entry(format!("{flow}/{asked}")).or_default().push(heard);
            }
            walk.turn(&turn.user, turn.choice.as_deref(), turn.intent.as_deref(), 0.0).await?;
        }
        writeln!(output, "{}", json!({ "events": walk.events }))?;
    }
    for seed in 0..walks {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let bank = MemoryBank::demonstration(today());
        let mut walk = Walk::new(&manager, &bank, &knowledge);
        let identity = CUSTOMERS.choose(&mut random).ok_or("no customers")?;
        let turns = random.random_range(4..=MOST_TURNS);
        for _ in 0..turns {
            let (mut text, choice, intent) = customers.next(&walk, identity, &mut random);
            let mut mood = 0.0;
            if choice.is_none() && random.random_bool(0.08) {
                let complaint = UNHAPPY.choose(&mut random).copied().unwrap_or_default();
                text = format!("{text}{} {complaint}", if text.ends_with(['.', '?', '!']) { "" } else { "." });
                mood = -0.9;
            }
            walk.turn(&text, choice.as_deref(), intent.as_deref(), mood).await?;
            if walk.state.handed_off || (walk.state.finished && random.random_bool(0.7)) {
                break;
            }
        }
        writeln!(output, "{}", json!({ "events": walk.events }))?;
    }
    Ok(())
}

const IDENTITY: [&str; 3] = ["who", "date_of_birth", "postcode"];

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap_or_default()
}

/// The articles, and the questions they answer.
fn articles() -> Result<(MemoryKnowledge, Vec<String>), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/demo/articles");
    let mut files: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, Failure>>()?;
    files.sort();
    let (mut knowledge, mut questions) = (MemoryKnowledge::new(), Vec::new());
    for file in files {
        for passage in MemoryKnowledge::passages(&std::fs::read_to_string(file)?) {
            questions.push(passage.passage.heading.clone());
            knowledge.add(passage, Vec::new());
        }
    }
    Ok((knowledge, questions))
}

/// A message: words, button, intent.
type Message = (String, Option<String>, Option<String>);

/// What customers write.
struct Customers {
    /// Requests by intent, as patterns.
    requests: BTreeMap<String, Vec<String>>,
    /// Answers by flow and what was asked.
    answers: HashMap<String, Vec<Message>>,
    questions: Vec<String>,
}

impl Customers {
    fn new(questions: Vec<String>) -> Result<Self, Failure> {
        let mut requests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut intent = String::new();
        for line in REQUESTS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('@') {
                Some(name) => name.clone_into(&mut intent),
                None => requests.entry(intent.clone()).or_default().push(line.to_owned()),
            }
        }
        Ok(Self { requests, answers: HashMap::new(), questions })
    }

    fn request(&self, intent: &str, random: &mut ChaCha8Rng) -> Message {
        let pattern = self.requests.get(intent).and_then(|patterns| patterns.choose(random));
        let text = pattern.map(|pattern| expand(pattern, random)).unwrap_or_default();
        (text, None, Some(intent.to_owned()))
    }

    fn next(&self, walk: &Walk<'_>, identity: &[&str; 3], random: &mut ChaCha8Rng) -> Message {
        const WISHES: [&str; 10] = [
            "block_card",
            "card_arrival",
            "transaction_status",
            "dispute_charge",
            "balance",
            "recent_payments",
            "change_contact",
            "loan_apply",
            "loan_status",
            "complaint",
        ];
        const ASIDE: [&str; 7] =
            ["why_ask", "cancel", "correction", "talk_to_human", "thanks", "general_question", "other"];
        let wish = |random: &mut ChaCha8Rng| {
            let intent = WISHES.choose(random).copied().unwrap_or("balance");
            self.request(intent, random)
        };
        let Some(asked) = walk.state.asked() else {
            return match random.random_range(0..100) {
                0..60 => wish(random),
                60..90 => self.question(random),
                90..94 => self.request("greeting", random),
                _ => self.request("goodbye", random),
            };
        };
        let aside = random.random_range(0..100);
        if aside < 6 {
            return self.question(random);
        }
        if aside < 13 {
            return self.request(ASIDE.choose(random).copied().unwrap_or("other"), random);
        }
        if let Some(place) = IDENTITY.iter().position(|name| *name == asked) {
            let right = identity.get(place).copied().unwrap_or_default();
            let wrong = random.random_bool(0.03) && asked == "postcode";
            return (if wrong { "99999".to_owned() } else { right.to_owned() }, None, None);
        }
        if !walk.buttons.is_empty() && random.random_bool(0.2) {
            let (label, value) = walk.buttons.choose(random).cloned().unwrap_or_default();
            return (label, Some(value), None);
        }
        if asked == "else" {
            return if random.random_bool(0.5) { wish(random) } else { self.request("deny", random) };
        }
        let flow = walk.state.flow().unwrap_or_default();
        match self.answers.get(&format!("{flow}/{asked}")).and_then(|answers| answers.choose(random)) {
            Some(answer) if asked != "confirm" || random.random_bool(0.4) => answer.clone(),
            _ if asked == "confirm" || random.random_bool(0.7) => self.request("affirm", random),
            _ => self.request("deny", random),
        }
    }

    fn question(&self, random: &mut ChaCha8Rng) -> Message {
        let question = self.questions.choose(random).cloned().unwrap_or_default();
        (question, None, Some("general_question".to_owned()))
    }
}

/// A pattern with one of each `[a|b]`.
fn expand(pattern: &str, random: &mut ChaCha8Rng) -> String {
    let (mut text, mut rest) = (String::new(), pattern);
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').unwrap_or((after, ""));
        let choices: Vec<&str> = inside.split('|').collect();
        text.push_str(before);
        text.push_str(choices.choose(random).copied().unwrap_or_default());
        rest = after;
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A conversation on its way.
struct Walk<'a> {
    manager: &'a Manager,
    bank: &'a MemoryBank,
    knowledge: &'a MemoryKnowledge,
    state: State,
    seq: i64,
    places: Places,
    buttons: Vec<(String, String)>,
    events: Vec<Value>,
}

impl<'a> Walk<'a> {
    fn new(manager: &'a Manager, bank: &'a MemoryBank, knowledge: &'a MemoryKnowledge) -> Self {
        let mut places = Places::default();
        let greeting = manager.greeting();
        let events = vec![json!({ "act": "greeting", "words": places.take_out(greeting.text()) })];
        Self {
            manager,
            bank,
            knowledge,
            state: State::default(),
            seq: 1,
            places,
            buttons: buttons(&[greeting]),
            events,
        }
    }

    async fn turn(&mut self, text: &str, choice: Option<&str>, intent: Option<&str>, mood: f32) -> Result<(), Failure> {
        let whole = understood(text, intent, mood);
        let parts: Vec<Understanding> = self
            .manager
            .clauses(text)
            .into_iter()
            .map(|clause| understood(clause, if clause == text { intent } else { None }, mood))
            .collect();
        let input = Input { text, seq: self.seq, understanding: &whole, parts: &parts, today: today(), choice };
        let state = std::mem::take(&mut self.state);
        let Turn { state, actions } = self.manager.next(state, input, self.bank, self.knowledge).await?;
        let words = self.places.take_out(text);
        self.events.push(json!({ "user": words, "unhappy": mood < 0.0 }));
        let flow = state.flow().and_then(|name| self.manager.flow(name)).map(|flow| flow.title.clone());
        for action in &actions {
            let detail = match action {
                Action::Say { citations, .. } => citations.first().map(|citation| citation.title.clone()),
                Action::Ask { slot, .. } => Some(slot.clone()),
                Action::Act { operation, .. } => Some(operation.name().to_owned()),
                Action::HandOff { reason, .. } => Some(reason.as_str().to_owned()),
            };
            let words = self.places.take_out(action.text());
            let detail = detail.map(|detail| self.places.take_out(&detail));
            self.events.push(json!({ "act": action.name(), "detail": detail, "flow": flow, "words": words }));
        }
        let summary = state.summary();
        let mut lines = |lines: &[candor_engine::dialogue::Line]| -> Vec<String> {
            lines.iter().map(|line| self.places.take_out(&line.text)).collect()
        };
        let summary = json!({
            "problem": lines(&summary.problem), "facts": lines(&summary.facts),
            "done": lines(&summary.done), "open": lines(&summary.open),
        });
        self.events.push(json!({ "summary": summary }));
        self.buttons = buttons(&actions);
        self.state = state;
        self.seq += 2;
        Ok(())
    }
}

fn buttons(actions: &[Action]) -> Vec<(String, String)> {
    let all = actions.iter().flat_map(Action::choices);
    all.filter(|choice| choice.value != "human").map(|choice| (choice.label.clone(), choice.value.clone())).collect()
}

/// What an encoder would have understood.
fn understood(text: &str, intent: Option<&str>, mood: f32) -> Understanding {
    let intent = intent.unwrap_or("other");
    Understanding {
        text: text.to_owned(),
        read_as: None,
        intent: intent.to_owned(),
        confidence: if intent == "other" { 0.0 } else { 0.95 },
        in_scope: intent != "other",
        sentiment: if mood < 0.0 { Sentiment::Negative } else { Sentiment::Neutral },
        sentiment_score: mood,
        entities: Vec::new(),
        alternatives: Vec::new(),
        embedding: Vec::new(),
        model_version: "scripted".to_owned(),
    }
}
