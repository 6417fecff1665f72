//! The words of a text beside its values: what it asserts, denies, claims to be done and restricts.

use std::collections::BTreeSet;

use super::super::places::{Piece, pieces};

/// A word with what the check needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// In small letters.
    pub(super) text: String,
    /// Without endings: `blocked`, `blocks` and `blocking` are one.
    pub(super) root: String,
    /// Whether something before it in its clause denies it.
    pub(super) denied: bool,
    /// Whether it says that something has been done: `has been blocked`, `is closed`.
    pub(super) done: bool,
    /// Whether its sentence is a question.
    pub(super) asked: bool,
}

/// Words that deny what follows them.
const DENIALS: [&str; 13] = [
    "not", "no", "never", "nobody", "nothing", "none", "without", "cannot", "neither", "nor", "unable", "hardly", "n't",
];
/// Words that make what follows possible, wished or due, and so not done.
const MODALS: [&str; 13] =
    ["can", "could", "may", "might", "shall", "should", "will", "would", "must", "to", "if", "be", "being"];
const AUXILIARIES: [&str; 14] =
    ["have", "has", "had", "been", "is", "are", "was", "were", "am", "got", "'ve", "'s", "'re", "'m"];
/// How many words of substance a denial reaches.
const REACH: usize = 3;

/// Whether a word denies what follows it.
pub(super) fn is_denial(word: &str) -> bool {
    DENIALS.contains(&word) || word.ends_with("n't")
}

/// Whether a word only denies: that something is denied which should not be is found by what it denies.
pub(super) fn only_denies(word: &str) -> bool {
    matches!(word, "not" | "no" | "none" | "nobody" | "nothing" | "cannot")
}

/// The words of a text, values left out.
pub(super) fn words(text: &str) -> Vec<Word> {
    // A value is one opaque word: it separates nothing and says nothing.
    let bare: String = pieces(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Words(words) => words.replace(['’', '`', '´'], "'"),
            Piece::Value(..) => "_".to_owned(),
        })
        .collect();
    sentences(&bare).into_iter().flat_map(|sentence| of_sentence(&sentence)).collect()
}

/// Sentences with the mark that ends them.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut current = String::new();
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        current.push(c);
        let ends = c == '\n' || ".?!".contains(c) && letters.peek().is_none_or(|next| next.is_whitespace());
        if ends {
            sentences.push(std::mem::take(&mut current).trim().to_owned());
        }
    }
    sentences.push(current.trim().to_owned());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn of_sentence(sentence: &str) -> Vec<Word> {
    let asked = sentence.ends_with('?');
    let mut found: Vec<Word> = Vec::new();
    for clause in sentence.split([',', ';', ':', '(', ')', '.']) {
        let texts: Vec<String> = clause
            .split_whitespace()
            .map(|word| word.trim_matches(|c: char| !(c.is_alphanumeric() || c == '_')).to_lowercase())
            .flat_map(|word| parted(&word))
            .filter(|word| !word.is_empty() && word != "_")
            .collect();
        let mut reach = 0;
        for (at, text) in texts.iter().enumerate() {
            let denied = reach > 0;
            if is_denial(text) {
                reach = REACH;
            } else if matches!(text.as_str(), "but" | "if" | "so" | "because") {
                reach = 0;
            } else if !is_plain(text) {
                reach = reach.saturating_sub(1);
            }
            let before = texts.get(at.saturating_sub(4)..at).unwrap_or_default();
            let helped = before.iter().rposition(|word| AUXILIARIES.contains(&word.as_str()));
            let modal = before.iter().any(|word| MODALS.contains(&word.as_str()));
            found.push(Word {
                text: text.clone(),
                root: root(text),
                denied,
                done: is_participle(text) && helped.is_some() && !modal,
                asked,
            });
        }
    }
    found
}

/// `you'll` is two words, `can't` two as well.
fn parted(word: &str) -> Vec<String> {
    if let Some(stem) = word.strip_suffix("n't") {
        let stem = if stem == "ca" {
            "can"
        } else if stem == "wo" {
            "will"
        } else {
            stem
        };
        return vec![stem.to_owned(), "not".to_owned()];
    }
    if word == "cannot" {
        return vec!["can".to_owned(), "not".to_owned()];
    }
    match word.split_once('\'') {
        Some((stem, "ll")) => vec![stem.to_owned(), "will".to_owned()],
        Some((stem, end @ ("ve" | "re" | "m"))) => vec![stem.to_owned(), format!("'{end}")],
        Some((stem, "d")) => vec![stem.to_owned(), "would".to_owned()],
        Some((stem, "s")) => vec![stem.to_owned()],
        _ => vec![word.to_owned()],
    }
}

