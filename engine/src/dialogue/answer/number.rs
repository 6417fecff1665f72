//! Numbers and amounts of money: `1,250.50`, `€5k`, `five thousand`, `2.400 euros`.

use std::ops::Range;

use super::words::{Word, similar, words};
use crate::dialogue::money::Money;
use crate::understanding::number_words::below_hundred;

/// A number found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dialogue) struct Amount {
    /// Hundredths.
    pub(in crate::dialogue) minor: i64,
    /// Where it stands, currency included, in bytes.
    pub(in crate::dialogue) span: Range<usize>,
    /// Whether a currency stands with it.
    pub(in crate::dialogue) is_money: bool,
    /// Whether a unit of time follows it.
    pub(in crate::dialogue) is_duration: bool,
}

/// All numbers of a text, in order.
pub(in crate::dialogue) fn amounts(text: &str) -> Vec<Amount> {
    let words = words(text);
    let mut found: Vec<Amount> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let Some((minor, used)) = number_at(&words, at) else {
            at += 1;
            continue;
        };
        let after = words.get(at + used).map(|word| word.text.as_str());
        let before = at.checked_sub(1).and_then(|before| words.get(before)).map(|word| word.text.as_str());
        let unit_after = after.is_some_and(is_currency);
        let is_money = has_sign(&word.text) || unit_after || before.is_some_and(is_currency);
        let end = words.get(at + used - usize::from(!unit_after)).map_or(word.span.end, |last| last.span.end);
        found.push(Amount {
            minor,
            span: word.span.start..end,
            is_money,
            is_duration: after.is_some_and(is_time_unit),
        });
        at += used + usize::from(unit_after);
    }
    // "tweleve thousand five hundred": a part of a number that can not be read makes the rest another number.
    let left_over = words.iter().any(|word| {
        (similar(&word.text, "thousand") || similar(&word.text, "hundred"))
            && !found.iter().any(|amount| amount.span.start <= word.span.start && word.span.end <= amount.span.end)
    });
    if left_over { Vec::new() } else { found }
}

/// Turns yearly figures into monthly ones: `30000 a year`.
pub(super) fn per_month(found: &mut [Amount], words: &[Word]) {
    let yearly = words
        .iter()
        .any(|word| matches!(word.text.as_str(), "year" | "yearly" | "annual" | "annually" | "annum" | "p.a" | "pa"));
    if let ([amount], true) = (found, yearly) {
        amount.minor /= 12;
        amount.is_duration = false;
    }
}

/// An amount as customers write it: without cents where there are none.
pub(in crate::dialogue) fn money_shown(money: &Money) -> String {
    let shown = money.to_string();
    match shown.strip_suffix(".00") {
        Some(whole) => whole.to_owned(),
        None => shown,
    }
}

/// The number that begins at a word, and how many words it takes.
pub(super) fn number_at(words: &[Word], at: usize) -> Option<(i64, usize)> {
    let word = words.get(at)?;
    if let Some(minor) = digits(&word.text) {
        let thousand = words.get(at + 1).is_some_and(|next| matches!(next.text.as_str(), "thousand" | "k" | "grand"));
        return Some(if thousand { (minor.checked_mul(1000)?, 2) } else { (minor, 1) });
    }
    spelled(words, at)
}

fn has_sign(word: &str) -> bool {
    word.contains(['€', '$', '£']) || word.ends_with("eur") || word.starts_with("eur") || word.ends_with("euros")
}

fn is_currency(word: &str) -> bool {
    matches!(
        word,
        "eur"
            | "euro"
            | "euros"
            | "gbp"
            | "pound"
            | "pounds"
            | "usd"
            | "dollar"
            | "dollars"
            | "bucks"
            | "quid"
            | "€"
            | "$"
            | "£"
    )
}

fn is_time_unit(word: &str) -> bool {
    matches!(
        word,
        "month" | "months" | "mths" | "mo" | "year" | "years" | "yrs" | "yr" | "week" | "weeks" | "day" | "days"
    )
}

/// Hundredths of a number written in digits, with or without a currency or a `k`.
fn digits(word: &str) -> Option<i64> {
    let word = word.trim_matches(['€', '$', '£']);
    let word = ["euros", "euro", "eur", "gbp", "usd"]
        .iter()
        .find_map(|unit| word.strip_suffix(unit).or_else(|| word.strip_prefix(unit)))
        .unwrap_or(word);
    let (word, factor) = match word.strip_suffix('k') {
        Some(rest) => (rest, 1000),
        None => (word, 1),
    };
    if !word.starts_with(|c: char| c.is_ascii_digit())
        || !word.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '\''))
    {
        return None;
    }
    let (whole, cents) = split_decimals(word);
    let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
    let whole: i64 = whole.parse().ok()?;
    let cents = match cents.len() {
        0 => 0,
        1 => cents.parse::<i64>().ok()?.checked_mul(10)?,
        2 => cents.parse::<i64>().ok()?,
        _ => return None,
    };
    whole.checked_mul(100)?.checked_add(cents)?.checked_mul(factor)
}

