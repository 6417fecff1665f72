//! A flow as a picture drawn by the server: its steps from top to bottom, and where they are passed over.

use askama::Template;
use candor_engine::dialogue::flow::{Act, Condition, Does, Flow, Step, Tell, Test};

/// Width of a box, in the drawing's units.
const BOX: u32 = 340;
/// Where boxes begin; left of them run the ways around.
const LEFT: u32 = 60;
/// Height of a line of text.
const LINE: u32 = 18;
/// Letters that fit on a line of a box.
const LETTERS: usize = 48;

/// The picture.
#[derive(Debug, Template)]
#[template(path = "manage/flow_diagram.svg", escape = "html")]
pub(super) struct Diagram {
    id: String,
    title: String,
    /// The same in words, for who can not see it.
    desc: String,
    height: u32,
    nodes: Vec<Node>,
}

/// Lets a template write `{{ diagram }}`: the drawing escapes its own text.
impl askama::filters::HtmlSafe for Diagram {}

#[derive(Debug)]
struct Node {
    /// Class of the box: ask, say, act, hand, end.
    kind: &'static str,
    /// What it does, in one word.
    verb: &'static str,
    lines: Vec<(u32, String)>,
    y: u32,
    height: u32,
    /// Under what condition it is taken, and where that stands.
    when: Option<(u32, String)>,
    /// The way around: from beside the condition to below the box.
    around: Option<(u32, u32)>,
    /// Where the line into the box begins.
    from: Option<u32>,
}

impl Diagram {
    /// Draws a flow.
    pub(super) fn of(flow: &Flow) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let mut y = 8;
        let begin: Vec<String> = vec![if flow.identity { "Known customer only".to_owned() } else { flow.wish.clone() }];
        nodes.push(node("start", "Start", begin, &mut y, None));
        for step in &flow.steps {
            nodes.push(node(kind(step), verb(step), vec![text(flow, step)], &mut y, step.when.as_ref()));
        }
        let ends =
            flow.steps.last().is_some_and(|step| step.when.is_none() && matches!(step.does, Does::HandOff { .. }));
        if !ends {
            nodes.push(node("end", "End", vec!["Anything else?".to_owned()], &mut y, None));
        }
        let mut below: Option<u32> = None;
        for node in &mut nodes {
            node.from = below;
            below = Some(node.y + node.height);
        }
        let desc = flow.steps.iter().map(|step| sentence(flow, step)).collect::<Vec<_>>().join(" ");
        Self { id: flow.name.clone(), title: flow.title.clone(), desc, height: y, nodes }
    }
}

fn node(kind: &'static str, verb: &'static str, text: Vec<String>, y: &mut u32, when: Option<&Condition>) -> Node {
    let top = *y;
    let when = when.map(|when| (top + LINE, format!("only if {}", shortened(&words(when), 52))));
    if when.is_some() {
        *y += LINE + 10;
    }
    let lines: Vec<String> = text.iter().flat_map(|text| wrapped(text)).collect();
    let at = *y;
    let rows: Vec<(u32, String)> =
        lines.into_iter().zip((0..).map(|row| at + 40 + row * LINE)).map(|(line, at)| (at, line)).collect();
    let height = rows.last().map_or(40, |(last, _)| last - at) + 12;
    *y += height + 22;
    let around = when.as_ref().map(|(beside, _)| (beside - 5, at + height + 11));
    Node { kind, verb, lines: rows, y: at, height, when, around, from: None }
}

/// A text on lines that fit, three of them at most.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > LETTERS);
        if full {
            if lines.len() == 3 {
                if let Some(line) = lines.last_mut() {
                    line.push('…');
                }
                break;
            }
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn shortened(text: &str, fits: usize) -> String {
    if text.chars().count() <= fits {
        return text.to_owned();
    }
    text.chars().take(fits - 1).chain(['…']).collect()
}

fn kind(step: &Step) -> &'static str {
    match step.does {
        Does::Ask { .. } => "ask",
        Does::Say { .. } | Does::Tell { .. } => "say",
        Does::Act { .. } => "act",
        Does::HandOff { .. } => "hand",
        Does::Start { .. } | Does::End { .. } => "end",
    }
}

