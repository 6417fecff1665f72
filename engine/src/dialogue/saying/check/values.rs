//! The values of a text, in a form in which two ways of writing the same value are equal.

use super::super::places::{Kind, Piece, pieces};
use crate::understanding::number_words;

/// A value that a text states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) kind: Kind,
    /// As written.
    pub(super) shown: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// In hundredths, with the currency's code.
    Money(i64, String),
    /// Weekday, day, month from 1, year, as far as they are given.
    Date([Option<u16>; 4]),
    /// Digits without separators, `%` behind a share, with the unit that follows.
    Number(String, Option<String>),
    /// Anything else, in small letters without spaces.
    Words(String),
}

/// The values of a text, in order.
pub(super) fn stated(text: &str) -> Vec<Stated> {
    let pieces = pieces(text);
    let mut found = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let Piece::Value(kind, shown) = piece else { continue };
        let after = match pieces.get(at + 1) {
            Some(Piece::Words(words)) => words,
            _ => "",
        };
        found.push(Stated { kind: *kind, shown: (*shown).to_owned(), value: value(*kind, shown, after) });
    }
    found
}

impl Stated {
    /// Whether another statement holds this one: the same, or with more said about it.
    pub(super) fn is_held_by(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Date(mine), Value::Date(theirs)) => {
                mine.iter().zip(theirs).all(|(mine, theirs)| mine.is_none() || mine == theirs)
            }
            (Value::Number(mine, unit), Value::Number(theirs, their_unit)) => mine == theirs && unit == their_unit,
            (Value::Words(mine), Value::Words(theirs)) if self.kind == Kind::Name && other.kind == Kind::Name => {
                mine == theirs || format!(" {theirs} ").contains(&format!(" {mine} "))
            }
            (mine, theirs) => mine == theirs,
        }
    }
}