/// Whole part and decimals. A single separator before exactly three digits groups thousands.
fn split_decimals(word: &str) -> (&str, &str) {
    let Some(last) = word.rfind([',', '.']) else {
        return (word, "");
    };
    let (whole, decimals) = (word.get(..last).unwrap_or(word), word.get(last + 1..).unwrap_or_default());
    let mark = word.get(last..=last).unwrap_or_default();
    let groups = decimals.len() == 3 && (!whole.contains([',', '.']) || whole.contains(mark));
    if groups { (word, "") } else { (whole, decimals) }
}

/// Hundredths of a number in words: `two thousand five hundred`, `a hundred and twenty`.
fn spelled(words: &[Word], at: usize) -> Option<(i64, usize)> {
    let mut total: i64 = 0;
    let mut part: i64 = 0;
    let mut used = 0;
    let mut seen = false;
    while let Some(word) = words.get(at + used) {
        let text = word.text.as_str();
        let follows = words.get(at + used + 1).map(|next| next.text.as_str());
        if let Some(value) = small(text) {
            part += value;
            seen = true;
        } else if text == "hundred" && (seen || used > 0) {
            part = part.max(1).checked_mul(100)?;
            seen = true;
        } else if text == "thousand" && (seen || used > 0) {
            total += part.max(1).checked_mul(1000)?;
            part = 0;
            seen = true;
        } else if used == 0 && text == "a" && matches!(follows, Some("hundred" | "thousand")) {
            part = 1;
        } else if !(text == "and" && seen && follows.is_some_and(|next| small(next).is_some()) && part % 100 == 0) {
            break;
        }
        used += 1;
    }
    seen.then(|| total.checked_add(part)?.checked_mul(100).map(|minor| (minor, used)))?
}

/// Numbers below a hundred in one word, `twenty-five` included.
fn small(word: &str) -> Option<i64> {
    if let Some((tens, units)) = word.split_once('-') {
        let (tens, units) = (small(tens)?, small(units)?);
        return (tens >= 20 && tens % 10 == 0 && units < 10).then_some(tens + units);
    }
    below_hundred(word).map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minors(text: &str) -> Vec<i64> {
        amounts(text).into_iter().map(|amount| amount.minor).collect()
    }

    #[test]
    fn amounts_are_read_in_the_ways_people_write_them() {
        for (text, minor) in [
            ("8000", 800_000),
            ("€8,000", 800_000),
            ("8.000 euros", 800_000),
            ("8000.50", 800_050),
            ("8.000,50 EUR", 800_050),
            ("1,234,567.89", 123_456_789),
            ("12,99", 1_299),
            ("5k", 500_000),
            ("€2.5k", 250_000),
            ("five thousand", 500_000),
            ("twenty-five hundred", 250_000),
            ("two thousand five hundred", 250_000),
            ("a hundred and twenty euros", 12_000),
            ("10 grand", 1_000_000),
            ("500eur", 50_000),
        ] {
            assert_eq!(minors(text), [minor], "{text}");
        }
        assert_eq!(minors("no, 500 not 50"), [50_000, 5_000]);
        assert_eq!(minors("a card and a bag"), Vec::<i64>::new());
        assert_eq!(minors("C-10023"), Vec::<i64>::new());
    }

    #[test]
    fn a_number_that_can_be_read_in_part_only_is_not_read() {
        for text in
            ["tweleve thousand five hundred", "three thousnad four hundred", "twelve thouand five hundred euros"]
        {
            assert_eq!(minors(text), Vec::<i64>::new(), "{text}");
        }
    }

    #[test]
    fn currency_and_time_are_told_apart() {
        let found = amounts("I want 9000 euros over 3 years");
        assert!(found[0].is_money && !found[0].is_duration);
        assert!(!found[1].is_money && found[1].is_duration);
        let text = "pay €20.50 please";
        assert_eq!(&text[amounts(text)[0].span.clone()], "€20.50");
        let text = "take 20 euros";
        assert_eq!(&text[amounts(text)[0].span.clone()], "20 euros");
    }
}
