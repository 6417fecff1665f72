//! How simulated customers put things: `wording.toml`, and the slips of their fingers.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::goal::Meant;

/// The wording as data.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wording {
    pub(super) person: Vec<Person>,
    pub(super) opening: Vec<Opening>,
    pub(super) meaning: Vec<Meaning>,
    pub(super) second: Vec<Second>,
    /// What a flow must tell a customer, by `flow.person`.
    pub(super) told: BTreeMap<String, String>,
    /// What customers call a slot, by `flow.slot`; the slot's name otherwise.
    names: BTreeMap<String, String>,
    phrases: BTreeMap<String, Vec<String>>,
}

/// A customer of the demonstration bank, and how they say who they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    pub(super) key: String,
    pub(super) who: Vec<String>,
    pub(super) date_of_birth: Vec<String>,
    pub(super) postcode: Vec<String>,
}

/// First words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opening {
    pub(super) flow: String,
    /// The only customer who may say so.
    pub(super) person: Option<String>,
    /// Values the words hold.
    pub(super) gives: BTreeMap<String, String>,
    pub(super) texts: Vec<String>,
}

/// A value and ways to say it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meaning {
    /// `flow.slot`.
    slot: String,
    person: Option<String>,
    /// As the state names it; `*` where the words themselves are the value.
    pub(super) value: String,
    told: Option<String>,
    ways: Vec<String>,
}

/// A second request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Second {
    flow: String,
    pub(super) texts: Vec<String>,
}

impl Second {
    /// The key of what must be told.
    pub(super) fn told_of(&self, person: &str) -> String {
        format!("{}.{person}", self.flow)
    }
}

impl Meaning {
    /// The value as one customer means it.
    pub(super) fn meant(&self, random: &mut ChaCha8Rng) -> Meant {
        if self.value == "*"
            && let Some(words) = self.ways.choose(random)
        {
            return Meant { value: words.clone(), ways: vec![words.clone()], told: None };
        }
        Meant { value: self.value.clone(), ways: self.ways.clone(), told: self.told.clone() }
    }
}

impl Wording {
    /// The wording compiled into the program.
    pub(super) fn shipped() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("wording.toml"))
    }

    /// Every flow there are first words for.
    pub(super) fn flows(&self) -> Vec<String> {
        let mut flows: Vec<String> = self.opening.iter().map(|opening| opening.flow.clone()).collect();
        flows.sort();
        flows.dedup();
        flows
    }

    /// The slots of a flow that have meanings.
    pub(super) fn slots(&self, flow: &str) -> Vec<String> {
        let mut slots: Vec<String> = self
            .meaning
            .iter()
            .filter_map(|meaning| meaning.slot.split_once('.'))
            .filter(|(of, _)| *of == flow)
            .map(|(_, slot)| slot.to_owned())
            .collect();
        slots.sort();
        slots.dedup();
        slots
    }

    /// What a customer may mean for a slot.
    pub(super) fn meanings<'w>(&'w self, flow: &str, slot: &str, person: &str) -> impl Iterator<Item = &'w Meaning> {
        let (name, person) = (format!("{flow}.{slot}"), person.to_owned());
        self.meaning
            .iter()
            .filter(move |meaning| meaning.slot == name && meaning.person.as_ref().is_none_or(|of| *of == person))
    }

    /// What customers call a slot.
    pub(super) fn name(&self, flow: &str, slot: &str) -> String {
        self.names.get(&format!("{flow}.{slot}")).cloned().unwrap_or_else(|| slot.replace('_', " "))
    }

    /// A phrase of a kind, with values in its places.
    pub(super) fn phrase(&self, kind: &str, places: &[(&str, &str)], random: &mut ChaCha8Rng) -> String {
        let mut text = self.phrases.get(kind).and_then(|all| all.choose(random)).cloned().unwrap_or_default();
        for (place, value) in places {
            text = text.replace(&format!("{{{place}}}"), value);
        }
        text
    }
}

/// The text with one slip of the finger in a long word: two letters swapped, one left out, one doubled.
pub(super) fn mistyped(text: &str, random: &mut ChaCha8Rng) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let long: Vec<usize> = words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.chars().count() >= 5 && word.chars().all(|c| c.is_ascii_alphabetic()))
        .map(|(at, _)| at)
        .collect();
    let Some(&slip) = long.choose(random) else { return text.to_owned() };
    let slipped = |word: &str, random: &mut ChaCha8Rng| -> String {
        let mut letters: Vec<char> = word.chars().collect();
        // The first letter is nearly always right.
        let at = random.random_range(1..letters.len() - 1);
        match random.random_range(0..3) {
            0 => letters.swap(at, at + 1),
            1 => {
                letters.remove(at);
            }
            _ => {
                if let Some(letter) = letters.get(at).copied() {
                    letters.insert(at, letter);
                }
            }
        }
        letters.into_iter().collect()
    };
    let typed: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| if at == slip { slipped(word, random) } else { (*word).to_owned() })
        .collect();
    typed.join(" ")
}
