//! Names, and how people are reached.

use super::word::{Word, cue_before, digits};
use super::{EntityKind, Found};

/// Words that follow "I am" or a name without being part of one.
const NO_NAME: [&str; 40] = [
    "a",
    "an",
    "the",
    "and",
    "or",
    "but",
    "not",
    "very",
    "so",
    "still",
    "calling",
    "writing",
    "looking",
    "trying",
    "having",
    "here",
    "from",
    "with",
    "in",
    "at",
    "on",
    "to",
    "unable",
    "sure",
    "sorry",
    "happy",
    "unhappy",
    "angry",
    "glad",
    "really",
    "just",
    "also",
    "my",
    "your",
    "i",
    "customer",
    "is",
    "please",
    "waiting",
    "interested",
];

/// A mail address, in lower case.
pub(super) fn email(words: &[Word<'_>], at: usize) -> Option<Found> {
    let word = words.get(at)?;
    let (user, host) = word.lower.split_once('@')?;
    let plain = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c)) && !part.contains("..")
    };
    let (name, top) = host.rsplit_once('.')?;
    let fits = plain(user, "._%+-") && plain(name, ".-") && top.len() >= 2 && plain(top, "");
    fits.then(|| Found { kind: EntityKind::Email, first: at, end: at + 1, value: word.lower.clone() })
}

/// A telephone number: nine to fifteen digits with an international sign, a leading zero, or a word for it before them.
pub(super) fn phone(words: &[Word<'_>], at: usize) -> Option<Found> {
    const CUES: [&str; 8] = ["phone", "telephone", "mobile", "cell", "tel", "call", "text", "reach"];
    let shaped = |word: &Word<'_>| {
        word.raw.bytes().all(|b| b.is_ascii_digit() || b"+-()/.".contains(&b))
            && word.raw.bytes().any(|b| b.is_ascii_digit())
    };
    let first = words.get(at).filter(|word| shaped(word))?;
    let marked = first.raw.starts_with('+') || first.raw.starts_with('0');
    if !marked && !cue_before(words, at, 5, &CUES) {
        return None;
    }
    let mut joined = digits(first.raw);
    let mut end = at + 1;
    for word in words.get(at + 1..)? {
        if !shaped(word) || joined.len() + digits(word.raw).len() > 15 {
            break;
        }
        joined.push_str(&digits(word.raw));
        end += 1;
    }
    let plus = if first.raw.starts_with('+') { "+" } else { "" };
    (9..=15).contains(&joined.len()).then(|| Found {
        kind: EntityKind::Phone,
        first: at,
        end,
        value: format!("{plus}{joined}"),
    })
}

/// A British postcode anywhere, four to six digits where a word for it stands before them.
pub(super) fn postcode(words: &[Word<'_>], at: usize) -> Option<Found> {
    let word = words.get(at)?;
    if word.is_digits()
        && (4..=6).contains(&word.raw.len())
        && cue_before(words, at, 3, &["postcode", "zip", "zipcode", "code"])
    {
        return Some(Found { kind: EntityKind::Postcode, first: at, end: at + 1, value: word.raw.to_owned() });
    }
    let shape = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    '9'
                } else if c.is_ascii_alphabetic() {
                    'a'
                } else {
                    '?'
                }
            })
            .collect()
    };
    let british = |joined: &str| -> Option<String> {
        let (outward, inward) = joined.split_at_checked(joined.len().checked_sub(3)?)?;
        let known = ["a9", "a99", "aa9", "aa99", "a9a", "aa9a"].contains(&shape(outward).as_str());
        (known && shape(inward) == "9aa").then(|| format!("{outward} {inward}").to_uppercase())
    };
    let found = |value: String, end: usize| Some(Found { kind: EntityKind::Postcode, first: at, end, value });
    // In one piece, or in the two that it is written in.
    if let Some(value) = british(word.raw) {
        return found(value, at + 1);
    }
    let next = words.get(at + 1).filter(|next| !word.closes && next.raw.len() == 3);
    if let Some(value) = next.and_then(|next| british(&format!("{}{}", word.raw, next.raw))) {
        return found(value, at + 2);
    }
    // Spelled: the whole of what is spelled, from its first letter on.
    let spelled = |word: &&Word<'_>| word.raw.len() <= 2 && word.raw.bytes().all(|b| b.is_ascii_alphanumeric());
    if at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|before| spelled(&before)) {
        return None;
    }
    let pieces: Vec<&str> = words.get(at..)?.iter().take_while(spelled).map(|word| word.raw).collect();
    let value = (pieces.len() >= 3).then(|| british(&pieces.concat())).flatten()?;
    found(value, at + pieces.len())
}

/// What follows "my name is" or "under the name" however written, or "I'm", "I am" and "this is" where written as names are.
pub(super) fn name(words: &[Word<'_>], at: usize) -> Option<Found> {
    let lower = |back: usize| at.checked_sub(back).and_then(|place| words.get(place)).map(|word| word.lower.as_str());
    let named = matches!((lower(3), lower(2), lower(1)), (_, Some("name"), Some("is")))
        || matches!((lower(2), lower(1)), (Some("my"), Some("name's" | "name’s")))
        || matches!((lower(3), lower(2), lower(1)), (Some("under" | "in"), Some("the"), Some("name")))
        || matches!((lower(3), lower(2), lower(1)), (Some("the"), Some("name"), Some("of")));
    let told = matches!(lower(1), Some("i'm" | "i’m"))
        || matches!((lower(2), lower(1)), (Some("i"), Some("am")) | (Some("this" | "it"), Some("is")));
    if !named && !told {
        return None;
    }
    let mut end = at;
    for word in words.get(at..)?.iter().take(3) {
        let letters = word.raw.chars().all(|c| c.is_alphabetic() || c == '-' || c == '\'' || c == '’');
        let upper = word.raw.starts_with(char::is_uppercase);
        if !letters || NO_NAME.contains(&word.lower.as_str()) || (told && !upper) || (named && end > at + 1 && !upper) {
            break;
        }
        end += 1;
        if word.closes {
            break;
        }
    }
    let value: Vec<String> = words.get(at..end)?.iter().map(|word| capital(word.raw)).collect();
    (end > at).then(|| Found { kind: EntityKind::Name, first: at, end, value: value.join(" ") })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