/// Forms that no ending explains.
const IRREGULAR: [(&str, &str); 44] = [
    ("sent", "send"),
    ("lost", "lose"),
    ("stolen", "steal"),
    ("stole", "steal"),
    ("done", "do"),
    ("made", "make"),
    ("paid", "pay"),
    ("found", "find"),
    ("given", "give"),
    ("gave", "give"),
    ("told", "tell"),
    ("written", "write"),
    ("wrote", "write"),
    ("chosen", "choose"),
    ("chose", "choose"),
    ("taken", "take"),
    ("took", "take"),
    ("gone", "go"),
    ("went", "go"),
    ("bought", "buy"),
    ("seen", "see"),
    ("saw", "see"),
    ("said", "say"),
    ("known", "know"),
    ("knew", "know"),
    ("begun", "begin"),
    ("began", "begin"),
    ("brought", "bring"),
    ("kept", "keep"),
    ("held", "hold"),
    ("left", "leave"),
    ("met", "meet"),
    ("understood", "understand"),
    ("thought", "think"),
    ("withdrawn", "withdraw"),
    ("frozen", "freeze"),
    ("born", "bear"),
    ("came", "come"),
    ("spent", "spend"),
    ("sold", "sell"),
    ("lent", "lend"),
    ("shown", "show"),
    ("people", "person"),
    ("persons", "person"),
];

/// Past participles without an ending of their own that say something was done.
fn is_participle(word: &str) -> bool {
    word.len() >= 5 && word.ends_with("ed") && !matches!(word, "need" | "indeed" | "speed" | "exceed" | "proceed")
        || IRREGULAR.iter().any(|(form, _)| *form == word)
        || matches!(word, "put" | "set" | "open" | "closed" | "free")
}

/// A word without its endings.
pub(super) fn root(word: &str) -> String {
    if let Some((_, root)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*root).to_owned();
    }
    let mut stem = word.to_owned();
    for (ending, rest) in [("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")] {
        if let Some(short) = word.strip_suffix(ending)
            && short.chars().count() >= 3
            && !word.ends_with("ss")
        {
            stem = format!("{short}{rest}");
            break;
        }
    }
    // "stopped" and "stop", "change" and "changing".
    let mut letters: Vec<char> = stem.chars().collect();
    if let [.., a, b] = letters.as_slice()
        && a == b
        && letters.len() > 3
        && !"aeiouls".contains(*b)
    {
        letters.pop();
    }
    if letters.last() == Some(&'e') && letters.len() > 3 {
        letters.pop();
    }
    letters.into_iter().collect()
}

/// Whether a word states nothing by itself.
pub(super) fn is_plain(word: &str) -> bool {
    plain().contains(word)
}

fn plain() -> &'static BTreeSet<&'static str> {
    static PLAIN: std::sync::OnceLock<BTreeSet<&'static str>> = std::sync::OnceLock::new();
    PLAIN.get_or_init(|| {
        let lines = include_str!("../plain.txt").lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_whitespace).chain(["'ve", "'re", "'m"]).collect()
    })
}

/// Sentences that may be put before what is said.
pub(super) fn is_courtesy(sentence: &str) -> bool {
    include_str!("../courtesies.txt").lines().any(|line| line == sentence)
}

/// Restrictions: one that is left out makes a promise wider, one that is added makes it narrower.
pub(super) const RESTRICTIONS: [&str; 20] = [
    "only",
    "except",
    "unless",
    "until",
    "within",
    "if",
    "usually",
    "outside",
    "at most",
    "at least",
    "at the latest",
    "up to",
    "more than",
    "less than",
    "per",
    "every",
    "before",
    "after",
    "during",
    "without",
];

/// Whether a text holds a restriction, as whole words.
pub(super) fn holds(text: &str, phrase: &str) -> bool {
    let spaced: String =
        text.chars().map(|c| if c.is_alphanumeric() || c == '\'' { c.to_ascii_lowercase() } else { ' ' }).collect();
    let spaced = format!(" {} ", spaced.split_whitespace().collect::<Vec<_>>().join(" "));
    spaced.contains(&format!(" {phrase} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_root() {
        for (a, b) in [
            ("blocked", "block"),
            ("changing", "change"),
            ("replies", "reply"),
            ("stopped", "stop"),
            ("sent", "send"),
            ("cards", "card"),
            ("addresses", "address"),
            ("approved", "approve"),
        ] {
            assert_eq!(root(a), root(b), "{a} {b}");
        }
        assert_ne!(root("charge"), root("change"));
    }

    #[test]
    fn what_is_denied_and_what_is_done_is_seen() {
        let of = |text: &str, word: &str| words(text).into_iter().find(|one| one.text == word).unwrap();
        assert!(of("This can not be undone.", "undone").denied);
        assert!(!of("This can be undone.", "undone").denied);
        assert!(of("You don't have to pay.", "pay").denied);
        assert!(!of("It was not sent, you pay now.", "pay").denied);
        assert!(of("Your card has been blocked.", "blocked").done);
        assert!(of("I have already ordered it.", "ordered").done);
        assert!(!of("Your card can be blocked.", "blocked").done);
        assert!(!of("It should be blocked.", "blocked").done);
        assert!(of("Shall I do it?", "shall").asked);
    }
}
