//! What speaks for an action at one point of a dialogue.
//!
//! Two kinds. What can be said of any task: where the action stands in the graph, what has been done, how alike the last words and
//! its own reply are; weights learned on one task serve another. And what is said of an action by its name, which serves only
//! tasks that share it ("ask for the name", "goodbye").

use std::collections::{BTreeMap, HashMap};

use super::corpus::{Actor, Dialogue, Event, Task};
use crate::backend::cpu::dot;

/// A text by the system in no action of its own is taken for the action whose reply it is most like, from this cosine on.
const SAME_REPLY: f32 = 0.6;

/// Embeddings of all texts, each of length 1.
pub(super) struct Embedded<'e> {
    pub(super) rows: &'e [Vec<f32>],
    pub(super) places: &'e HashMap<String, usize>,
}

impl Embedded<'_> {
    pub(super) fn place(&self, text: &str) -> Option<usize> {
        self.places.get(text).copied()
    }

    pub(super) fn row(&self, place: Option<usize>) -> &[f32] {
        place.and_then(|place| self.rows.get(place)).map_or(&[], Vec::as_slice)
    }

    fn cosine(&self, a: Option<usize>, b: Option<usize>) -> f32 {
        let (a, b) = (self.row(a), self.row(b));
        if a.len() == b.len() { dot(a, b) } else { 0.0 }
    }
}

/// Numbers of names, given in the order in which they are met.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<String, usize>,
    /// Names that are new get no number any more.
    pub(super) closed: bool,
}

impl Names {
    pub(super) fn number(&mut self, name: &str) -> Option<usize> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = self.numbers.len();
        (!self.closed).then(|| {
            self.numbers.insert(name.to_owned(), number);
            number
        })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// An action that could come next.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) action: String,
    /// The action's number, where its name is known.
    pub(super) name: Option<usize>,
    /// Of any task: number and value.
    pub(super) general: Vec<(usize, f32)>,
    /// By its name: numbers of what is the case.
    pub(super) named: Vec<usize>,
    /// Its reply among the embedded texts.
    pub(super) reply: Option<usize>,
}

/// A point at which the system chose.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) task: String,
    pub(super) number: u64,
    pub(super) candidates: Vec<Candidate>,
    /// The last words among the embedded texts.
    pub(super) last: Option<usize>,
    pub(super) chosen: String,
}

impl Choice {
    /// Where the chosen action stands among the candidates.
    pub(super) fn right(&self) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.action == self.chosen)
    }
}

/// Names that features and actions have.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    pub(super) general: Names,
    pub(super) named: Names,
    pub(super) actions: Names,
}

impl Vocabulary {
    /// From now on nothing new is learned.
    pub(super) fn close(&mut self) {
        self.general.closed = true;
        self.named.closed = true;
        self.actions.closed = true;
    }
}

/// What is known when the system chooses.
struct Situation<'d> {
    /// What the system did so far.
    done: Vec<&'d str>,
    /// The last words: a customer's, or the records'.
    last: Option<usize>,
    kind: &'static str,
    /// Everything that the customer wrote.
    said: Vec<Option<usize>>,
    /// The system's own last words.
    own: Option<usize>,
}

impl<'d> Situation<'d> {
    fn of(events: &'d [Event], actions: &'d BTreeMap<&str, Option<usize>>, texts: &Embedded<'_>) -> Self {
        let mut now = Situation { done: Vec::new(), last: None, kind: "nothing", said: Vec::new(), own: None };
        for event in events {
            let place = texts.place(&event.text);
            match &event.actor {
                Actor::Customer => {
                    now.said.push(place);
                    (now.last, now.kind) = (place, "customer");
                }
                Actor::Records => (now.last, now.kind) = (place, "records"),
                Actor::System(action) => {
                    let alike = || {
                        let rated = actions.iter().map(|(name, reply)| (*name, texts.cosine(place, *reply)));
                        let best = rated.max_by(|a, b| a.1.total_cmp(&b.1));
                        best.filter(|(_, cosine)| *cosine >= SAME_REPLY).map(|(name, _)| name)
                    };
                    now.done.push(action.as_deref().or_else(alike).unwrap_or("own words"));
                    (now.own, now.kind) = (place, "system");
                }
            }
        }
        now
    }
}

/// The choices of a dialogue. `shared` are actions that other tasks have too, with their replies.
pub(super) fn choices(
    dialogue: &Dialogue,
    task: &Task,
    shared: &BTreeMap<String, String>,
    texts: &Embedded<'_>,
    names: &mut Vocabulary,
) -> Vec<Choice> {
    let mut actions: BTreeMap<&str, Option<usize>> =
        shared.iter().map(|(name, reply)| (name.as_str(), texts.place(reply))).collect();
    actions.extend(task.actions().map(|name| (name, task.replies.get(name).and_then(|reply| texts.place(reply)))));
    let path = task.path();
    dialogue
        .choices()
        .map(|(place, chosen)| {
            let now = Situation::of(dialogue.events.get(..place).unwrap_or_default(), &actions, texts);
            let candidates = actions.iter().map(|(action, reply)| {
                let (general, named) = (general(action, *reply, task, &path, &now, texts), named(action, &now));
                Candidate {
                    action: (*action).to_owned(),
                    name: names.actions.number(action),
                    general: general
                        .into_iter()
                        .filter(|(_, value)| *value != 0.0)
                        .filter_map(|(name, value)| Some((names.general.number(&name)?, value)))
                        .collect(),
                    named: named.iter().filter_map(|name| names.named.number(name)).collect(),
                    reply: *reply,
                }
            });
            Choice {
                task: dialogue.task.clone(),
                number: dialogue.number,
                candidates: candidates.collect(),
                last: now.last,
                chosen: chosen.to_owned(),
            }
        })
        .collect()
}

