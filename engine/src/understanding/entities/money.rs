//! Amounts with a currency.

use super::number::{decimal, number};
use super::word::Word;
use super::{EntityKind, Found};

/// ISO 4217 code of a currency's name or sign.
fn currency(text: &str) -> Option<&'static str> {
    Some(match text {
        "€" | "eur" | "euro" | "euros" => "EUR",
        "£" | "gbp" | "pound" | "pounds" | "quid" => "GBP",
        "$" | "usd" | "dollar" | "dollars" | "bucks" => "USD",
        "chf" | "franc" | "francs" => "CHF",
        _ => return None,
    })
}

/// `£250`, `250€`, `EUR 49.99`, `five hundred pounds`.
pub(super) fn money(words: &[Word<'_>], at: usize) -> Option<Found> {
    let word = words.get(at)?;
    let found = |hundredths: u64, code: &str, count: usize| {
        let value = format!("{}.{:02} {code}", hundredths / 100, hundredths % 100);
        Some(Found { kind: EntityKind::Money, first: at, end: at + count, value })
    };
    for sign in ["€", "£", "$", "eur", "gbp", "usd", "chf"] {
        let joined = word.lower.strip_prefix(sign).or_else(|| word.lower.strip_suffix(sign));
        if let (Some(hundredths), Some(code)) = (joined.and_then(decimal), currency(sign)) {
            return found(hundredths, code, 1);
        }
    }
    if let Some(code) = currency(&word.lower) {
        let next = words.get(at + 1).filter(|next| !word.closes && decimal(&next.lower).is_some());
        return next.and_then(|next| decimal(&next.lower)).and_then(|hundredths| found(hundredths, code, 2));
    }
    let read = number(words, at)?;
    let last = words.get(at + read.words - 1)?;
    let code = words.get(at + read.words).filter(|_| !last.closes).and_then(|next| currency(&next.lower))?;
    found(read.hundredths, code, read.words + 1)
}
