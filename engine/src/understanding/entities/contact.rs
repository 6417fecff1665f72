//! Names, and how people are reached.

use super::word::{Word, cue_before, digits};
use super::{EntityKind, Found};

/// Words that follow "I am" or a name without being part of one.
const NO_NAME: [&str; 48] = [
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
    "it",
    "it's",
    "someone",
    "somebody",
    "you",
    "we",
    "everything",
    "this",
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

/// What follows "my name is" or "under the name" however written, or "I'm", "I am" and "this is" where written as names are.
pub(super) fn name(words: &[Word<'_>], at: usize) -> Option<Found> {
    let lower = |back: usize| at.checked_sub(back).and_then(|place| words.get(place)).map(|word| word.lower.as_str());
    let named = matches!((lower(3), lower(2), lower(1)), (_, Some("name"), Some("is")))
        || matches!((lower(2), lower(1)), (Some("my"), Some("name's" | "name’s")))
        || (lower(1) == Some("name")
            && (matches!(lower(2), Some("under"))
                || matches!((lower(3), lower(2)), (Some("under" | "in" | "on"), Some("the" | "same")))
                || matches!((lower(4), lower(3), lower(2)), (Some("under" | "in" | "on"), Some("the"), Some("same")))))
        || matches!((lower(3), lower(2), lower(1)), (Some("the"), Some("name"), Some("of")));
    let told = matches!(lower(1), Some("i'm" | "i’m"))
        || matches!((lower(2), lower(1)), (Some("i"), Some("am")) | (Some("this" | "it"), Some("is")));
    let opens = matches!(lower(1), Some("it's" | "it’s" | "its"))
        || matches!((lower(2), lower(1)), (Some("this" | "it"), Some("is")));
    let begins = at == 0 || at == 1 && matches!(lower(1), Some("hi" | "hello" | "hey"));
    if let Some(speaks) = speaker(words, at, opens, begins) {
        return Some(speaks);
    }
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
    (end > at).then(|| named_by(words, at, end))?
}

/// "it's page guynn speaking", however written; "Anna Schmidt here", as names are written, where a message begins.
fn speaker(words: &[Word<'_>], at: usize, opens: bool, begins: bool) -> Option<Found> {
    if !opens && !begins {
        return None;
    }
    let is_name = |word: &&Word<'_>| {
        word.raw.chars().all(|c| c.is_alphabetic() || "-'’".contains(c))
            && !NO_NAME.contains(&word.lower.as_str())
            && !matches!(word.lower.as_str(), "speaking" | "calling" | "hi" | "hello" | "hey")
    };
    let name: Vec<&Word<'_>> = words.get(at..)?.iter().take(3).take_while(is_name).collect();
    let last = words.get(at + name.len())?;
    let said = match last.lower.as_str() {
        "speaking" | "calling" => opens,
        "here" => begins && name.len() > 1 && name.iter().all(|word| word.raw.starts_with(char::is_uppercase)),
        _ => false,
    };
    let whole = !name.is_empty() && !name.iter().any(|word| word.closes);
    (whole && said).then(|| named_by(words, at, at + name.len()))?
}

fn named_by(words: &[Word<'_>], first: usize, end: usize) -> Option<Found> {
    let value: Vec<String> = words.get(first..end)?.iter().map(|word| capital(word.raw)).collect();
    Some(Found { kind: EntityKind::Name, first, end, value: value.join(" ") })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
