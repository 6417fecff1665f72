//! Calendar days, in digits and in words.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::number::number;
use super::word::Word;
use super::{EntityKind, Found};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const ORDINALS: [&str; 31] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "twenty-first",
    "twenty-second",
    "twenty-third",
    "twenty-fourth",
    "twenty-fifth",
    "twenty-sixth",
    "twenty-seventh",
    "twenty-eighth",
    "twenty-ninth",
    "thirtieth",
    "thirty-first",
];

/// A day that begins with word `at`. Without a year it is the one nearest to today; a bare day of the week is the last
/// one, as customers mostly speak of what has happened.
pub(super) fn date(words: &[Word<'_>], at: usize, today: NaiveDate) -> Option<Found> {
    let (day, count) = relative(words, at, today)
        .or_else(|| in_digits(words, at).map(|day| (day, 1)))
        .or_else(|| with_month(words, at, today))?;
    let value = day.format("%Y-%m-%d").to_string();
    Some(Found { kind: EntityKind::Date, first: at, end: at + count, value })
}

fn relative(words: &[Word<'_>], at: usize, today: NaiveDate) -> Option<(NaiveDate, usize)> {
    let word = words.get(at)?.lower.as_str();
    let back = |days| today.checked_sub_days(Days::new(days));
    let on = |days| today.checked_add_days(Days::new(days));
    let ahead = |day: Weekday| u64::from((day.num_days_from_monday() + 7 - today.weekday().num_days_from_monday()) % 7);
    let next = || words.get(at + 1).and_then(|word| weekday(&word.lower));
    let lower = |place: usize| words.get(place).map(|word| word.lower.as_str());
    if (lower(at), lower(at + 1), lower(at + 2)) == (Some("day"), Some("after"), Some("tomorrow")) {
        return on(2).map(|day| (day, 3));
    }
    if (lower(at), lower(at + 1), lower(at + 2)) == (Some("day"), Some("before"), Some("yesterday")) {
        return back(2).map(|day| (day, 3));
    }
    // `8 weeks ago`, `in two days`: what stands before and behind says which way.
    if word == "in" && words.get(at).is_some_and(|word| !word.closes) {
        return distance(words, at + 1).and_then(|(days, count)| Some((on(days)?, count + 1)));
    }
    if let Some((days, count)) = distance(words, at).filter(|(_, count)| lower(at + count) == Some("ago")) {
        return back(days).map(|day| (day, count + 1));
    }
    // Whoever names a limit speaks of what is to come.
    let limit = at.checked_sub(1).and_then(lower).is_some_and(|word| LIMITS.contains(&word));
    Some(match word {
        "today" => (today, 1),
        "yesterday" => (back(1)?, 1),
        "tomorrow" => (on(1)?, 1),
        "last" if lower(at + 1) == Some("night") => (back(1)?, 2),
        "last" => (back(7 - ahead(next()?))?, 2),
        "next" | "this" => (on(ahead(next()?)).filter(|day| *day > today).or_else(|| on(7))?, 2),
        _ if limit => (on(ahead(weekday(word)?)).filter(|day| *day > today).or_else(|| on(7))?, 1),
        _ => (back(7 - ahead(weekday(word)?))?, 1),
    })
}

/// Words before a day that is to come.
const LIMITS: [&str; 6] = ["by", "until", "till", "before", "starting", "coming"];

/// `7 days`, `two weeks`, `a week`: in days, and how many words it took.
fn distance(words: &[Word<'_>], at: usize) -> Option<(u64, usize)> {
    let (count, used) = match words.get(at)?.lower.as_str() {
        "a" | "one" => (1, 1),
        _ => number(words, at).map(|read| (read.hundredths / 100, read.words))?,
    };
    let days = match words.get(at + used)?.lower.as_str() {
        "day" | "days" => count,
        "week" | "weeks" => count.checked_mul(7)?,
        _ => return None,
    };
    (days <= 3650).then_some((days, used + 1))
}

fn weekday(word: &str) -> Option<Weekday> {
    word.ends_with("day").then(|| word.parse().ok())?
}

/// `1990-05-12`, `12/05/1990`, `12.5.90`: the day first, unless only the month can stand there.
fn in_digits(words: &[Word<'_>], at: usize) -> Option<NaiveDate> {
    let parts: Vec<&str> = words.get(at)?.lower.split(['-', '/', '.']).collect();
    let [a, b, c] = parts.as_slice() else { return None };
    if !parts.iter().all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    if a.len() == 4 {
        return NaiveDate::from_ymd_opt(a.parse().ok()?, b.parse().ok()?, c.parse().ok()?);
    }
    let (first, second): (u32, u32) = (a.parse().ok()?, b.parse().ok()?);
    let year = year(c)?;
    NaiveDate::from_ymd_opt(year, second, first).or_else(|| NaiveDate::from_ymd_opt(year, first, second))
}

/// `12 May 1990`, `the twelfth of May`, `May 12, 1990`.
fn with_month(words: &[Word<'_>], at: usize, today: NaiveDate) -> Option<(NaiveDate, usize)> {
    let lower = |place: usize| words.get(place).map(|word| word.lower.as_str());
    let (day, month, mut next) = if let Some(day) = day(lower(at)?) {
        let of = lower(at + 1) == Some("of");
        // `27th of the 9th 1979`: a month's number stands after "of the" alone.
        if of && lower(at + 2) == Some("the") {
            let month = self::day(lower(at + 3)?).filter(|month| *month <= 12)?;
            let year = lower(at + 4).filter(|year| year.len() == 4).and_then(year)?;
            return NaiveDate::from_ymd_opt(year, month, day).map(|date| (date, 5));
        }
        let place = if of { at + 2 } else { at + 1 };
        (day, month(lower(place)?)?, place + 1)
    } else {
        let month = month(lower(at)?)?;
        let place = if lower(at + 1) == Some("the") { at + 2 } else { at + 1 };
        (day(lower(place)?)?, month, place + 1)
    };
    if let Some(year) = lower(next).filter(|year| year.len() == 4).and_then(year) {
        next += 1;
        return NaiveDate::from_ymd_opt(year, month, day).map(|date| (date, next - at));
    }
    (today.year() - 1..=today.year() + 1)
        .filter_map(|year| NaiveDate::from_ymd_opt(year, month, day))
        .min_by_key(|date| date.signed_duration_since(today).num_days().abs())
        .map(|date| (date, next - at))
}

fn day(word: &str) -> Option<u32> {
    if let Some(at) = ORDINALS.iter().position(|name| *name == word) {
        return u32::try_from(at + 1).ok();
    }
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

fn month(word: &str) -> Option<u32> {
    let short = word.len() == 3 || word == "sept";
    MONTHS
        .iter()
        .position(|name| *name == word || (short && name.starts_with(word.get(..3).unwrap_or("-"))))
        .and_then(|at| u32::try_from(at + 1).ok())
}

/// Two digits are taken for 1930 to 2029.
fn year(text: &str) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    match text.len() {
        4 => Some(number),
        2 if number < 30 => Some(2000 + number),
        2 => Some(1900 + number),
        _ => None,
    }
}
