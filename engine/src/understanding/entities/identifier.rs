//! Numbers that name a customer, a card or an account.

use super::word::{Word, cue_before, digits};
use super::{EntityKind, Found};

/// `C-10023`, as the bank numbers its customers.
pub(super) fn customer_number(words: &[Word<'_>], at: usize) -> Option<Found> {
    let number = words.get(at)?.lower.strip_prefix('c')?.trim_start_matches('-');
    let fits = (4..=8).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| Found { kind: EntityKind::CustomerNumber, first: at, end: at + 1, value: format!("C-{number}") })
}

/// An IBAN whose check digits are right (ISO 13616), written in one piece or in groups.
pub(super) fn iban(words: &[Word<'_>], at: usize) -> Option<Found> {
    let head = words.get(at)?.raw.as_bytes();
    let starts = head.len() >= 4
        && head.iter().take(2).all(u8::is_ascii_alphabetic)
        && head.iter().skip(2).take(2).all(u8::is_ascii_digit);
    if !starts {
        return None;
    }
    let mut joined = String::new();
    let mut best = None;
    for (offset, word) in words.get(at..)?.iter().enumerate() {
        if !word.raw.bytes().all(|b| b.is_ascii_alphanumeric()) || joined.len() + word.raw.len() > 34 {
            break;
        }
        joined.push_str(&word.raw.to_uppercase());
        if joined.len() >= 15 && checks(&joined) {
            best = Some(Found { kind: EntityKind::Account, first: at, end: at + offset + 1, value: joined.clone() });
        }
        if word.closes {
            break;
        }
    }
    best
}

/// The first four characters moved to the end, letters as 10 to 35, the whole modulo 97 is 1.
fn checks(iban: &str) -> bool {
    let turned = iban.chars().cycle().skip(4).take(iban.len());
    turned
        .filter_map(|c| c.to_digit(36))
        .fold(0u32, |sum, d| if d < 10 { (sum * 10 + d) % 97 } else { (sum * 100 + d) % 97 })
        == 1
}

/// A whole card number that passes Luhn's check, or four digits said of a card. Only the last four are kept as value.
pub(super) fn card(words: &[Word<'_>], at: usize) -> Option<Found> {
    const CUES: [&str; 8] = ["card", "cards", "ending", "ends", "ended", "digits", "last", "visa"];
    let word = words.get(at)?;
    let mut joined = String::new();
    for (offset, word) in words.get(at..)?.iter().enumerate() {
        if !word.raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            break;
        }
        joined.push_str(&digits(word.raw));
        if (13..=19).contains(&joined.len()) && luhn(&joined) {
            let value = joined.get(joined.len() - 4..)?.to_owned();
            return Some(Found { kind: EntityKind::CardLast4, first: at, end: at + offset + 1, value });
        }
        if joined.len() > 19 {
            break;
        }
    }
    let said = word.is_digits() && word.raw.len() == 4 && cue_before(words, at, 4, &CUES);
    said.then(|| Found { kind: EntityKind::CardLast4, first: at, end: at + 1, value: word.raw.to_owned() })
}

fn luhn(number: &str) -> bool {
    let sum: u32 = number
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, d)| {
            if place % 2 == 0 {
                d
            } else if d > 4 {
                2 * d - 9
            } else {
                2 * d
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Eight to twelve digits in one piece, or six where the word account stands before them.
pub(super) fn account(words: &[Word<'_>], at: usize) -> Option<Found> {
    let word = words.get(at)?;
    let least = if cue_before(words, at, 4, &["account", "acct", "acc", "iban"]) { 6 } else { 8 };
    let fits = word.is_digits() && (least..=12).contains(&word.raw.len());
    fits.then(|| Found { kind: EntityKind::Account, first: at, end: at + 1, value: word.raw.to_owned() })
}
