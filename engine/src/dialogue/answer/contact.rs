//! Ways to reach or name a person: mail, telephone, postcode, customer number, card digits.

use std::ops::Range;

use super::words::words;

/// A mail address, in lower case.
pub(in crate::dialogue) fn email(text: &str) -> Option<(String, Range<usize>)> {
    words(text).into_iter().find_map(|word| {
        let (local, domain) = word.text.split_once('@')?;
        let host_ok = domain.split('.').count() >= 2
            && domain
                .split('.')
                .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'))
            && domain.rsplit('.').next().is_some_and(|top| top.len() >= 2);
        let local_ok = !local.is_empty()
            && !local.starts_with('.')
            && !local.ends_with('.')
            && local.chars().all(|c| c.is_ascii_alphanumeric() || "._%+-".contains(c));
        (host_ok && local_ok).then_some((word.text, word.span))
    })
}

/// A telephone number: digits with a leading `+` where given. When it was not asked for, it must have a leading `+` or `0`.
pub(in crate::dialogue) fn phone(text: &str, asked: bool) -> Option<(String, Range<usize>)> {
    let mut number = String::new();
    let mut start = 0;
    let mut end = 0;
    let accept = |number: &str| {
        let digits = number.trim_start_matches('+').len();
        let plain = number.starts_with('+') || number.starts_with('0');
        (7..=15).contains(&digits) && (asked || plain)
    };
    for (at, c) in text.char_indices() {
        let joins = matches!(c, ' ' | '-' | '/' | '(' | ')' | '.') && !number.is_empty();
        if c.is_ascii_digit() || (c == '+' && number.is_empty()) {
            if number.is_empty() {
                start = at;
            }
            number.push(c);
            end = at + 1;
        } else if !joins {
            if accept(&number) {
                break;
            }
            number.clear();
        }
    }
    accept(&number).then_some((number, start..end))
}

/// A postcode, upper case without spaces: `10115`, `SW1A1AA`, `D02X285`.
pub(in crate::dialogue) fn postcode(text: &str, asked: bool) -> Option<(String, Range<usize>)> {
    let words = words(text);
    let part = |word: &str| {
        (2..=8).contains(&word.len())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && word.chars().any(|c| c.is_ascii_digit())
    };
    let clean = |text: String| text.to_uppercase().replace('-', "");
    let whole = |code: &str| {
        let letters = code.chars().filter(char::is_ascii_alphabetic).count();
        (4..=8).contains(&code.len()) && letters <= 5 && (letters > 0 || asked || code.len() == 5)
    };
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if !part(&word.text) {
            continue;
        }
        // Two halves, as in "SW1A 1AA".
        if let Some(second) = words.get(at)
            && part(&second.text)
            && word.text.len() <= 4
            && second.text.len() <= 4
            && word.text.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            found.push((clean(format!("{}{}", word.text, second.text)), word.span.start..second.span.end));
            at += 1;
            continue;
        }
        found.push((clean(word.text.clone()), word.span.clone()));
    }
    found.retain(|(code, _)| whole(code));
    match found.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// A customer number (`C-10023`) or mail address. Bare digits count as a number only when asked for.
pub(in crate::dialogue) fn who(text: &str, asked: bool) -> Option<(String, Range<usize>)> {
    if let Some(found) = email(text) {
        return Some(found);
    }
    let words = words(text);
    let digits = |text: &str| (4..=8).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    let number = |text: &str| format!("C-{text}");
    for (at, word) in words.iter().enumerate() {
        let rest = word.text.strip_prefix("c-").or_else(|| word.text.strip_prefix("c"));
        if let Some(rest) = rest
            && digits(rest)
        {
            return Some((number(rest), word.span.clone()));
        }
        if word.text == "c"
            && let Some(next) = words.get(at + 1)
            && digits(&next.text)
        {
            return Some((number(&next.text), word.span.start..next.span.end));
        }
    }
    if !asked {
        return None;
    }
    let mut bare = words.iter().filter(|word| digits(&word.text));
    match (bare.next(), bare.next()) {
        (Some(word), None) => Some((number(&word.text), word.span.clone())),
        _ => None,
    }
}

/// The last four digits of a card: a word of exactly four digits, or the end of a full card number.
pub(in crate::dialogue) fn last4(text: &str) -> Option<(String, Range<usize>)> {
    let words = words(text);
    let four = words
        .iter()
        .rfind(|word| word.text.len() == 4 && word.text.chars().all(|c| c.is_ascii_digit()))
        .map(|word| (word.text.clone(), word.span.clone()));
    four.or_else(|| {
        words.iter().find_map(|word| {
            let digits: String = word.text.chars().filter(char::is_ascii_digit).collect();
            let full = digits.len() == 16
                || (digits.len() == 4 && word.text.trim_start_matches(['*', 'x', '.', '…']) == digits);
            full.then(|| Some((digits.get(digits.len() - 4..)?.to_owned(), word.span.clone())))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(found: Option<(String, Range<usize>)>) -> Option<String> {
        found.map(|(value, _)| value)
    }

    #[test]
    fn mail_addresses() {
        assert_eq!(value(email("it's Anna.Weber@Example.com, thanks")), Some("anna.weber@example.com".into()));
        assert_eq!(value(email("anna@home")), None);
        assert_eq!(value(email("@twitter")), None);
    }

    #[test]
    fn telephone_numbers() {
        assert_eq!(value(phone("+49 30 123-4567", true)), Some("+49301234567".into()));
        assert_eq!(value(phone("my new number is 0151 234 5678.", false)), Some("01512345678".into()));
        assert_eq!(value(phone("call (030) 1234567 please", true)), Some("0301234567".into()));
        assert_eq!(value(phone("12345", true)), None);
        assert_eq!(value(phone("I lost 5000000 points", false)), None);
    }

    #[test]
    fn postcodes() {
        assert_eq!(value(postcode("it is 10115", true)), Some("10115".into()));
        assert_eq!(value(postcode("sw1a 1aa", true)), Some("SW1A1AA".into()));
        assert_eq!(value(postcode("D02 X285", true)), Some("D02X285".into()));
        assert_eq!(value(postcode("no idea", true)), None);
        assert_eq!(value(postcode("10115 or 10117", true)), None);
    }

    #[test]
    fn names_of_customers() {
        assert_eq!(value(who("my number is c10023", true)), Some("C-10023".into()));
        assert_eq!(value(who("C-10023", false)), Some("C-10023".into()));
        assert_eq!(value(who("10023", true)), Some("C-10023".into()));
        assert_eq!(value(who("10023", false)), None);
        assert_eq!(value(who("anna@example.com", false)), Some("anna@example.com".into()));
    }

    #[test]
    fn card_digits() {
        assert_eq!(value(last4("the one ending in 4821")), Some("4821".into()));
        assert_eq!(value(last4("4929123412344821")), Some("4821".into()));
        assert_eq!(value(last4("xxxx")), None);
    }
}