/// What can be said of an action of any task.
fn general(
    action: &str,
    reply: Option<usize>,
    task: &Task,
    path: &[&str],
    now: &Situation<'_>,
    texts: &Embedded<'_>,
) -> Vec<(String, f32)> {
    let kind = now.kind;
    let previous = now.done.last().copied().unwrap_or("nothing");
    let times = now.done.iter().filter(|done| **done == action).count();
    let node = |node: &str| task.replies.get(node).and_then(|reply| texts.place(reply));
    let mut out: Vec<(String, f32)> = Vec::new();
    let mut say = |name: String, value: f32| out.push((name, value));

    // Where it stands after what was done last.
    let ahead = task.after(previous);
    let steps = ahead.iter().position(|next| *next == action).filter(|steps| *steps > 0);
    if let Some(steps) = steps {
        let steps = steps.min(4);
        say(format!("{steps} ahead, {kind}"), 1.0);
        // The steps between are answered already where the last words are like them.
        let between =
            ahead.get(1..steps).unwrap_or_default().iter().map(|between| texts.cosine(now.last, node(between)));
        say(format!("{steps} ahead, between"), between.fold(0.0, f32::max));
    } else if task.after(action).contains(&previous) && action != previous {
        say(format!("behind, {}, {kind}", times.min(1)), 1.0);
    } else {
        say(format!("elsewhere, {}, {kind}", times.min(1)), 1.0);
    }
    if action == previous {
        say(format!("again, {kind}"), 1.0);
    }
    say(format!("done {}, {kind}", times.min(2)), 1.0);

    // Where it stands among what is still open on the way through the task.
    let open: Vec<&str> = path.iter().copied().filter(|step| !now.done.contains(step)).collect();
    match open.iter().position(|step| *step == action) {
        Some(place) => say(format!("open {}, {kind}", place.min(4)), 1.0),
        None => say(format!("not open, {}, {kind}", path.contains(&action)), 1.0),
    }
    if now.done.is_empty() {
        let depth = path.iter().position(|step| *step == action).map_or(9, |depth| depth.min(4));
        say(format!("first, depth {depth}"), 1.0);
    }

    // The condition that it waits for, and how alike that is to the last words.
    let mut waits = false;
    let mut met = f32::MIN;
    for condition in task.conditions_of(action) {
        waits = true;
        met = met.max(texts.cosine(now.last, node(condition)));
    }
    if waits {
        say(format!("waits, {}, {kind}", times.min(1)), 1.0);
        say(format!("met, {kind}"), met);
    }
    say(format!("{}, {}, {kind}", leads(task, action), asks(task, action)), 1.0);

    // How alike its reply is to what was said.
    let cosine = texts.cosine(now.last, reply);
    say(format!("like the last words, {kind}"), cosine);
    say(format!("like the last words, {}, {}", steps.map_or(0, |steps| steps.min(2)), times.min(1)), cosine);
    say("like the system's own words".to_owned(), texts.cosine(now.own, reply));
    if asks(task, action) == "asks" && times == 0 {
        let told = now.said.iter().map(|said| texts.cosine(*said, reply)).fold(0.0, f32::max);
        say("already told".to_owned(), told);
        say(format!("already told, {}", steps.map_or(0, |steps| steps.min(2))), told);
    }
    if let Some(query) = action.strip_prefix("query") {
        say(format!("look-up{query}, {kind}"), 1.0);
        say(format!("look-up, {} ahead, {}", steps.map_or(0, |steps| steps.min(4)), times.min(2)), 1.0);
        let before = path.iter().take_while(|step| **step != action).filter(|step| !now.done.contains(step)).count();
        say(format!("look-up, {} open, {kind}", before.min(4)), 1.0);
        say("look-up, things said".to_owned(), (now.said.len() as f32).ln_1p());
    }
    out
}

/// Whether the graph goes on from an action.
fn leads(task: &Task, action: &str) -> &'static str {
    match (task.edges.contains_key(action), task.edges.values().any(|to| to == action)) {
        (true, true) => "within",
        (true, false) => "beginning",
        (false, true) => "end",
        (false, false) => "outside",
    }
}

/// What an action's reply is.
fn asks(task: &Task, action: &str) -> &'static str {
    match task.replies.get(action) {
        Some(_) if action.starts_with("query") => "looks up",
        Some(reply) if reply.contains('{') => "tells",
        Some(reply) if reply.contains('?') => "asks",
        Some(reply) if reply.to_lowercase().contains("please") => "asks",
        Some(_) => "says",
        None => "shared",
    }
}

/// What is the case when an action is chosen, by its name.
fn named(action: &str, now: &Situation<'_>) -> Vec<String> {
    let kind = now.kind;
    let back = |steps: usize| now.done.len().checked_sub(steps).and_then(|place| now.done.get(place)).copied();
    let (one, two) = (back(1).unwrap_or("nothing"), back(2).unwrap_or("nothing"));
    let times = now.done.iter().filter(|done| **done == action).count().min(2);
    let mut names = vec![
        action.to_owned(),
        format!("{action} | {kind}"),
        format!("{action} | {kind} | {one}"),
        format!("{action} | {one} | {two}"),
        format!("{action} | {times}"),
        format!("{action} | length {}", now.done.len().min(8)),
    ];
    let mut done = now.done.clone();
    done.sort_unstable();
    done.dedup();
    names.extend(done.iter().map(|done| format!("{action} | did {done}")));
    names
}
