//! `/manage/flows`: what the assistant asks, says and does, as it is in force now.

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::dialogue::flow::{Act, Does, Flow, SlotKind};

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame};
use crate::{AppError, Result};

use super::flow_diagram::{Diagram, act_words, told, words};

#[derive(Template)]
#[template(path = "manage/flows.html")]
struct FlowsPage {
    frame: Frame,
    tab: &'static str,
    source: String,
    problem: Option<String>,
    flows: Vec<Row>,
}

struct Row {
    name: String,
    title: String,
    intents: String,
    slots: usize,
    steps: usize,
    does: String,
    identity: bool,
}

#[derive(Template)]
#[template(path = "manage/flow.html")]
struct FlowPage {
    frame: Frame,
    tab: &'static str,
    flow: Flow,
    diagram: Diagram,
    slots: Vec<SlotRow>,
    branches: Vec<(String, String)>,
    actions: Vec<ActionRow>,
    permissions: Vec<String>,
}

struct SlotRow {
    label: String,
    name: String,
    kind: String,
    ask: String,
    why: String,
    private: bool,
    resets: String,
}

struct ActionRow {
    does: &'static str,
    confirm: String,
    refused: String,
    undo: String,
}

/// All flows.
pub(super) async fn list(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let source = app.engine.flows();
    let manager = app.engine.dialogue();
    pages::html(&FlowsPage {
        frame: Frame::staff(&app.config.bank_name, "Flows", "manage", &person),
        tab: "flows",
        source: source.folder().map_or_else(String::new, |folder| folder.display().to_string()),
        problem: source.problem().map(|problem| problem.to_string()),
        flows: manager.flows().iter().map(row).collect(),
    })
}

fn row(flow: &Flow) -> Row {
    let does: Vec<&str> = acts(flow).map(act_words).chain(tells(flow)).collect();
    Row {
        name: flow.name.clone(),
        title: flow.title.clone(),
        intents: flow.intents.join(", "),
        slots: flow.slots.len(),
        steps: flow.steps.len(),
        does: if does.is_empty() { "says and asks only".to_owned() } else { does.join(", ") },
        identity: flow.identity,
    }
}

fn acts(flow: &Flow) -> impl Iterator<Item = Act> {
    let mut seen = Vec::new();
    flow.steps.iter().filter_map(move |step| match step.does {
        Does::Act { act, .. } if !seen.contains(&act) => {
            seen.push(act);
            Some(act)
        }
        _ => None,
    })
}

fn tells(flow: &Flow) -> impl Iterator<Item = &'static str> {
    flow.steps.iter().filter_map(|step| match step.does {
        Does::Tell { what } => Some(told(what)),
        _ => None,
    })
}

/// One flow with its picture and tables.
pub(super) async fn one(app: web::Data<App>, person: Person, name: web::Path<String>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let manager = app.engine.dialogue();
    let flow = manager.flow(&name).ok_or(AppError::NotFound("This flow"))?.clone();
    let branches = flow
        .steps
        .iter()
        .filter_map(|step| {
            let when = step.when.as_ref()?;
            let goes = match &step.does {
                Does::Ask { slot } => format!("asks: {}", flow.slot(slot).map_or(slot.as_str(), |slot| &slot.label)),
                Does::Say { text, .. } | Does::End { text } | Does::HandOff { text } => {
                    format!("says: {}", text.text())
                }
                Does::Tell { what } => format!("tells: {}", told(*what)),
                Does::Act { act, .. } => format!("does: {}", act_words(*act)),
                Does::Start { flow } => format!("goes on with: {}", flow.replace('_', " ")),
            };
            Some((words(when), goes))
        })
        .collect();
    let actions = flow
        .steps
        .iter()
        .filter_map(|step| match &step.does {
            Does::Act { act, confirm, declined, undo, .. } => Some(ActionRow {
                does: act_words(*act),
                confirm: confirm.as_ref().map(|text| text.text().to_owned()).unwrap_or_default(),
                refused: declined.clone().unwrap_or_else(|| "asks what to change".to_owned()),
                undo: undo.clone().unwrap_or_default(),
            }),
            _ => None,
        })
        .collect();
    pages::html(&FlowPage {
        frame: Frame::staff(&app.config.bank_name, flow.title.clone(), "manage", &person),
        tab: "flows",
        diagram: Diagram::of(&flow),
        slots: flow.slots.iter().map(slot_row).collect(),
        branches,
        actions,
        permissions: permissions(&flow),
        flow,
    })
}

fn slot_row(slot: &candor_engine::dialogue::flow::Slot) -> SlotRow {
    SlotRow {
        label: slot.label.clone(),
        name: slot.name.clone(),
        kind: kind_words(&slot.kind),
        ask: slot.ask.text().to_owned(),
        why: slot.why.clone(),
        private: slot.private,
        resets: slot.resets.join(", "),
    }
}

/// What a slot takes, in words.
fn kind_words(kind: &SlotKind) -> String {
    match kind {
        SlotKind::Text { min_words } => format!("own words, {min_words} or more"),
        SlotKind::Choice { choices } => {
            format!("one of: {}", choices.iter().map(|choice| choice.label.as_str()).collect::<Vec<_>>().join(", "))
        }
        SlotKind::YesNo => "yes or no".to_owned(),
        SlotKind::Money { min, max } => format!("an amount from {min} to {max}"),
        SlotKind::Months { min, max, .. } => format!("a time from {min} to {max} months"),
        SlotKind::Birthday => "a date of birth".to_owned(),
        SlotKind::Email => "an email address".to_owned(),
        SlotKind::Phone => "a phone number".to_owned(),
        SlotKind::Postcode => "a postcode".to_owned(),
        SlotKind::Who => "a customer number or email address".to_owned(),
        SlotKind::Card { statuses } => format!("one of the customer’s cards ({})", statuses.join(", ")),
        SlotKind::Payment { kinds } if kinds.is_empty() => "one of the customer’s payments".to_owned(),
        SlotKind::Payment { kinds } => {
            format!("one of the customer’s payments ({})", kinds.join(", ").replace('_', " "))
        }
        SlotKind::Application => "one of the customer’s loan applications".to_owned(),
    }
}

/// What a flow may read and change, and for whom.
fn permissions(flow: &Flow) -> Vec<String> {
    let mut may = vec![if flow.identity {
        "Runs only for a customer who has been identified.".to_owned()
    } else {
        "Runs for anybody.".to_owned()
    }];
    let mut reads: Vec<&str> = flow
        .slots
        .iter()
        .filter_map(|slot| match slot.kind {
            SlotKind::Card { .. } => Some("their cards"),
            SlotKind::Payment { .. } => Some("their payments"),
            SlotKind::Application => Some("their loan applications"),
            _ => None,
        })
        .chain(tells(flow))
        .collect();
    reads.dedup();
    if !reads.is_empty() {
        may.push(format!("Reads {}.", reads.join(", ")));
    }
    for act in acts(flow) {
        may.push(match act {
            Act::Identify => {
                "Compares what the customer says with the records; two attempts, then a person.".to_owned()
            }
            act => format!("May {}, after the customer has read a summary and said yes.", act_words(act)),
        });
    }
    may
}
