//! What an answer says: values of slots read from a customer's words, without a model.
//!
//! The readers are strict: a value that is not certainly there is not read, and the dialogue asks again.

mod choice;
mod contact;
mod date;
mod duration;
mod number;
mod words;

use std::ops::Range;

use chrono::NaiveDate;

pub(super) use choice::{one_of, ordinal};
pub(super) use contact::{email, last4, phone, postcode, who};
pub(super) use date::{birthday, recent_day, shown as date_shown};
pub(super) use duration::{months, shown as months_shown};
pub(super) use number::{Amount, amounts, money_shown};
pub(super) use words::{Word, find_exactly, find_phrase, has_cue, similar, stem, words};

use super::flow::{Slot, SlotKind};
use super::lexicon;
use super::money::Money;

/// A value read from a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The value as operations and conditions know it.
    pub(super) value: String,
    /// The value in words for the customer.
    pub(super) shown: String,
    /// Where in the text it stands, in bytes.
    pub(super) span: Range<usize>,
}

impl Found {
    fn new(value: impl Into<String>, shown: impl Into<String>, span: Range<usize>) -> Self {
        Self { value: value.into(), shown: shown.into(), span }
    }
}

/// How a value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listening {
    /// The slot was asked for: a bare value counts.
    Asked,
    /// The customer may have said it by the way: the value must be unmistakable.
    Overheard,
}

/// Reads a value for a slot that is not a record. `currency` is the bank's.
pub(super) fn read(slot: &Slot, text: &str, listening: Listening, today: NaiveDate, currency: &str) -> Option<Found> {
    let words = words(text);
    let asked = listening == Listening::Asked;
    match &slot.kind {
        SlotKind::Text { min_words } => free_text(text, &words, *min_words, asked),
        SlotKind::Choice { choices } => {
            let found = one_of(&words, choices, asked)?;
            Some(found)
        }
        SlotKind::YesNo if asked => yes_no(text),
        SlotKind::YesNo => None,
        SlotKind::Money { min, max } => {
            let mut found: Vec<Amount> = amounts(text);
            if slot.hints.iter().any(|hint| hint.contains("month")) {
                number::per_month(&mut found, &words);
            }
            found.retain(|amount| {
                let whole = amount.minor / 100;
                *min <= whole && (whole < *max || (whole == *max && amount.minor % 100 == 0))
            });
            if !asked {
                found.retain(|amount| !amount.is_duration);
            }
            let marked: Vec<&Amount> = found.iter().filter(|amount| amount.is_money).collect();
            let amount = match (marked.as_slice(), found.as_slice()) {
                ([one], _) => *one,
                ([], [one]) if asked || one.minor >= 10_000 => one,
                _ => return None,
            };
            let money = Money::new(amount.minor, currency);
            Some(Found::new(money.minor.to_string(), money_shown(&money), amount.span.clone()))
        }
        SlotKind::Months { min, max, bare_years } => {
            let found = months(text, asked, *bare_years)?;
            (*min <= found.months && found.months <= *max)
                .then(|| Found::new(found.months.to_string(), months_shown(found.months), found.span))
        }
        SlotKind::Birthday => {
            let (date, span) = birthday(text, today)?;
            Some(Found::new(date.to_string(), date.format("%-d %B %Y").to_string(), span))
        }
        SlotKind::Email => email(text).map(|(value, span)| Found::new(value.clone(), value, span)),
        SlotKind::Phone => phone(text, asked).map(|(value, span)| Found::new(value.clone(), value, span)),
        SlotKind::Postcode => {
            // A birthday's year or a customer number is no postcode.
            let mut rest = text.to_owned();
            let others = [birthday(text, today).map(|(_, span)| span), who(text, false).map(|(_, span)| span)];
            for span in others.into_iter().flatten() {
                if rest.get(span.clone()).is_some() {
                    rest.replace_range(span.clone(), &" ".repeat(span.len()));
                }
            }
            postcode(&rest, asked).map(|(value, span)| Found::new(value.clone(), value, span))
        }
        SlotKind::Who => who(text, asked).map(|(value, span)| Found::new(value.clone(), value, span)),
        SlotKind::Card { .. } | SlotKind::Payment { .. } | SlotKind::Application => None,
    }
}

fn yes_no(text: &str) -> Option<Found> {
    let span = 0..text.len();
    match (lexicon::affirms(text), lexicon::denies(text)) {
        (true, false) => Some(Found::new("yes", "Yes", span)),
        (false, true) => Some(Found::new("no", "No", span)),
        _ => None,
    }
}

fn free_text(text: &str, words: &[Word], min_words: usize, asked: bool) -> Option<Found> {
    let enough = if asked { min_words } else { min_words.max(12) };
    let text = text.trim();
    (words.len() >= enough && words.iter().any(|word| word.text.chars().any(char::is_alphabetic)))
        .then(|| Found::new(text, text, 0..text.len()))
}
