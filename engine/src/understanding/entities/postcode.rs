//! Postcodes, written or spelled aloud.

use super::word::{Word, cue_before};
use super::{EntityKind, Found};
use crate::understanding::number_words::below_hundred;

/// Shapes of the first half of a British postcode: `a` a letter, `9` a digit. The second half is always `9aa`.
const OUTWARD: [&str; 6] = ["a9", "a99", "aa9", "aa99", "a9a", "aa9a"];
const INWARD: &str = "9aa";

/// Words that radio operators, and callers who are not heard, say for letters.
const ALPHABET: [&str; 26] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima",
    "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "xray",
    "yankee", "zulu",
];

/// How letters and digits are written by a machine that heard them said.
const HEARD: [(&str, char); 36] = [
    ("alfa", 'a'),
    ("juliett", 'j'),
    ("whisky", 'w'),
    ("x-ray", 'x'),
    ("be", 'b'),
    ("bee", 'b'),
    ("see", 'c'),
    ("sea", 'c'),
    ("dee", 'd'),
    ("eff", 'f'),
    ("gee", 'g'),
    ("jay", 'j'),
    ("kay", 'k'),
    ("okay", 'k'),
    ("ell", 'l'),
    ("em", 'm'),
    ("en", 'n'),
    ("pee", 'p'),
    ("queue", 'q'),
    ("cue", 'q'),
    ("are", 'r'),
    ("ess", 's'),
    ("tea", 't'),
    ("tee", 't'),
    ("you", 'u'),
    ("ex", 'x'),
    ("why", 'y'),
    ("zed", 'z'),
    ("zee", 'z'),
    ("oh", '0'),
    ("won", '1'),
    ("to", '2'),
    ("too", '2'),
    ("free", '3'),
    ("for", '4'),
    ("ate", '8'),
];

/// Short words that stand before a spelled postcode and are no part of it.
const NO_SPELLING: [&str; 25] = [
    "is", "it", "my", "at", "in", "on", "of", "or", "so", "and", "the", "yes", "no", "hi", "an", "he", "we", "us",
    "if", "do", "go", "by", "as", "am", "mum",
];

/// Words that a spelled postcode may take.
const LONGEST: usize = 14;

/// A British postcode anywhere, four to six digits where a word for it stands before them.
pub(super) fn postcode(words: &[Word<'_>], at: usize) -> Option<Found> {
    let word = words.get(at)?;
    let found = |value: String, end: usize| Some(Found { kind: EntityKind::Postcode, first: at, end, value });
    if word.is_digits()
        && (4..=6).contains(&word.raw.len())
        && cue_before(words, at, 3, &["postcode", "zip", "zipcode", "code"])
    {
        return found(word.raw.to_owned(), at + 1);
    }
    // In one piece, or in the two that it is written in.
    if let Some(value) = written(word.raw) {
        return found(value, at + 1);
    }
    let next = words.get(at + 1).filter(|next| !word.closes && next.raw.len() == 3);
    if let Some(value) = next.and_then(|next| written(&format!("{}{}", word.raw, next.raw))) {
        return found(value, at + 2);
    }
    spelled(words, at)
}

/// The longest postcode that is spelled from word `at` on.
fn spelled(words: &[Word<'_>], at: usize) -> Option<Found> {
    let (mut joined, mut best, mut place) = (String::new(), None, at);
    while place < at + LONGEST {
        let Some((piece, used)) = piece(words, place) else { break };
        joined.push_str(&piece);
        place += used;
        // Whole words ("see you 2 for tea") are no spelling; mostly letters and digits are.
        let singles = words.get(at..place)?.iter().filter(|word| is_single(&word.lower)).count();
        if 2 * singles > place - at
            && let Some(value) = british(&joined)
        {
            best = Some(Found { kind: EntityKind::Postcode, first: at, end: place, value });
        }
    }
    best
}

/// Whether nobody would write this word unless spelling: a letter, digits, both, or a letter's word of the alphabet.
fn is_single(word: &str) -> bool {
    let short = word.len() == 1 || word.bytes().any(|b| b.is_ascii_digit());
    short || ALPHABET.contains(&word) || below_hundred(word).is_some_and(|number| number < 10)
}

/// What one step of spelling says, and how many words it takes: `b`, `12`, `fr`, `six`, `bravo`, `b for bravo`, `zed`.
fn piece(words: &[Word<'_>], at: usize) -> Option<(String, usize)> {
    let word = words.get(at)?.lower.as_str();
    let initial = |word: &str| word.chars().next();
    if word.len() == 1 && word.bytes().all(|b| b.is_ascii_alphabetic()) {
        let link = words.get(at + 1).is_some_and(|link| matches!(link.lower.as_str(), "for" | "as"));
        let example = words.get(at + 2).filter(|example| example.lower.len() > 2 && link);
        let explained = example.is_some_and(|example| initial(&example.lower) == initial(word));
        return Some((word.to_owned(), if explained { 3 } else { 1 }));
    }
    if ALPHABET.contains(&word) {
        return initial(word).map(|letter| (letter.to_string(), 1));
    }
    if let Some(digit) = below_hundred(word).filter(|number| *number < 10) {
        return Some((digit.to_string(), 1));
    }
    if let Some((_, said)) = HEARD.iter().find(|(heard, _)| *heard == word) {
        return Some((said.to_string(), 1));
    }
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    let longest = if word.bytes().any(|b| b.is_ascii_digit()) { 4 } else { 3 };
    (plain && word.len() <= longest && !NO_SPELLING.contains(&word)).then(|| (word.to_owned(), 1))
}

/// A postcode as it is written.
fn written(joined: &str) -> Option<String> {
    let shape: String = joined.chars().map(kind).collect();
    let outward = shape.strip_suffix(INWARD)?;
    OUTWARD.contains(&outward).then(|| halves(joined))?
}

/// A postcode that was heard: where a digit must stand, `o` is 0 and `v` is 5.
fn british(joined: &str) -> Option<String> {
    let readings = OUTWARD.iter().filter_map(|outward| {
        let wanted = outward.chars().chain(INWARD.chars());
        if joined.chars().count() != outward.len() + INWARD.len() {
            return None;
        }
        let mut mended = 0;
        let read: Option<String> = joined
            .chars()
            .zip(wanted)
            .map(|(c, wanted)| match (kind(c), wanted, c) {
                (have, want, _) if have == want => Some(c),
                ('a', '9', 'o' | 'v') => {
                    mended += 1;
                    Some(if c == 'o' { '0' } else { '5' })
                }
                _ => None,
            })
            .collect();
        read.map(|read| (mended, read))
    });
    let (_, best) = readings.min_by_key(|(mended, _)| *mended)?;
    halves(&best)
}

fn kind(c: char) -> char {
    match c {
        _ if c.is_ascii_digit() => '9',
        _ if c.is_ascii_alphabetic() => 'a',
        _ => '?',
    }
}

fn halves(joined: &str) -> Option<String> {
    let (outward, inward) = joined.split_at_checked(joined.len().checked_sub(INWARD.len())?)?;
    Some(format!("{outward} {inward}").to_uppercase())
}
