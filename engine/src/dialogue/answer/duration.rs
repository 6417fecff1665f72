//! Lengths of time in months: `24 months`, `3 years`, `a year and a half`, `since 2019` is not read.

use std::ops::Range;

use super::number::number_at;
use super::words::{similar, words};

/// A length of time.
pub(in crate::dialogue) struct Duration {
    /// In months.
    pub(in crate::dialogue) months: i64,
    /// Where it stands, in bytes.
    pub(in crate::dialogue) span: Range<usize>,
}

/// The length of time in a text. A bare number counts only where `bare` allows it: as years with `bare_years`.
pub(in crate::dialogue) fn months(text: &str, bare: bool, bare_years: bool) -> Option<Duration> {
    let words = words(text);
    let mut total: Option<i64> = None;
    let mut span: Option<Range<usize>> = None;
    let mut bare_numbers = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let joined = split_unit(&word.text);
        let (hundredths, used, unit) = match (number_at(&words, at), joined) {
            (Some((hundredths, used)), _) => {
                (hundredths, used, words.get(at + used).map(|next| next.text.as_str()).unwrap_or_default())
            }
            (None, Some((hundredths, unit))) => (hundredths, 0, unit),
            (None, None) if matches!(word.text.as_str(), "a" | "an" | "one") => {
                (100, 1, words.get(at + 1).map(|next| next.text.as_str()).unwrap_or_default())
            }
            (None, None) if word.text == "half" => {
                let year = words.iter().skip(at + 1).take(2).any(|next| next.text.starts_with("year"));
                let after_year = total.is_some_and(|months| months % 12 == 0);
                if year || after_year {
                    // "two and a half years": the number before it counted years too.
                    let years = bare_numbers.pop().map_or(0, |(hundredths, before): (i64, Range<usize>)| {
                        span = Some(join(span.take(), before));
                        hundredths / 100 * 12
                    });
                    total = Some(total.unwrap_or(0) + years + 6);
                    span = Some(join(span, word.span.clone()));
                }
                if year {
                    at += 2;
                }
                at += 1;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let slip = |whole: &str| similar(unit, whole);
        let factor = match unit.trim_end_matches('s') {
            "month" | "mth" | "mo" | "m" => Some(1),
            "year" | "yr" | "y" => Some(12),
            _ if slip("months") || slip("month") => Some(1),
            _ if slip("years") => Some(12),
            // Weeks, days and units that can not be read: the number is no bare one, and must not be taken for years.
            _ if unit.starts_with(['m', 'y', 'w', 'd']) => return None,
            _ => None,
        };
        let end = words.get(at + used).map_or(word.span.end, |unit| unit.span.end);
        match factor {
            Some(factor) => {
                let months = hundredths.checked_mul(factor)?.checked_add(50)? / 100;
                total = Some(total.unwrap_or(0).checked_add(months)?);
                span = Some(join(span, word.span.start..end));
                at += used + 1;
            }
            None => {
                if number_at(&words, at).is_some() {
                    bare_numbers.push((hundredths, word.span.clone()));
                }
                at += used.max(1);
            }
        }
    }
    match (total, span, bare_numbers.as_slice()) {
        (Some(months), Some(span), _) => Some(Duration { months, span }),
        (None, _, [(hundredths, span)]) if bare && hundredths % 100 == 0 => {
            let number = hundredths / 100;
            // A bare number above 100 is no count of years; it is a year's date or a slip.
            let months = if bare_years { (number <= 100).then_some(number * 12)? } else { number };
            Some(Duration { months, span: span.clone() })
        }
        _ => None,
    }
}

fn join(before: Option<Range<usize>>, now: Range<usize>) -> Range<usize> {
    before.map_or(now.clone(), |before| before.start..now.end)
}

/// A number and its unit in one word: `24months`, `3y`.
fn split_unit(word: &str) -> Option<(i64, &str)> {
    let at = word.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = (word.get(..at)?, word.get(at..)?);
    let number: i64 = number.trim_end_matches('-').parse().ok()?;
    Some((number.checked_mul(100)?, unit))
}

/// In words: `3 years`, `2 years and 6 months`, `8 months`.
pub(in crate::dialogue) fn shown(months: i64) -> String {
    let some = |count: i64, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    match (months / 12, months % 12) {
        (0, months) => some(months, "month"),
        (years, 0) => format!("{} ({} months)", some(years, "year"), years * 12),
        (years, rest) => format!("{} and {} ({months} months)", some(years, "year"), some(rest, "month")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, bare: bool, bare_years: bool) -> Option<i64> {
        months(text, bare, bare_years).map(|duration| duration.months)
    }

    #[test]
    fn lengths_of_time_are_read() {
        for (text, months) in [
            ("24 months", 24),
            ("24months", 24),
            ("3 years", 36),
            ("three years", 36),
            ("2 years and 6 months", 30),
            ("2.5 years", 30),
            ("a year", 12),
            ("a year and a half", 18),
            ("half a year", 6),
            ("two and a half years", 30),
            ("3yrs", 36),
            ("about 8 months i think", 8),
            ("8 monnths", 8),
            ("8 yeras", 96),
        ] {
            assert_eq!(read(text, false, false), Some(months), "{text}");
        }
    }

    #[test]
    fn bare_numbers_count_only_when_asked_for() {
        for no_bare in ["8 weeks", "8 moons", "60 days"] {
            assert_eq!(read(no_bare, true, true), None, "{no_bare}");
        }
        assert_eq!(read("36", true, false), Some(36));
        assert_eq!(read("5", true, true), Some(60));
        assert_eq!(read("36", false, false), None);
        assert_eq!(read("2019", true, true), None);
        assert_eq!(read("12 or 24", true, false), None);
    }

    #[test]
    fn lengths_of_time_are_shown() {
        assert_eq!(shown(8), "8 months");
        assert_eq!(shown(36), "3 years (36 months)");
        assert_eq!(shown(13), "1 year and 1 month (13 months)");
    }
}
