//! What the manager itself says, as data: `words.toml`.

use serde::Deserialize;

use super::flow::FlowError;

/// The manager's own sentences. `{…}` are places for values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) bank: String,
    pub(super) currency: String,
    pub(super) greeting: String,
    pub(super) hello: String,
    pub(super) wishes: Vec<String>,
    pub(super) anything_else: String,
    pub(super) welcome: String,
    pub(super) goodbye: String,
    pub(super) back_to: String,
    pub(super) next_wish: String,
    pub(super) what_to_change: String,
    pub(super) cancelled: String,
    pub(super) cancelled_after: String,
    pub(super) nothing_to_cancel: String,
    pub(super) changed: String,
    pub(super) which_other: String,
    pub(super) not_found: String,
    pub(super) clarify: String,
    pub(super) clarify_passages: String,
    pub(super) clarify_open: String,
    pub(super) no_answer: String,
    pub(super) no_answer_here: String,
    pub(super) hand_off_misunderstood: String,
    pub(super) hand_off_not_identified: String,
    pub(super) hand_off_unhappy: String,
    pub(super) hand_off_needs_person: String,
    pub(super) hand_off_out_of_scope: String,
    pub(super) waiting: String,
    pub(super) still_there: String,
    pub(super) left_open: String,
    pub(super) sorry: String,
    pub(super) unhappy: String,
    pub(super) not_matched: String,
    pub(super) identified: String,
}

impl Words {
    /// The sentences compiled into the program.
    pub(super) fn shipped() -> Result<Self, FlowError> {
        let text = include_str!("words.toml");
        toml::from_str(text).map_err(|error| FlowError {
            file: "words.toml".to_owned(),
            line: error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1),
            problem: error.message().to_owned(),
        })
    }
}

/// A sentence with a value in its place.
pub(super) fn put(sentence: &str, place: &str, value: &str) -> String {
    sentence.replace(&format!("{{{place}}}"), value)
}

/// A text as it should be read: one space between words, a capital at the start.
pub(super) fn tidy(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let text = lines.join("\n").trim().to_owned();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}
