//! Calendar days, in digits and in words.

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};

use super::number::number;
use super::word::{Word, digits};
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

/// A day that begins with word `at`. A day that could be one of several (`Friday`, `the 3rd`, `12 May`) lies ahead where the
/// words ask for something and behind where they tell of something. Where they do neither, a day of the week is the last
/// one, as customers mostly speak of what has happened, and another day the nearest to today.
pub(super) fn date(words: &[Word<'_>], at: usize, today: NaiveDate) -> Option<Found> {
    let direction = direction(words, at);
    let (day, count) = relative(words, at, (today, direction))
        .or_else(|| in_digits(words, at).map(|day| (day, 1)))
        .or_else(|| in_groups(words, at, today))
        .or_else(|| with_month(words, at, (today, direction)))
        .or_else(|| of_month(words, at, (today, direction)))?;
    let value = day.format("%Y-%m-%d").to_string();
    Some(Found { kind: EntityKind::Date, first: at, end: at + count, value })
}

/// Where a day lies that could be one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ahead,
    Behind,
    Open,
}

/// Words before a day that is to come.
const LIMITS: [&str; 6] = ["by", "until", "till", "before", "starting", "coming"];
/// Words of requests and plans.
const ASKING: [&str; 28] = [
    "will",
    "i'll",
    "we'll",
    "want",
    "need",
    "can",
    "could",
    "would",
    "i'd",
    "schedule",
    "book",
    "transfer",
    "send",
    "pay",
    "set",
    "please",
    "make",
    "change",
    "move",
    "plan",
    "appointment",
    "meeting",
    "arrive",
    "arriving",
    "leave",
    "leaving",
    "stay",
    "staying",
];
/// Words of what has happened.
const TELLING: [&str; 32] = [
    "was",
    "were",
    "did",
    "didn't",
    "made",
    "paid",
    "sent",
    "spent",
    "went",
    "got",
    "had",
    "has",
    "have",
    "received",
    "bought",
    "charged",
    "took",
    "lost",
    "been",
    "happened",
    "stolen",
    "transferred",
    "missing",
    "since",
    "ago",
    "used",
    "cost",
    "withdrew",
    "ordered",
    "arrived",
    "tried",
    "called",
];

fn direction(words: &[Word<'_>], at: usize) -> Direction {
    let any = |among: &[&str]| words.iter().any(|word| among.contains(&word.lower.as_str()));
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    if before.is_some_and(|word| LIMITS.contains(&word.lower.as_str())) {
        Direction::Ahead
    } else if any(&TELLING) {
        Direction::Behind
    } else if any(&ASKING) {
        Direction::Ahead
    } else {
        Direction::Open
    }
}

/// Of some days, the one that lies where the words say.
fn nearest(days: impl Iterator<Item = NaiveDate>, (today, direction): (NaiveDate, Direction)) -> Option<NaiveDate> {
    let distance = |day: &NaiveDate| day.signed_duration_since(today).num_days();
    let far = |day: &NaiveDate| {
        let wrong = match direction {
            Direction::Ahead => distance(day) < 0,
            Direction::Behind => distance(day) > 0,
            Direction::Open => false,
        };
        (wrong, distance(day).abs())
    };
    days.min_by_key(far)
}

fn relative(words: &[Word<'_>], at: usize, when: (NaiveDate, Direction)) -> Option<(NaiveDate, usize)> {
    let (today, direction) = when;
    let lower = |place: usize| words.get(place).map(|word| word.lower.as_str());
    let day_of_week = |place: usize| lower(place).and_then(weekday);
    let back = |days| today.checked_sub_days(Days::new(days));
    let on = |days| today.checked_add_days(Days::new(days));
    let ahead = |day: Weekday| u64::from((day.num_days_from_monday() + 7 - today.weekday().num_days_from_monday()) % 7);
    let coming = |day: Weekday| {
        on(match ahead(day) {
            0 => 7,
            days => days,
        })
    };
    let past = |day: Weekday| back(7 - ahead(day));
    if (lower(at), lower(at + 1), lower(at + 2)) == (Some("day"), Some("after"), Some("tomorrow")) {
        return on(2).map(|day| (day, 3));
    }
    if (lower(at), lower(at + 1), lower(at + 2)) == (Some("day"), Some("before"), Some("yesterday")) {
        return back(2).map(|day| (day, 3));
    }
    // `8 weeks ago`, `in two months`, `two days from now`: what stands before and behind says which way.
    if lower(at) == Some("in") && words.get(at).is_some_and(|word| !word.closes) {
        return Distance::read(words, at + 1).and_then(|(way, count)| Some((way.after(today)?, count + 1)));
    }
    if let Some((way, count)) = Distance::read(words, at) {
        return match (lower(at + count), lower(at + count + 1)) {
            (Some("ago"), _) => way.before(today).map(|day| (day, count + 1)),
            (Some("from"), Some("now" | "today")) => way.after(today).map(|day| (day, count + 2)),
            _ => None,
        };
    }
    Some(match lower(at)? {
        "today" | "tonight" => (today, 1),
        "yesterday" => (back(1)?, 1),
        "tomorrow" => (on(1)?, 1),
        "this" if matches!(lower(at + 1), Some("morning" | "afternoon" | "evening")) => (today, 2),
        "last" if lower(at + 1) == Some("night") => (back(1)?, 2),
        "last" if lower(at + 1) == Some("week") => (in_week(today, -7, day_of_week(at + 2)?)?, 3),
        "next" if lower(at + 1) == Some("week") => (in_week(today, 7, day_of_week(at + 2)?)?, 3),
        "last" => (past(day_of_week(at + 1)?)?, 2),
        "next" | "this" => (coming(day_of_week(at + 1)?)?, 2),
        word => {
            let day = weekday(word)?;
            // `Friday, 4 December`: the date says it.
            if let Some((date, count)) = with_month(words, at + 1, when).or_else(|| of_month(words, at + 1, when)) {
                return Some((date, count + 1));
            }
            // `Friday in two weeks`: in so many weeks from the coming one.
            let weeks = (lower(at + 1) == Some("in")).then(|| Distance::read(words, at + 2)).flatten();
            if let Some((way @ Distance::Days(7..), count)) = weeks {
                return way.after(on(ahead(day))?).map(|date| (date, count + 2));
            }
            (if direction == Direction::Ahead { coming(day)? } else { past(day)? }, 1)
        }
    })
}

/// A day of the week so many days before or after this one.
fn in_week(today: NaiveDate, days: i64, day: Weekday) -> Option<NaiveDate> {
    let monday = today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday())))?;
    monday.checked_add_signed(chrono::TimeDelta::days(days + i64::from(day.num_days_from_monday())))
}

