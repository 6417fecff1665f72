//! Numbers in digits and in words.

use super::word::Word;
use super::{EntityKind, Found};
use crate::understanding::number_words::below_hundred;

/// A number in hundredths, and how many words it took.
pub(super) struct Read {
    pub(super) hundredths: u64,
    pub(super) words: usize,
    /// Written in digits.
    pub(super) in_digits: bool,
}

/// Any number that no other reader took. A lone word below ten ("the last four digits") is hardly ever a value.
pub(super) fn plain(words: &[Word<'_>], at: usize) -> Option<Found> {
    let read = number(words, at)?;
    if !read.in_digits && read.words == 1 && read.hundredths < 1000 {
        return None;
    }
    let (whole, rest) = (read.hundredths / 100, read.hundredths % 100);
    let value = if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") };
    Some(Found { kind: EntityKind::Number, first: at, end: at + read.words, value })
}

/// The number that begins with word `at`.
pub(super) fn number(words: &[Word<'_>], at: usize) -> Option<Read> {
    let word = words.get(at)?;
    if let Some(hundredths) = decimal(&word.lower) {
        let thousand = words.get(at + 1).filter(|next| next.lower == "thousand" && !word.closes);
        return Some(match thousand {
            Some(_) => Read { hundredths: hundredths.checked_mul(1000)?, words: 2, in_digits: true },
            None => Read { hundredths, words: 1, in_digits: true },
        });
    }
    in_words(words, at)
}

/// `1,234.56`, `1.234,56`, `2,500`, `29,90`, `10k`, in hundredths.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let (text, factor) = match text.strip_suffix('k') {
        Some(rest) => (rest, 1000),
        None => (text, 1),
    };
    if !text.starts_with(|c: char| c.is_ascii_digit())
        || !text.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.')
    {
        return None;
    }
    let (whole, fraction) = match text.rfind([',', '.']) {
        // One or two digits behind the last mark are a fraction, three are thousands.
        Some(mark) if (1..=2).contains(&(text.len() - mark - 1)) => (text.get(..mark)?, text.get(mark + 1..)?),
        Some(mark) if text.len() - mark - 1 == 3 => (text, ""),
        Some(_) => return None,
        None => (text, ""),
    };
    let mut groups = whole.split([',', '.']);
    let first = groups.next()?;
    let mut joined = first.to_owned();
    for group in groups {
        if group.len() != 3 || first.len() > 3 {
            return None;
        }
        joined.push_str(group);
    }
    let cents = match fraction.len() {
        0 => 0,
        1 => fraction.parse::<u64>().ok()? * 10,
        _ => fraction.parse().ok()?,
    };
    joined.parse::<u64>().ok()?.checked_mul(100)?.checked_add(cents)?.checked_mul(factor)
}

/// `five hundred`, `twenty-five`, `two thousand three hundred and ten`.
fn in_words(words: &[Word<'_>], at: usize) -> Option<Read> {
    let (mut total, mut current, mut used, mut last) = (0u64, 0u64, 0, 0);
    for word in words.get(at..)? {
        let mut known = true;
        for part in word.lower.split('-') {
            if let Some(small) = below_hundred(part) {
                current += u64::from(small);
            } else if part == "hundred" && current > 0 {
                current *= 100;
            } else if part == "thousand" && current > 0 {
                total += current.checked_mul(1000)?;
                current = 0;
            } else {
                known = false;
                break;
            }
        }
        let joins = word.lower == "and" && used > 0;
        if !known && !joins {
            break;
        }
        used += 1;
        if known {
            last = used;
            if word.closes {
                break;
            }
        }
    }
    let sum = total.checked_add(current)?;
    (last > 0).then_some(Read { hundredths: sum.checked_mul(100)?, words: last, in_digits: false })
}

#[cfg(test)]
mod tests {
    use super::super::word::words;
    use super::*;

    #[test]
    fn both_ways_of_writing_thousands_and_fractions() {
        for (text, hundredths) in [
            ("1,234.56", Some(123_456)),
            ("1.234,56", Some(123_456)),
            ("2,500", Some(250_000)),
            ("29,9", Some(2990)),
            ("10k", Some(1_000_000)),
            ("1,23,456", None),
            ("12345.678", None),
            ("3.1.4", None),
            ("abc", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text), hundredths, "{text}");
        }
    }

    #[test]
    fn words_add_up() {
        for (text, hundredths, used) in [
            ("two thousand three hundred and ten pounds", 231_000, 6),
            ("twenty-five euros", 2500, 1),
            ("five, six", 500, 1),
            ("3 thousand", 300_000, 2),
        ] {
            let read = number(&words(text), 0).unwrap();
            assert_eq!((read.hundredths, read.words), (hundredths, used), "{text}");
        }
        assert!(number(&words("hundred"), 0).is_none());
    }
}
