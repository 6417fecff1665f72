//! The check of what a model said: every number, name, date, product and promise must come from what it was given.
//!
//! The rules are strict and know nothing of the model. A reply that says the right thing in words that the check does not
//! know is refused as well; the flow's own wording is then said, which costs nothing but variety.

mod values;
mod wording;

use std::collections::BTreeSet;

use serde::Serialize;

use self::values::{Stated, stated};
use self::wording::{RESTRICTIONS, Word, holds, is_courtesy, is_denial, is_plain, only_denies, sentences, words};
use super::places::Kind;

/// What a reply is made from.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// The flow's own wording, or the passage: what must be said.
    pub words: &'a str,
    /// More that may be said: titles, labels, the bank's name.
    pub also: &'a [&'a str],
}

/// Why a reply is not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", content = "found", rename_all = "snake_case")]
pub enum Fault {
    /// Nothing was said.
    #[error("it is empty")]
    Empty,
    /// A value from nowhere.
    #[error("'{0}' comes from nowhere")]
    Value(String),
    /// A value that had to be said and was not.
    #[error("'{0}' was left out")]
    LeftOut(String),
    /// Values of one kind in another order: they may belong to other things now.
    #[error("values were exchanged at '{0}'")]
    Exchanged(String),
    /// A word that states something and stands in no source.
    #[error("the word '{0}' comes from nowhere")]
    Word(String),
    /// Something is denied that was not, or the other way round.
    #[error("'{0}' was turned into its opposite")]
    Denial(String),
    /// Something is said to be done that is not.
    #[error("'{0}' is said to be done")]
    Claim(String),
    /// A restriction was left out or added.
    #[error("the restriction '{0}' was left out or added")]
    Restriction(String),
    /// A question was lost or made up.
    #[error("a question was lost or made up")]
    Question,
    /// Too little of what had to be said.
    #[error("too little is said of what had to be said")]
    TooLittle,
    /// Longer than its source allows, or saying something twice.
    #[error("it is too long or repeats itself")]
    TooMuch,
}

impl Fault {
    /// The fault's name in figures.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Value(_) => "value",
            Self::LeftOut(_) => "left_out",
            Self::Exchanged(_) => "exchanged",
            Self::Word(_) => "word",
            Self::Denial(_) => "denial",
            Self::Claim(_) => "claim",
            Self::Restriction(_) => "restriction",
            Self::Question => "question",
            Self::TooLittle => "too_little",
            Self::TooMuch => "too_much",
        }
    }
}

/// Whether a reply may be said.
///
/// # Errors
/// The first [`Fault`].
pub fn check(reply: &str, grounds: &Grounds<'_>) -> Result<(), Fault> {
    let reply = reply.trim();
    if reply.is_empty() {
        return Err(Fault::Empty);
    }
    // The flow's own wording is always right.
    if reply == grounds.words.trim() {
        return Ok(());
    }
    let said = without_courtesy(reply, grounds.words);
    check_length(&said, grounds.words)?;
    check_values(&said, grounds)?;
    check_wording(&said, grounds)?;
    check_restrictions(&said, grounds.words)
}

/// Whether a line of a summary states only what its sources do.
///
/// # Errors
/// The first [`Fault`].
pub fn supported(line: &str, sources: &[String]) -> Result<(), Fault> {
    let given: Vec<Stated> = sources.iter().flat_map(|text| stated(text)).collect();
    for one in stated(line) {
        let in_full = one.kind == Kind::Name && sources.iter().any(|text| holds(text, &spaced(&one.shown)));
        if !in_full && !given.iter().any(|other| one.is_held_by(other)) {
            return Err(Fault::Value(one.shown));
        }
    }
    let own: Vec<Word> = sources.iter().flat_map(|text| words(text)).collect();
    for word in words(line).into_iter().filter(|word| !is_plain(&word.text)) {
        if !own.iter().any(|one| one.root == word.root)
            && !only_denies(&word.text)
            && word.text.chars().any(char::is_alphabetic)
        {
            return Err(Fault::Word(word.text));
        }
        if word.done && !own.iter().any(|one| one.text == word.text && one.done) {
            return Err(Fault::Claim(word.text));
        }
        if !is_denial(&word.text) && !own.iter().any(|one| one.root == word.root && one.denied == word.denied) {
            return Err(Fault::Denial(word.text));
        }
    }
    Ok(())
}

/// What is said without the courtesies before it.
fn without_courtesy(reply: &str, words: &str) -> String {
    let mut rest = reply;
    while let Some(first) = sentences(rest).into_iter().next() {
        if !is_courtesy(&first) || words.contains(&first) {
            break;
        }
        rest = rest.strip_prefix(first.as_str()).unwrap_or_default().trim_start();
    }
    rest.to_owned()
}

fn check_length(said: &str, words: &str) -> Result<(), Fault> {
    let count = |text: &str| text.split_whitespace().count();
    if count(said) > count(words) + count(words) / 2 + 8 {
        return Err(Fault::TooMuch);
    }
    let own = sentences(words);
    let mut seen = BTreeSet::new();
    let twice = sentences(said).into_iter().find(|sentence| {
        count(sentence) > 2
            && !seen.insert(sentence.to_lowercase())
            && own.iter().filter(|one| *one == sentence).count() < 2
    });
    twice.map_or(Ok(()), |_| Err(Fault::TooMuch))
}

