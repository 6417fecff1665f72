//! Texts of flows with places for values: `Block the card ending {card.last4}?`

use serde::{Serialize, Serializer};

use super::condition::Values;

/// A text with places for slots' values and their fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Words(String),
    Place { slot: String, field: Option<String> },
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(in crate::dialogue) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((words, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("a '{' is not closed by '}'".to_owned());
            };
            if !words.is_empty() {
                parts.push(Part::Words(words.to_owned()));
            }
            let (slot, field) = match name.split_once('.') {
                Some((slot, field)) => (slot.to_owned(), Some(field.to_owned())),
                None => (name.to_owned(), None),
            };
            parts.push(Part::Place { slot, field });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Words(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As written in the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With the values in their places; a place without a value is left out.
    pub(in crate::dialogue) fn fill(&self, shown: &dyn Values) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Words(words) => words.as_str(),
                Part::Place { slot, field } => shown.value(slot, field.as_deref()).unwrap_or_default(),
            })
            .collect()
    }

    /// Slots and fields it names.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Words(_) => None,
            Part::Place { slot, field } => Some((slot.as_str(), field.as_deref())),
        })
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
