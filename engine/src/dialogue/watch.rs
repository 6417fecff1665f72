//! What an evaluation keeps an eye on: operations performed, hand-overs, and anything said about a customer too early.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value as Json;

use super::action::Action;
use super::evaluate::Understand;
use super::memory::MemoryBank;
use crate::understanding::{self, Understanding};

/// Sees every action of one conversation.
#[derive(Debug)]
pub(super) struct Watch {
    /// What no reply may hold before identification, unless the customer said it.
    secrets: Vec<String>,
    /// What the customer wrote, in lower case.
    written: String,
    /// Operations performed, in order.
    pub(super) operations: Vec<Json>,
    /// Reason of the hand-over.
    pub(super) handed_off: Option<String>,
}

impl Watch {
    pub(super) fn new(bank: &MemoryBank) -> Self {
        Self { secrets: bank.secrets(), written: String::new(), operations: Vec::new(), handed_off: None }
    }

    /// Notes what the customer wrote, before the answer to it is seen.
    pub(super) fn hear(&mut self, text: &str) {
        self.written.push_str(&text.to_lowercase());
        self.written.push('\n');
    }

    /// Sees a turn's actions and says what they disclosed about a customer who is not known.
    pub(super) fn see(&mut self, actions: &[Action], known: bool) -> Vec<String> {
        let mut disclosed = Vec::new();
        for action in actions {
            match action {
                Action::Act { operation, .. } => {
                    self.operations.push(serde_json::to_value(operation).unwrap_or_default());
                }
                Action::HandOff { reason, .. } => self.handed_off = Some(reason.as_str().to_owned()),
                // Articles are for everybody.
                Action::Say { citations, .. } if !citations.is_empty() => continue,
                _ => {}
            }
            if !known {
                disclosed.extend(self.disclosed(action).cloned());
            }
        }
        disclosed
    }

    fn disclosed(&self, action: &Action) -> Option<&String> {
        let mut texts = vec![action.text().to_owned()];
        texts.extend(action.choices().iter().flat_map(|choice| [choice.label.clone(), choice.value.clone()]));
        if let Action::Ask { summary: Some(card), .. } = action {
            texts.extend(card.rows.iter().map(|row| row.value.clone()));
        }
        self.secrets.iter().find(|secret| {
            texts.iter().any(|text| text.contains(secret.as_str())) && !self.written.contains(&secret.to_lowercase())
        })
    }
}

/// Whether a value holds everything that another one asks of it.
pub(super) fn holds(value: &Json, wanted: &Json) -> bool {
    match (value, wanted) {
        (Json::Object(value), Json::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| value.get(name).is_some_and(|value| holds(value, wanted)))
        }
        (value, wanted) => value == wanted,
    }
}

/// A part of a whole; 1 where there is nothing to be part of.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    let count = |of: usize| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
    if whole == 0 { 1.0 } else { count(part) / count(whole) }
}

/// Remembers what was understood: customers of an evaluation say many things in the same words.
pub(super) struct Remembering<'u> {
    understand: &'u dyn Understand,
    known: Mutex<HashMap<String, Understanding>>,
}

impl<'u> Remembering<'u> {
    pub(super) fn new(understand: &'u dyn Understand) -> Self {
        Self { understand, known: Mutex::default() }
    }
}

#[async_trait]
impl Understand for Remembering<'_> {
    async fn understand(&self, text: &str) -> Result<Understanding, understanding::Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let understood = self.understand.understand(text).await?;
        let mut held = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(text.to_owned(), understood.clone());
        Ok(understood)
    }
}
