//! Messages in a language that the flows do not speak: told so in that language, and offered a person.

use super::super::action::Choice;
use super::super::state::Asked;
use super::super::summary::excerpt;
use super::Exchange;

impl Exchange<'_> {
    /// Answers a message in another language in it. Says whether it was one.
    pub(super) fn answer_foreign(&mut self, text: &str) -> bool {
        let Some(language) = self.manager.others.of(text) else { return false };
        self.note_open(format!("Wrote in {}: “{}”", language.name, excerpt(text)));
        let choices = vec![Choice::new(language.person.clone(), "human"), Choice::new("Continue in English", "no")];
        self.ask(Asked::Offer { yes: "human".to_owned() }, &language.sorry, choices, None);
        true
    }
}
