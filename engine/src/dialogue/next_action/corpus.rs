//! The form of STAR (Mosig, Mehri and Kober 2020, MIT licence): dialogues between a customer and a person who played the system
//! along a task's graph, and the graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Error;

/// What a system can do in a task, and in which order it should.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// What each node says: words for the customer, or the name of a condition ("Succeeded", "Info missing").
    pub replies: BTreeMap<String, String>,
    /// The node that follows each node.
    pub edges: BTreeMap<String, String>,
    /// Nodes that are no actions: what must have happened for an edge to be taken.
    pub conditions: BTreeSet<String>,
}

#[derive(Deserialize)]
struct TaskFile {
    replies: BTreeMap<String, String>,
    graph: BTreeMap<String, String>,
}

impl Task {
    /// Reads a task from its graph and from the replies that the players could give.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn parse(graph: &str, responses: &str) -> Result<Self, serde_json::Error> {
        let file: TaskFile = serde_json::from_str(graph)?;
        let responses: BTreeMap<String, String> = serde_json::from_str(responses)?;
        let targets: BTreeSet<&String> = file.graph.values().collect();
        // What leads somewhere, is led to by nothing and can not be said is a condition.
        let conditions = file.graph.keys().filter(|node| !targets.contains(node) && !responses.contains_key(*node));
        let conditions = conditions.cloned().collect();
        let mut replies = file.replies;
        for (name, reply) in responses {
            replies.entry(name).or_insert(reply);
        }
        Ok(Self { replies, edges: file.graph, conditions })
    }

    /// Every task of a folder that holds a folder for each, by name.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Json`] naming the file.
    pub fn read_all(folder: &Path) -> Result<BTreeMap<String, Self>, Error> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| Error::Read { file: path.display().to_string(), source })
        };
        let failed = |source| Error::Read { file: folder.display().to_string(), source };
        let mut tasks = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let file = entry.path().join(format!("{name}.json"));
            let task = Self::parse(&read(&file)?, &read(&entry.path().join("responses.json"))?);
            tasks.insert(name, task.map_err(|source| Error::Json { at: file.display().to_string(), source })?);
        }
        Ok(tasks)
    }

    /// The actions, in the order of their names.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.replies.keys().map(String::as_str).filter(|name| !self.conditions.contains(*name))
    }

    /// The conditions after which an action comes.
    pub fn conditions_of(&self, action: &str) -> impl Iterator<Item = &str> {
        let before = self.edges.iter().filter(move |(_, to)| *to == action).map(|(from, _)| from.as_str());
        before.filter(|node| self.conditions.contains(*node))
    }

    /// The longest way through the graph from an action that nothing leads to.
    #[must_use]
    pub fn path(&self) -> Vec<&str> {
        let targets: BTreeSet<&String> = self.edges.values().collect();
        let starts = self.edges.keys().filter(|node| !targets.contains(node) && !self.conditions.contains(*node));
        starts.map(|start| self.after(start)).max_by_key(Vec::len).unwrap_or_default()
    }

    /// A node and those that follow it.
    #[must_use]
    pub fn after<'t>(&'t self, node: &'t str) -> Vec<&'t str> {
        let mut way = vec![node];
        let mut at = node;
        while let Some(next) = self.edges.get(at).filter(|next| !way.contains(&next.as_str())) {
            way.push(next);
            at = next;
        }
        way
    }
}

/// Who did something in a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The customer wrote.
    Customer,
    /// The system said or looked up something: the action, where it is one of the task's.
    System(Option<String>),
    /// The records answered.
    Records,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who did it.
    pub actor: Actor,
    /// In words.
    pub text: String,
}

/// A dialogue about one task.
#[derive(Debug, Clone)]
pub struct Dialogue {
    /// Its number.
    pub number: u64,
    /// What it is about; the first where there are several.
    pub task: String,
    /// The field that the task belongs to.
    pub domain: String,
    /// Whether the customer was to go straight to the end.
    pub happy: bool,
    /// What happened, in order.
    pub events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawDialogue {
    #[serde(rename = "DialogueID")]
    number: u64,
    events: Vec<RawEvent>,
    scenario: RawScenario,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawScenario {
    domains: Option<Vec<Option<String>>>,
    happy: bool,
    wizard_capabilities: Vec<RawCapability>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawCapability {
    task: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawEvent {
    agent: String,
    action: String,
    text: Option<String>,
    action_label: Option<String>,
    #[serde(default)]
    constraints: Vec<Map<String, Value>>,
    item: Option<Map<String, Value>>,
}

impl Dialogue {
    /// One line of the corpus.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        let raw: RawDialogue = serde_json::from_str(line)?;
        Ok(Self {
            number: raw.number,
            task: raw.scenario.wizard_capabilities.into_iter().next().and_then(|one| one.task).unwrap_or_default(),
            domain: raw.scenario.domains.and_then(|all| all.into_iter().next().flatten()).unwrap_or_default(),
            happy: raw.scenario.happy,
            events: raw.events.into_iter().filter_map(event).collect(),
        })
    }

    /// The places in `events` where the system chose an action, with the action.
    pub fn choices(&self) -> impl Iterator<Item = (usize, &str)> {
        self.events.iter().enumerate().filter_map(|(place, event)| match &event.actor {
            Actor::System(Some(action)) => Some((place, action.as_str())),
            _ => None,
        })
    }
}

fn event(raw: RawEvent) -> Option<Event> {
    let text = raw.text.unwrap_or_default();
    let (actor, text) = match (raw.agent.as_str(), raw.action.as_str()) {
        ("User", "utter") => (Actor::Customer, text),
        ("Wizard", "utter") => (Actor::System(None), text),
        ("Wizard", "pick_suggestion") => (Actor::System(raw.action_label), text),
        ("Wizard", "query") => (Actor::System(Some(query(&raw.constraints))), String::new()),
        ("KnowledgeBase", "return_item") => {
            (Actor::Records, raw.item.map_or_else(|| "no result".to_owned(), |item| said(&item)))
        }
        _ => return None,
    };
    Some(Event { actor, text })
}

/// The two kinds of look-up that some tasks tell apart, as the papers name them; one that is both is a check.
fn query(constraints: &[Map<String, Value>]) -> String {
    let requests: Vec<&str> = constraints
        .iter()
        .filter_map(|one| one.get("RequestType")?.as_str())
        .map(|kind| kind.trim_matches('"'))
        .collect();
    let kind = ["Check", "Book"].into_iter().find(|kind| requests.contains(kind));
    match kind {
        Some("Check") => "query_check".to_owned(),
        Some(_) => "query_book".to_owned(),
        None => "query".to_owned(),
    }
}

/// A record in words, without what only names it.
fn said(item: &Map<String, Value>) -> String {
    let fields = item.iter().filter(|(key, _)| !matches!(key.as_str(), "APIName" | "id"));
    let words = fields.map(|(key, value)| match value {
        Value::String(text) => format!("{key}: {text}"),
        other => format!("{key}: {other}"),
    });
    words.collect::<Vec<_>>().join("; ")
}
