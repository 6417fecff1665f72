//! Grounds: every number the assistant states must come from a record, a receipt, a passage, a flow's own text or the
//! customer. Texts are put together from those, so this holds by construction; it is checked all the same, because a
//! wrong figure in a bank's answer is worse than no answer.

use super::Exchange;
use crate::dialogue::action::{Action, HandOffReason};

/// The texts a reply may take its numbers from.
#[derive(Debug, Default)]
pub(super) struct Ground {
    numbers: std::collections::BTreeSet<String>,
}

impl Ground {
    /// Admits the numbers of a text.
    pub(super) fn add(&mut self, text: &str) {
        self.numbers.extend(numbers(text));
    }

    /// The first number of a text that comes from nowhere.
    fn foreign(&self, text: &str) -> Option<String> {
        numbers(text).find(|number| !self.numbers.contains(number))
    }
}

/// Runs of digits; separators of thousands and decimals split them on both sides alike.
fn numbers(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()).map(str::to_owned)
}

impl Exchange<'_> {
    /// Replaces a reply that states a number from nowhere by a hand-over.
    pub(super) fn check_grounds(&mut self) {
        let mut ground = std::mem::take(&mut self.ground);
        for run in &self.state.stack {
            for value in run.slots.values() {
                ground.add(&value.shown);
                ground.add(&value.value);
                value.fields.values().for_each(|field| ground.add(field));
            }
        }
        self.manager.own_texts(|text| ground.add(text));
        let foreign = self.actions.iter().find_map(|action| match action {
            // What was done was done, and the receipt is the bank's own record.
            Action::Act { .. } => None,
            other => ground.foreign(other.text()),
        });
        if let Some(number) = foreign {
            tracing::error!(number, "a reply held a number without a source and was withheld");
            self.actions.retain(|action| matches!(action, Action::Act { .. }));
            let text = self.manager.words.hand_off_needs_person.clone();
            self.hand_off(HandOffReason::NeedsPerson, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_nowhere_are_found() {
        let mut ground = Ground::default();
        ground.add("balance €1,250.00 on 3 November");
        assert_eq!(ground.foreign("You have €1,250.00."), None);
        assert_eq!(ground.foreign("You have €1,251.00."), Some("251".into()));
        assert_eq!(ground.foreign("No numbers here."), None);
    }
}