/// A length of time in the calendar.
#[derive(Debug, Clone, Copy)]
enum Distance {
    Days(u64),
    Months(u32),
}

impl Distance {
    /// `7 days`, `two weeks`, `a month`, and how many words it took.
    fn read(words: &[Word<'_>], at: usize) -> Option<(Self, usize)> {
        let (count, used) = match words.get(at)?.lower.as_str() {
            "a" | "one" => (1, 1),
            _ => number(words, at).map(|read| (read.hundredths / 100, read.words))?,
        };
        let count = Some(count).filter(|count| *count <= 3650)?;
        let months = |count: u64| u32::try_from(count).ok();
        let way = match words.get(at + used)?.lower.as_str() {
            "day" | "days" => Self::Days(count),
            "week" | "weeks" => Self::Days(count * 7),
            "month" | "months" => Self::Months(months(count)?),
            "year" | "years" => Self::Months(months(count * 12)?),
            _ => return None,
        };
        Some((way, used + 1))
    }

    fn after(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Days(days) => day.checked_add_days(Days::new(days)),
            Self::Months(months) => day.checked_add_months(Months::new(months)),
        }
    }

    fn before(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Days(days) => day.checked_sub_days(Days::new(days)),
            Self::Months(months) => day.checked_sub_months(Months::new(months)),
        }
    }
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

/// `20 05 1990`, `2005 1990`, `20/05 1990`: eight digits in groups and no more, as a telephone hears a date.
fn in_groups(words: &[Word<'_>], at: usize, today: NaiveDate) -> Option<(NaiveDate, usize)> {
    let (mut joined, mut end) = (String::new(), at);
    if at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(Word::is_digits) {
        return None;
    }
    let group = |word: &&Word<'_>| word.raw.bytes().all(|b| b.is_ascii_digit() || b == b'/' || b == b'-');
    for word in words.get(at..)?.iter().take_while(group) {
        joined.push_str(&digits(word.raw));
        end += 1;
    }
    if joined.len() != 8 || end < at + 2 {
        return None;
    }
    let (day, month, year) =
        (joined.get(..2)?.parse().ok()?, joined.get(2..4)?.parse().ok()?, joined.get(4..)?.parse().ok()?);
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    (1900..=today.year()).contains(&year).then_some((date, end - at))
}

/// `on the 3rd`, `from the 7th to the 14th`: a day of a month that is not named.
fn of_month(words: &[Word<'_>], at: usize, (today, direction): (NaiveDate, Direction)) -> Option<(NaiveDate, usize)> {
    const BEFORE: [&str; 12] =
        ["on", "the", "from", "to", "by", "until", "till", "before", "after", "since", "and", "last"];
    /// What makes an ordinal count something else, or every month.
    const BEHIND: [&str; 6] = ["of", "time", "attempt", "one", "party", "floor"];
    let word = words.get(at)?;
    let number = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.lower.strip_suffix(ending))?;
    let number: u32 = number.parse().ok()?;
    let lower = |place: Option<usize>| place.and_then(|place| words.get(place)).map(|word| word.lower.as_str());
    let after = lower(Some(at + 1)).filter(|_| !word.closes);
    let alone = lower(at.checked_sub(1)).is_none_or(|before| BEFORE.contains(&before) || weekday(before).is_some());
    if !alone || after.is_some_and(|after| BEHIND.contains(&after)) {
        return None;
    }
    let first = today.with_day(1)?;
    let around = [first.checked_sub_months(Months::new(1)), Some(first), first.checked_add_months(Months::new(1))];
    let days = around.into_iter().flatten().filter_map(|month| month.with_day(number));
    nearest(days, (today, direction)).map(|date| (date, 1))
}

/// `12 May 1990`, `the twelfth of May`, `May 12, 1990`.
fn with_month(words: &[Word<'_>], at: usize, when: (NaiveDate, Direction)) -> Option<(NaiveDate, usize)> {
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
    let years = when.0.year() - 1..=when.0.year() + 1;
    nearest(years.filter_map(|year| NaiveDate::from_ymd_opt(year, month, day)), when).map(|date| (date, next - at))
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
