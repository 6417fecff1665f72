//! Days: birthdays as people write them, and days lately (`yesterday`, `last Friday`, `on the 3rd`).

use std::ops::Range;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::words::{Word, similar, words};

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

/// The day of birth in a text: any full date that makes a person of 16 to 120 years.
pub(in crate::dialogue) fn birthday(text: &str, today: NaiveDate) -> Option<(NaiveDate, Range<usize>)> {
    let words = words(text);
    let digits = || match words.as_slice() {
        [word] => run_together(&word.text, today).map(|date| (date, word.span.clone())),
        _ => None,
    };
    let (date, span) = full_dates(&words, today).into_iter().next().or_else(digits)?;
    let years = today.years_since(date)?;
    (16..=120).contains(&years).then_some((date, span))
}

/// A day of the last year in a text.
pub(in crate::dialogue) fn recent_day(text: &str, today: NaiveDate) -> Option<NaiveDate> {
    let words = words(text);
    let past = |date: NaiveDate| date <= today && today.signed_duration_since(date).num_days() <= 366;
    if let Some((date, _)) = full_dates(&words, today).into_iter().find(|(date, _)| past(*date)) {
        return Some(date);
    }
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map(|word| word.text.as_str()).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| words.get(at)).map(|word| word.text.as_str()).unwrap_or_default();
        match word.text.as_str() {
            "today" | "tonight" => return Some(today),
            "yesterday" if before == "before" => return today.checked_sub_days(Days::new(2)),
            "yesterday" => return today.checked_sub_days(Days::new(1)),
            text => {
                if let Some(weekday) = weekday(text) {
                    let back = (today.weekday().num_days_from_monday() + 7 - weekday.num_days_from_monday()) % 7;
                    let back = if back == 0 { 7 } else { back };
                    return today.checked_sub_days(Days::new(u64::from(back)));
                }
                let day = day_number(text);
                let other = month(next).or_else(|| month(before));
                if let (Some(day), Some(month)) = (day, other) {
                    let this_year = NaiveDate::from_ymd_opt(today.year(), month, day);
                    let date = this_year.filter(|date| past(*date));
                    return date
                        .or_else(|| NaiveDate::from_ymd_opt(today.year() - 1, month, day).filter(|date| past(*date)));
                }
                if let (Some(day), true) = (day, text.ends_with(|c: char| c.is_ascii_alphabetic())) {
                    let this_month = today.with_day(day).filter(|date| past(*date));
                    let last_month = today.with_day(1)?.pred_opt()?.with_day(day);
                    return this_month.or(last_month);
                }
            }
        }
    }
    None
}

/// A day in words: `Friday 4 December`, with the year where it is not this one.
pub(in crate::dialogue) fn shown(date: NaiveDate, today: NaiveDate) -> String {
    if date.year() == today.year() || (date > today && date.signed_duration_since(today).num_days() < 120) {
        date.format("%A %-d %B").to_string()
    } else {
        date.format("%-d %B %Y").to_string()
    }
}

/// A date of digits alone, day first: `140388`, `14031988`.
fn run_together(text: &str, today: NaiveDate) -> Option<NaiveDate> {
    if !matches!(text.len(), 6 | 8) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (day, month) = (text.get(..2)?.parse().ok(), text.get(2..4)?.parse().ok());
    build(year_number(text.get(4..)?, today), month, day)
}

/// Dates with day, month and year.
fn full_dates(words: &[Word], today: NaiveDate) -> Vec<(NaiveDate, Range<usize>)> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if let Some(date) = in_one_word(&word.text, today) {
            found.push((date, word.span.clone()));
            continue;
        }
        // "14 March 1988", "14th of March 1988", "March 14, 1988", "14 3 1988"
        let mut rest = words.iter().skip(at).filter(|word| word.text != "of" && word.text != "the");
        let (Some(first), Some(second), Some(third)) = (rest.next(), rest.next(), rest.next()) else {
            continue;
        };
        if first.span != word.span {
            continue;
        }
        let parts = (first.text.as_str(), second.text.as_str(), third.text.as_str());
        let date = match parts {
            (day, name, year) if day_of_month(day).is_some() && month(name).is_some() => {
                build(year_number(year, today), month(name), day_of_month(day))
            }
            (name, day, year) if month(name).is_some() && day_of_month(day).is_some() => {
                build(year_number(year, today), month(name), day_of_month(day))
            }
            (day, number, year) if year.len() == 4 => {
                let (day, number) = (day.parse::<u32>().ok(), number.parse::<u32>().ok());
                day_first(year_number(year, today), day, number)
            }
            _ => None,
        };
        if let Some(date) = date {
            found.push((date, first.span.start..third.span.end));
        }
    }
    found
}