fn check_values(said: &str, grounds: &Grounds<'_>) -> Result<(), Fault> {
    let (mine, owed) = (stated(said), stated(grounds.words));
    let also: Vec<Stated> = grounds.also.iter().flat_map(|text| stated(text)).collect();
    let in_full = |one: &Stated| {
        one.kind == Kind::Name
            && std::iter::once(&grounds.words).chain(grounds.also).any(|text| holds(text, &spaced(&one.shown)))
    };
    for one in &mine {
        if !owed.iter().chain(&also).any(|other| one.is_held_by(other)) && !in_full(one) {
            return Err(Fault::Value(one.shown.clone()));
        }
    }
    let said_in_full = |one: &Stated| one.kind == Kind::Name && holds(said, &spaced(&one.shown));
    for one in &owed {
        let kept = mine.iter().any(|other| other.is_held_by(one) || one.is_held_by(other)) || said_in_full(one);
        if !kept {
            return Err(Fault::LeftOut(one.shown.clone()));
        }
    }
    // Amounts stay with their payments: values of one kind keep their order.
    for kind in Kind::ALL {
        let mut from = 0;
        let own: Vec<&Stated> = first_of_each(&owed, kind);
        for one in first_of_each(&mine, kind) {
            if !own.iter().any(|other| one.is_held_by(other)) {
                continue;
            }
            match own.iter().skip(from).position(|other| one.is_held_by(other)) {
                Some(ahead) => from += ahead + 1,
                None => return Err(Fault::Exchanged(one.shown.clone())),
            }
        }
    }
    // In a list every line keeps its values.
    if grounds.words.contains('\n') {
        let order = |stated: &[Stated]| -> Vec<String> { stated.iter().map(|one| one.shown.clone()).collect() };
        if order(&mine) != order(&owed) {
            let other = mine.iter().zip(&owed).find(|(mine, owed)| mine.shown != owed.shown);
            return Err(Fault::Exchanged(other.map(|(mine, _)| mine.shown.clone()).unwrap_or_default()));
        }
    }
    Ok(())
}

fn spaced(name: &str) -> String {
    let lower: String =
        name.to_lowercase().chars().map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' }).collect();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_of_each(stated: &[Stated], kind: Kind) -> Vec<&Stated> {
    let mut firsts: Vec<&Stated> = Vec::new();
    for one in stated.iter().filter(|one| one.kind == kind) {
        if !firsts.contains(&one) {
            firsts.push(one);
        }
    }
    firsts
}

fn check_wording(said: &str, grounds: &Grounds<'_>) -> Result<(), Fault> {
    let (mine, own) = (words(said), words(grounds.words));
    let also: Vec<Word> = grounds.also.iter().flat_map(|text| words(text)).collect();
    let roots: BTreeSet<&str> = own.iter().chain(&also).map(|word| word.root.as_str()).collect();
    let may = own.iter().any(|word| matches!(word.text.as_str(), "can" | "could" | "may" | "might" | "would" | "able"));
    for word in &mine {
        let known = roots.contains(word.root.as_str()) || is_plain(&word.text) || only_denies(&word.text);
        // Digits are values and were checked as such.
        if !known && word.text.chars().any(char::is_alphabetic) {
            return Err(Fault::Word(word.text.clone()));
        }
        let offers = matches!(word.text.as_str(), "can" | "could" | "may" | "might" | "able");
        if offers && !word.asked && !may {
            return Err(Fault::Word(word.text.clone()));
        }
        let states = !is_plain(&word.text);
        if states && word.done && !own.iter().any(|one| one.text == word.text && one.done) {
            return Err(Fault::Claim(word.text.clone()));
        }
        let same = |denied: bool| own.iter().any(|one| one.root == word.root && one.denied == denied);
        if states && !is_denial(&word.text) && !same(word.denied) && same(!word.denied) {
            return Err(Fault::Denial(word.text.clone()));
        }
    }
    let denial = |words: &[Word]| words.iter().find(|word| is_denial(&word.text)).map(|word| word.text.clone());
    match (denial(&own), denial(&mine)) {
        (Some(lost), None) => return Err(Fault::Denial(lost)),
        (None, Some(made_up)) => return Err(Fault::Denial(made_up)),
        _ => {}
    }
    if said.contains('?') != grounds.words.contains('?') {
        return Err(Fault::Question);
    }
    let owed: BTreeSet<&str> = own.iter().filter(|word| !is_plain(&word.text)).map(|word| word.root.as_str()).collect();
    let kept = owed.iter().filter(|root| mine.iter().any(|word| word.root == **root)).count();
    if kept * 5 < owed.len() * 3 {
        return Err(Fault::TooLittle);
    }
    Ok(())
}

fn check_restrictions(said: &str, words: &str) -> Result<(), Fault> {
    let other = RESTRICTIONS.iter().find(|phrase| holds(words, phrase) != holds(said, phrase));
    other.map_or(Ok(()), |phrase| Err(Fault::Restriction((*phrase).to_owned())))
}

#[cfg(test)]
mod tests;