fn verb(step: &Step) -> &'static str {
    match step.does {
        Does::Ask { .. } => "Ask",
        Does::Say { .. } => "Say",
        Does::Tell { .. } => "Tell from the records",
        Does::Act { act: Act::Identify, .. } => "Compare with the records",
        Does::Act { .. } => "Do, after a yes",
        Does::HandOff { .. } => "Hand over to a person",
        Does::Start { .. } => "Go on with",
        Does::End { .. } => "End here",
    }
}

fn text(flow: &Flow, step: &Step) -> String {
    match &step.does {
        Does::Ask { slot } => flow.slot(slot).map_or_else(|| slot.clone(), |slot| slot.ask.text().to_owned()),
        Does::Say { text, .. } | Does::HandOff { text } | Does::End { text } => text.text().to_owned(),
        Does::Tell { what } => told(*what).to_owned(),
        Does::Act { act, confirm, .. } => match confirm {
            Some(confirm) => format!("{}: {}", act_words(*act), confirm.text()),
            None => act_words(*act).to_owned(),
        },
        Does::Start { flow } => flow.replace('_', " "),
    }
}

fn sentence(flow: &Flow, step: &Step) -> String {
    let does = format!("{}: {}", verb(step), text(flow, step));
    let stop = if does.ends_with(['.', '?', '!']) { "" } else { "." };
    match &step.when {
        Some(when) => format!("Only if {}: {does}{stop}", words(when)),
        None => format!("{does}{stop}"),
    }
}

/// What records are told of.
pub(super) fn told(what: Tell) -> &'static str {
    match what {
        Tell::Balances => "balances of all accounts",
        Tell::RecentPayments => "the newest payments",
        Tell::CardArrival => "cards on their way",
    }
}

/// What an operation does.
pub(super) fn act_words(act: Act) -> &'static str {
    match act {
        Act::Identify => "number or email, birthday and postcode",
        Act::BlockCard => "block a card",
        Act::OrderReplacement => "order a new card",
        Act::OpenDispute => "open a dispute",
        Act::ChangeContact => "change contact details",
        Act::SubmitApplication => "submit a loan application",
        Act::FileComplaint => "file a complaint",
    }
}

/// A condition in words.
pub(super) fn words(condition: &Condition) -> String {
    let name = |name: &str| name.replace('_', " ");
    let tests: Vec<String> = condition
        .tests
        .iter()
        .map(|test| match test {
            Test::Identified { wanted: true } => "the customer is known".to_owned(),
            Test::Identified { wanted: false } => "the customer is not known".to_owned(),
            Test::Known { slot, wanted: true } => format!("{} is known", name(slot)),
            Test::Known { slot, wanted: false } => format!("{} is not known", name(slot)),
            Test::Is { slot, field, values, wanted } => {
                let of =
                    field.as_ref().map_or_else(|| name(slot), |field| format!("{} of the {}", name(field), name(slot)));
                let values: Vec<String> = values.iter().map(|value| name(value)).collect();
                format!("{of} is {}{}", if *wanted { "" } else { "not " }, values.join(" or "))
            }
            Test::Less { slot, bound, wanted: true } => format!("{} is less than {bound}", name(slot)),
            Test::Less { slot, bound, wanted: false } => format!("{} is {bound} or more", name(slot)),
        })
        .collect();
    tests.join(" and ")
}

#[cfg(test)]
mod tests {
    use candor_engine::dialogue::Manager;

    use super::*;

    #[test]
    fn every_shipped_flow_is_drawn_with_its_branches() {
        let manager = Manager::shipped().unwrap();
        for flow in manager.flows() {
            let diagram = Diagram::of(flow);
            let drawn = diagram.render().unwrap();
            assert_eq!(drawn.matches("<rect").count(), diagram.nodes.len(), "{}", flow.name);
            let branches = flow.steps.iter().filter(|step| step.when.is_some()).count();
            assert_eq!(drawn.matches("class=\"around\"").count(), branches, "{}", flow.name);
            assert!(diagram.nodes.windows(2).all(|pair| pair[0].y + pair[0].height < pair[1].y), "{}", flow.name);
            assert!(!drawn.contains("<script"));
        }
        let block = Diagram::of(manager.flow("block_card").unwrap());
        assert!(block.desc.contains("Only if reason is misused or stolen: Say:"), "{}", block.desc);
    }
}
