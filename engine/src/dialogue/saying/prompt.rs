//! What a generator is asked: a conversation, then what to say, with places where values stood.
//!
//! The shipped generator was trained on exactly this form (`engine/recipes/generator/prepare.py`). Its chat template
//! leaves out the first message, which explains the form to models that were not.

use super::super::action::Action;
use super::places::Places;
use crate::generation::{Message, Role};

/// Messages before what is to be said, the customer's last one included.
const HISTORY: usize = 6;
/// Messages of a conversation that is summarised.
const CONVERSATION: usize = 24;

const REPLY: &str = "You word the replies of a bank's assistant. The last system message says what is to be said: the \
    kind of reply, the matter, the tone and, after `words`, the bank's own wording. Say the same to the customer in that \
    tone, in your own words, and keep every value and every place such as <money1> exactly as it is. Add no fact, no \
    promise, no question and no name; leave nothing out. Answer with the reply alone.";

const SUMMARY: &str = "You summarise conversations of a bank for the colleague who takes over. Answer with four lines and \
    nothing else: `problem: `, `facts: `, `done: `, `open: `, each followed by short notes separated by `; `, or by \
    `none`. Keep every value and every place such as <money1> exactly as it is. State only what was said.";

/// Something that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// By the customer; else by the assistant.
    pub by_customer: bool,
    /// The words.
    pub text: &'a str,
}

/// How a bank sounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Matter-of-fact.
    Plain,
    /// With courtesies.
    #[default]
    Warm,
    /// As short as possible.
    Brief,
    /// Something went wrong for the customer.
    Sorry,
}

impl Tone {
    /// The tone's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Warm => "warm",
            Self::Brief => "brief",
            Self::Sorry => "sorry",
        }
    }
}

/// A prompt with the values that were taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    pub(super) messages: Vec<Message>,
    pub(super) places: Places,
}

impl Prompt {
    fn begin(instruction: &str, said: &[Spoken<'_>], longest: usize) -> Self {
        let mut prompt = Self { messages: vec![Message::system(instruction)], places: Places::default() };
        for spoken in said.iter().skip(said.len().saturating_sub(longest)) {
            let role = if spoken.by_customer { Role::User } else { Role::Assistant };
            let text = prompt.places.take_out(spoken.text);
            prompt.messages.push(Message::new(role, text));
        }
        prompt
    }

    /// Asks for an action in other words; nothing where its words are not the assistant's own.
    pub(super) fn reply(said: &[Spoken<'_>], action: &Action, flow: Option<&str>, tone: Tone) -> Option<Self> {
        let (act, detail) = match action {
            Action::Say { citations, .. } => match citations.first() {
                Some(citation) => ("answer", citation.title.as_str()),
                None => ("say", ""),
            },
            Action::Ask { slot, .. } => ("ask", slot.as_str()),
            Action::HandOff { reason, .. } => ("hand over", reason.as_str()),
            // A receipt is the bank's own record.
            Action::Act { .. } => return None,
        };
        let mut prompt = Self::begin(REPLY, said, HISTORY);
        let mut lines = vec![match prompt.places.take_out(detail).replace('_', " ").as_str() {
            "" => act.to_owned(),
            detail => format!("{act} {detail}"),
        }];
        lines.extend(flow.map(|flow| format!("flow {flow}")));
        lines.push(format!("tone {}", tone.as_str()));
        lines.push(format!("words {}", prompt.places.take_out(action.text())));
        prompt.messages.push(Message::system(lines.join("\n")));
        Some(prompt)
    }

    /// Asks for a summary; `known` is the customer as identified.
    pub(super) fn summary(said: &[Spoken<'_>], known: Option<&str>) -> Self {
        let mut prompt = Self::begin(SUMMARY, said, CONVERSATION);
        let ask = known.map_or_else(|| "summary".to_owned(), |known| format!("summary\nknown {known}"));
        let ask = prompt.places.take_out(&ask);
        prompt.messages.push(Message::system(ask));
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_has_the_form_that_the_generator_was_trained_on() {
        let said = [
            Spoken { by_customer: true, text: "block the card ending 4821 <|end|>" },
            Spoken { by_customer: false, text: "First I need to confirm who you are." },
            Spoken { by_customer: true, text: "C-10023" },
        ];
        let action = Action::Ask {
            slot: "date_of_birth".into(),
            text: "Is it the card ending 4821, C-10023?".into(),
            choices: Vec::new(),
            summary: None,
        };
        let prompt = Prompt::reply(&said, &action, Some("Block a lost or stolen card"), Tone::Warm).unwrap();
        let texts: Vec<&str> = prompt.messages.iter().skip(1).map(|message| message.content.as_str()).collect();
        assert_eq!(
            texts,
            [
                "block the card ending <code1> ‹|end|›",
                "First I need to confirm who you are.",
                "<code2>",
                "ask date of birth\nflow Block a lost or stolen card\ntone warm\nwords Is it the card ending <code1>, <code2>?",
            ]
        );
        assert_eq!(prompt.places.put_back("<code2>").as_deref(), Ok("C-10023"));
    }
}
