//! Reading and checking flows. Every error names the file and the line.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{Act, Condition, Does, Flow, Slot, SlotChoice, SlotKind, Step, Tell, Template};

/// The flow that identifies the customer; the manager starts it by itself.
pub(in crate::dialogue) const IDENTIFY: &str = "identify";
/// The flow that hands over on request.
pub(in crate::dialogue) const TALK_TO_HUMAN: &str = "talk_to_human";

/// The flows compiled into the program.
const SHIPPED: &[(&str, &str)] = &[
    ("identify.toml", include_str!("../flows/identify.toml")),
    ("block_card.toml", include_str!("../flows/block_card.toml")),
    ("card_arrival.toml", include_str!("../flows/card_arrival.toml")),
    ("transaction_status.toml", include_str!("../flows/transaction_status.toml")),
    ("dispute_charge.toml", include_str!("../flows/dispute_charge.toml")),
    ("balance.toml", include_str!("../flows/balance.toml")),
    ("recent_payments.toml", include_str!("../flows/recent_payments.toml")),
    ("change_contact.toml", include_str!("../flows/change_contact.toml")),
    ("loan_apply.toml", include_str!("../flows/loan_apply.toml")),
    ("loan_status.toml", include_str!("../flows/loan_status.toml")),
    ("complaint.toml", include_str!("../flows/complaint.toml")),
    ("talk_to_human.toml", include_str!("../flows/talk_to_human.toml")),
];

/// What is wrong in a flow's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct FlowError {
    /// The file's name.
    pub file: String,
    /// Line within it, from 1; 0 when the file itself can not be read.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads the flows compiled into the program.
pub(in crate::dialogue) fn shipped() -> Result<Vec<Flow>, FlowError> {
    from_files(SHIPPED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

/// Reads every `*.toml` file of a folder.
pub(in crate::dialogue) fn from_dir(folder: &Path) -> Result<Vec<Flow>, FlowError> {
    let unreadable = |file: &Path, error: std::io::Error| FlowError {
        file: file.display().to_string(),
        line: 0,
        problem: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, text));
        }
    }
    files.sort();
    from_files(files)
}