fn value(kind: Kind, shown: &str, after: &str) -> Value {
    match kind {
        Kind::Money => money(shown),
        Kind::Date => date(shown),
        Kind::Number => number(shown, after),
        // "5000 euros a month" and "5,000" are read apart by their separators alone.
        Kind::Code if shown.bytes().all(|byte| byte.is_ascii_digit()) => number(shown, after),
        Kind::Phone => Value::Words(shown.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()),
        Kind::Time => {
            let (hours, minutes) = shown.split_once(':').unwrap_or((shown, ""));
            Value::Words(format!("{}:{minutes}", hours.trim_start_matches('0')))
        }
        Kind::Name => Value::Words(shown.to_lowercase()),
        Kind::Code | Kind::Email | Kind::Text => {
            Value::Words(shown.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

fn money(shown: &str) -> Value {
    let lower = shown.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let small = has(&["cent", "pence"]);
    let currency = if has(&["€", "eur"]) || has(&["cent"]) {
        "EUR"
    } else if has(&["£", "pound", "gbp", "pence"]) {
        "GBP"
    } else if has(&["$", "dollar", "usd"]) {
        "USD"
    } else {
        "CHF"
    };
    let hundredths = |figure: &str| -> Option<i64> {
        let (whole, rest) = match figure.rsplit_once('.') {
            Some((whole, rest)) if rest.len() <= 2 => (whole, rest),
            _ => (figure, ""),
        };
        let whole: i64 = whole.replace([',', '.'], "").parse().ok()?;
        let rest: i64 = format!("{rest:0<2}").parse().ok()?;
        if small { Some(whole) } else { whole.checked_mul(100)?.checked_add(rest) }
    };
    let figure: String = lower.chars().filter(|c| c.is_ascii_digit() || ",.".contains(*c)).collect();
    match hundredths(figure.trim_matches(['.', ','])) {
        Some(minor) => Value::Money(if lower.starts_with('-') { -minor } else { minor }, currency.to_owned()),
        None => Value::Words(lower),
    }
}

fn date(shown: &str) -> Value {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let place = |names: &[&str], word: &str| {
        let at = names.iter().position(|name| word.starts_with(name))?;
        u16::try_from(at + 1).ok()
    };
    let lower = shown.to_lowercase();
    let parts: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let numbers: Vec<&str> = parts.iter().copied().filter(|part| part.bytes().all(|b| b.is_ascii_digit())).collect();
    if numbers.len() == 3 && parts.len() == 3 {
        let number = |at: usize| numbers.get(at).and_then(|number| number.parse().ok());
        let first_is_year = numbers.first().is_some_and(|first| first.len() == 4);
        let (year, month, day) = if first_is_year { (0, 1, 2) } else { (2, 1, 0) };
        return Value::Date([None, number(day), number(month), number(year)]);
    }
    let [mut weekday, mut day, mut month, mut year] = [None; 4];
    for part in parts {
        let digits = part.trim_end_matches(|c: char| c.is_alphabetic());
        if digits.is_empty() {
            if let Some(found) = place(&DAYS, part) {
                weekday = Some(found);
            } else if let Some(found) = place(&MONTHS, part) {
                month = Some(found);
            }
        } else if digits.len() == 4 {
            year = digits.parse().ok();
        } else {
            day = digits.parse().ok();
        }
    }
    Value::Date([weekday, day, month, year])
}

fn number(shown: &str, after: &str) -> Value {
    let lower = shown.to_lowercase();
    let share = lower.contains('%') || lower.contains("percent") || lower.contains("per cent");
    let digits: String = match number_words::value(&lower) {
        Some(number) => number.to_string(),
        None => lower.chars().filter(|c| c.is_ascii_digit() || ".-".contains(*c)).collect(),
    };
    Value::Number(if share { format!("{digits}%") } else { digits }, unit(after))
}

/// What is counted: the unit of time among the next two words. "7 working days" are not "7 days".
fn unit(after: &str) -> Option<String> {
    const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
    let clause = after.split(['.', ',', ';', ':', '?', '!', '(', '\n']).next().unwrap_or_default();
    let mut words = clause.split_whitespace().map(str::to_lowercase);
    let first = words.next()?;
    let of_time = |word: &str| UNITS.iter().find(|unit| word.trim_end_matches('s') == **unit).copied();
    match of_time(&first) {
        Some(unit) => Some(unit.to_owned()),
        None => words.next().and_then(|second| of_time(&second).map(|unit| format!("{first} {unit}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(reply: &str, source: &str) -> bool {
        let source = stated(source);
        let reply = stated(reply);
        assert!(!reply.is_empty(), "nothing stated");
        reply.iter().all(|one| source.iter().any(|other| one.is_held_by(other)))
    }

    #[test]
    fn the_same_value_in_another_form_is_the_same() {
        assert!(held("You have €1250.", "You have €1,250.00."));
        assert!(held("It costs 15 euros", "It costs €15"));
        assert!(held("within seven working days", "within 7 working days"));
        assert!(held("on 20 November", "on Friday 20 November"));
        assert!(held("on November 20th", "on Friday 20 November 2026"));
        assert!(held("on 20/11/2026", "on 20 November 2026"));
        assert!(held("to Rossi", "to Maria Rossi"));
        assert!(held("call +49301234567", "call +49 30 1234567"));
        assert!(held("at 9:05", "at 09:05"));
    }

    #[test]
    fn another_value_is_another() {
        assert!(!held("You have €1,251.00.", "You have €1,250.00."));
        assert!(!held("You have €42.10.", "You have -€42.10."));
        assert!(!held("It costs $15", "It costs €15"));
        assert!(!held("It costs 15 cents", "It costs 15 euros"));
        assert!(!held("within 7 weeks", "within 7 working days"));
        assert!(!held("within 7 days", "within 7 working days"));
        assert!(!held("within eight working days", "within 7 working days"));
        assert!(!held("on 21 November", "on Friday 20 November"));
        assert!(!held("on Thursday 20 November", "on Friday 20 November"));
        assert!(!held("in 2027", "on 20 November 2026"));
        assert!(!held("to Maria Russo", "to Maria Rossi"));
        assert!(!held("the card ending 4812", "the card ending 4821"));
        assert!(!held("3 % more", "3 more"));
        assert!(!held("write to anna@example.org", "write to anna@example.com"));
    }
}