/// `1988-03-14`, `14/03/1988`, `14.3.88`, `14031988`.
fn in_one_word(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
    match parts.as_slice() {
        [year, month, day] if year.len() == 4 => build(year_number(year, today), month.parse().ok(), day.parse().ok()),
        [day, month, year] => {
            if let Some(named) = self::month(month) {
                return build(year_number(year, today), Some(named), day_number(day));
            }
            day_first(year_number(year, today), day.parse().ok(), month.parse().ok())
        }
        [digits] if digits.len() == 8 && digits.chars().all(|c| c.is_ascii_digit()) => {
            let (day, month, year) = (digits.get(..2)?, digits.get(2..4)?, digits.get(4..)?);
            day_first(year_number(year, today), day.parse().ok(), month.parse().ok())
        }
        _ => None,
    }
}

/// Day before month, as in Europe; the other way round only where that is the only date it can be.
fn day_first(year: Option<i32>, day: Option<u32>, month: Option<u32>) -> Option<NaiveDate> {
    build(year, month, day).or_else(|| build(year, day, month))
}

fn build(year: Option<i32>, month: Option<u32>, day: Option<u32>) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year?, month?, day?)
}

fn year_number(text: &str, today: NaiveDate) -> Option<i32> {
    let number: i32 = text.trim_start_matches('\'').parse().ok()?;
    match text.trim_start_matches('\'').len() {
        4 => Some(number),
        2 => {
            let century = if number > today.year() % 100 { 1900 } else { 2000 };
            Some(century + number)
        }
        _ => None,
    }
}

fn day_number(text: &str) -> Option<u32> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| text.strip_suffix(ending)).unwrap_or(text);
    digits.parse::<u32>().ok().filter(|day| (1..=31).contains(day))
}

/// The day beside a month's name: in digits, or as a word.
fn day_of_month(text: &str) -> Option<u32> {
    const WORDS: [&str; 31] = [
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
    let word = || WORDS.iter().position(|word| *word == text).and_then(|at| u32::try_from(at + 1).ok());
    day_number(text).or_else(word)
}

fn month(text: &str) -> Option<u32> {
    let short = text.len() == 3 || (text.len() == 4 && text == "sept");
    MONTHS
        .iter()
        .position(|name| similar(text, name) || (short && name.starts_with(text.get(..3).unwrap_or("-"))))
        .and_then(|at| u32::try_from(at + 1).ok())
}

fn weekday(text: &str) -> Option<Weekday> {
    text.ends_with("day").then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    fn today() -> NaiveDate {
        day(2026, 11, 23)
    }

    #[test]
    fn birthdays_are_read_in_the_ways_people_write_them() {
        for text in [
            "1988-03-14",
            "14/03/1988",
            "14.3.1988",
            "14-03-88",
            "14 March 1988",
            "14th of march 1988",
            "March 14, 1988",
            "14 mar 88",
            "14031988",
            "14 03 1988",
            "03/14/1988",
            "I was born on the 14th of March, 1988.",
        ] {
            assert_eq!(birthday(text, today()).map(|(date, _)| date), Some(day(1988, 3, 14)), "{text}");
        }
        for text in ["fourteenth of march 1988", "140388", "14031988"] {
            assert_eq!(birthday(text, today()).map(|(date, _)| date), Some(day(1988, 3, 14)), "{text}");
        }
        assert_eq!(birthday("10115", today()), None);
        assert_eq!(birthday("14 March 2020", today()), None, "too young");
        assert_eq!(birthday("31/02/1988", today()), None);
        assert_eq!(birthday("why do you need that", today()), None);
    }

    #[test]
    fn days_lately_are_read() {
        // 23 November 2026 is a Monday.
        for (text, date) in [
            ("it was yesterday", day(2026, 11, 22)),
            ("the day before yesterday", day(2026, 11, 21)),
            ("last friday", day(2026, 11, 20)),
            ("on monday", day(2026, 11, 16)),
            ("on the 3rd", day(2026, 11, 3)),
            ("on the 28th", day(2026, 10, 28)),
            ("12 November", day(2026, 11, 12)),
            ("Dec 5", day(2025, 12, 5)),
        ] {
            assert_eq!(recent_day(text, today()), Some(date), "{text}");
        }
        assert_eq!(recent_day("the 250 one", today()), None);
    }
}