fn from_files(files: Vec<(String, String)>) -> Result<Vec<Flow>, FlowError> {
    let names: BTreeSet<String> = files.iter().map(|(file, _)| file.trim_end_matches(".toml").to_owned()).collect();
    for required in [IDENTIFY, TALK_TO_HUMAN] {
        if !names.contains(required) {
            return Err(FlowError {
                file: format!("{required}.toml"),
                line: 0,
                problem: "this flow is needed and there is no such file".to_owned(),
            });
        }
    }
    files.iter().map(|(file, text)| Reader { file, text, names: &names }.read()).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowText {
    title: String,
    wish: String,
    #[serde(default)]
    intents: Vec<String>,
    #[serde(default)]
    cues: Vec<String>,
    #[serde(default)]
    settles: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    identity: bool,
    #[serde(default)]
    repeat: bool,
    opening: Option<String>,
    #[serde(default, rename = "slot")]
    slots: Vec<Spanned<SlotText>>,
    #[serde(rename = "step")]
    steps: Vec<Spanned<StepText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotText {
    name: String,
    label: String,
    kind: Spanned<String>,
    ask: Spanned<String>,
    help: Spanned<String>,
    why: String,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    hints: Vec<String>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    resets: Vec<String>,
    none: Option<String>,
    unfit: Option<String>,
    #[serde(default)]
    choices: Vec<ChoiceText>,
    min: Option<i64>,
    max: Option<i64>,
    min_words: Option<usize>,
    #[serde(default)]
    bare_years: bool,
    #[serde(default)]
    statuses: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceText {
    value: String,
    label: String,
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    when: Option<Spanned<String>>,
    ask: Option<String>,
    say: Option<String>,
    #[serde(default)]
    offers: Vec<String>,
    tell: Option<Tell>,
    act: Option<Act>,
    confirm: Option<String>,
    #[serde(default)]
    rows: Vec<String>,
    declined: Option<String>,
    undo: Option<String>,
    hand_off: Option<String>,
    start: Option<String>,
    end: Option<String>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    names: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn error(&self, at: &Range<usize>, problem: impl Into<String>) -> FlowError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        FlowError { file: self.file.to_owned(), line: before.matches('\n').count() + 1, problem: problem.into() }
    }

    fn read(&self) -> Result<Flow, FlowError> {
        let file: FlowText = toml::from_str(self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            self.error(&at, error.message())
        })?;
        let mut slots: Vec<Slot> = Vec::with_capacity(file.slots.len());
        for slot in file.slots {
            let at = slot.span();
            let slot = self.slot(slot.into_inner(), &at)?;
            if slots.iter().any(|other| other.name == slot.name) {
                return Err(self.error(&at, format!("there are two slots '{}'", slot.name)));
            }
            slots.push(slot);
        }
        let mut flow = Flow {
            name: self.file.trim_end_matches(".toml").to_owned(),
            title: file.title,
            wish: file.wish,
            intents: file.intents,
            cues: file.cues,
            settles: file.settles,
            unless: file.unless,
            identity: file.identity,
            repeat: file.repeat,
            opening: file.opening,
            slots,
            steps: Vec::with_capacity(file.steps.len()),
        };
        for step in file.steps {
            let at = step.span();
            let step = self.step(step.into_inner(), &at, &flow)?;
            flow.steps.push(step);
        }
        for slot in &flow.slots {
            let asked = |step: &Step| matches!(&step.does, Does::Ask { slot: name } if *name == slot.name);
            if !flow.steps.iter().any(asked) {
                return Err(self.error(&(0..0), format!("no step asks for slot '{}'", slot.name)));
            }
            if let Some(name) = slot.resets.iter().find(|name| flow.slot(name).is_none()) {
                return Err(self.error(&(0..0), format!("slot '{}' resets '{name}', which does not exist", slot.name)));
            }
            if slot.kind.is_record() && !flow.identity {
                return Err(self.error(
                    &(0..0),
                    format!("slot '{}' reads the customer's records: the flow needs 'identity = true'", slot.name),
                ));
            }
        }
        Ok(flow)
    }

    fn slot(&self, slot: SlotText, at: &Range<usize>) -> Result<Slot, FlowError> {
        let template = |text: &Spanned<String>| {
            Template::parse(text.as_ref()).map_err(|problem| self.error(&text.span(), problem))
        };
        let bound = |value: Option<i64>, name: &str| {
            value.ok_or_else(|| self.error(at, format!("slot '{}' needs '{name}'", slot.name)))
        };
        let kind = match slot.kind.as_ref().as_str() {
            "text" => SlotKind::Text { min_words: slot.min_words.unwrap_or(1) },
            "choice" if slot.choices.len() >= 2 => SlotKind::Choice {
                choices: slot
                    .choices
                    .iter()
                    .map(|choice| SlotChoice {
                        value: choice.value.clone(),
                        label: choice.label.clone(),
                        words: choice.words.clone(),
                    })
                    .collect(),
            },
            "choice" => return Err(self.error(at, format!("slot '{}' needs two choices or more", slot.name))),
            "yes_no" => SlotKind::YesNo,
            "money" => SlotKind::Money { min: bound(slot.min, "min")?, max: bound(slot.max, "max")? },
            "months" => SlotKind::Months {
                min: bound(slot.min, "min")?,
                max: bound(slot.max, "max")?,
                bare_years: slot.bare_years,
            },
            "birthday" => SlotKind::Birthday,
            "email" => SlotKind::Email,
            "phone" => SlotKind::Phone,
            "postcode" => SlotKind::Postcode,
            "who" => SlotKind::Who,
            "card" => SlotKind::Card { statuses: slot.statuses.clone() },
            "payment" => SlotKind::Payment { kinds: slot.kinds.clone() },
            "application" => SlotKind::Application,
            other => {
                return Err(self.error(
                    &slot.kind.span(),
                    format!(
                        "'{other}' is no kind of slot: use text, choice, yes_no, money, months, birthday, email, \
                         phone, postcode, who, card, payment or application"
                    ),
                ));
            }
        };
        Ok(Slot {
            ask: template(&slot.ask)?,
            help: template(&slot.help)?,
            name: slot.name,
            label: slot.label,
            kind,
            why: slot.why,
            words: slot.words,
            hints: slot.hints,
            open: slot.open,
            private: slot.private,
            resets: slot.resets,
            none: slot.none,
            unfit: slot.unfit,
        })
    }

    fn step(&self, step: StepText, at: &Range<usize>, flow: &Flow) -> Result<Step, FlowError> {
        let template = |text: String| {
            let template = Template::parse(&text).map_err(|problem| self.error(at, problem))?;
            self.names_exist(template.names(), flow, at)?;
            Ok::<_, FlowError>(template)
        };
        let flow_exists = |name: &str| {
            if self.names.contains(name) { Ok(()) } else { Err(self.error(at, format!("there is no flow '{name}'"))) }
        };
        let slot_exists = |name: &str| match flow.slot(name) {
            Some(_) => Ok(()),
            None => Err(self.error(at, format!("there is no slot '{name}'"))),
        };
        let when = match step.when {
            None => None,
            Some(text) => {
                let condition = Condition::parse(text.as_ref()).map_err(|problem| self.error(&text.span(), problem))?;
                self.names_exist(condition.names(), flow, &text.span())?;
                Some(condition)
            }
        };
        let does = match step {
            StepText { ask: Some(slot), .. } => {
                slot_exists(&slot)?;
                Does::Ask { slot }
            }
            StepText { say: Some(text), offers, .. } => {
                offers.iter().try_for_each(|name| flow_exists(name))?;
                Does::Say { text: template(text)?, offers }
            }
            StepText { tell: Some(what), .. } if flow.identity => Does::Tell { what },
            StepText { tell: Some(_), .. } => {
                return Err(self.error(at, "to tell from records, the flow needs 'identity = true'"));
            }
            StepText { act: Some(act), confirm, rows, declined, undo, .. } => {
                rows.iter().try_for_each(|name| slot_exists(name))?;
                if act != Act::Identify && confirm.is_none() {
                    return Err(self.error(at, "an operation needs 'confirm', the question that confirms it"));
                }
                Does::Act { act, confirm: confirm.map(template).transpose()?, rows, declined, undo }
            }
            StepText { hand_off: Some(text), .. } => Does::HandOff { text: template(text)? },
            StepText { start: Some(name), .. } => {
                flow_exists(&name)?;
                Does::Start { flow: name }
            }
            StepText { end: Some(text), .. } => Does::End { text: template(text)? },
            _ => return Err(self.error(at, "a step needs one of ask, say, tell, act, hand_off, start, end")),
        };
        Ok(Step { when, does })
    }

    fn names_exist<'n>(
        &self,
        names: impl Iterator<Item = (&'n str, Option<&'n str>)>,
        flow: &Flow,
        at: &Range<usize>,
    ) -> Result<(), FlowError> {
        for (slot, field) in names {
            let Some(found) = flow.slot(slot) else {
                return Err(self.error(at, format!("there is no slot '{slot}'")));
            };
            if let Some(field) = field
                && !found.kind.fields().contains(&field)
            {
                return Err(self.error(at, format!("slot '{slot}' has no field '{field}'")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = \"T\"\nwish = \"w\"\n";
    const SLOT: &str =
        "[[slot]]\nname = \"a\"\nlabel = \"A\"\nkind = \"text\"\nask = \"?\"\nhelp = \"?\"\nwhy = \".\"\n";

    fn problem(text: &str) -> (usize, String) {
        let names: BTreeSet<String> = ["x", IDENTIFY].iter().map(|name| (*name).to_owned()).collect();
        let error = Reader { file: "x.toml", text, names: &names }.read().unwrap_err();
        assert_eq!(error.file, "x.toml");
        (error.line, error.problem)
    }

    #[test]
    fn shipped_flows_are_sound() {
        let flows = shipped().unwrap();
        assert_eq!(flows.len(), SHIPPED.len());
        let intents: Vec<&String> = flows.iter().flat_map(|flow| &flow.intents).collect();
        for intent in [
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
            "talk_to_human",
        ] {
            assert!(intents.iter().any(|one| *one == intent), "no flow for {intent}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let (line, text) = problem(&format!("{HEAD}colour = \"red\"\n[[step]]\nsay = \"hi\"\n"));
        assert_eq!(line, 3);
        assert!(text.contains("colour"), "{text}");

        let (line, text) = problem(&format!("{HEAD}\n[[step]]\nask = \"b\"\n"));
        assert_eq!((line, text.as_str()), (4, "there is no slot 'b'"));

        let (line, text) = problem(&format!("{HEAD}{SLOT}[[step]]\nwhen = \"a equals b\"\nask = \"a\"\n"));
        assert_eq!(line, 11);
        assert!(text.contains("is not a condition"), "{text}");

        let (_, text) = problem(&format!("{HEAD}{SLOT}[[step]]\nask = \"a\"\n[[step]]\nsay = \"{{a.last4}}\"\n"));
        assert_eq!(text, "slot 'a' has no field 'last4'");

        let (_, text) = problem(&format!("{HEAD}[[step]]\nact = \"block_card\"\n"));
        assert!(text.contains("needs 'confirm'"), "{text}");

        let (_, text) = problem(&format!("{HEAD}[[step]]\ntell = \"balances\"\n"));
        assert!(text.contains("identity = true"), "records need identification: {text}");

        let card = SLOT.replace("\"text\"", "\"card\"");
        let (_, text) = problem(&format!("{HEAD}{card}[[step]]\nask = \"a\"\n"));
        assert!(text.contains("identity = true"), "records need identification: {text}");

        let (line, text) = problem(&format!("{HEAD}{}[[step]]\nask = \"a\"\n", SLOT.replace("\"text\"", "\"colour\"")));
        assert_eq!(line, 6);
        assert!(text.contains("no kind of slot"), "{text}");
    }
}
