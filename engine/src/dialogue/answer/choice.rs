//! One of several: by its words, or by its place in the list ("the second one").

use super::Found;
use super::words::{Word, find_phrase};
use crate::dialogue::flow::SlotChoice;

/// The only choice whose words occur. Of two that overlap, the longer phrase counts ("self employed" over "employed");
/// of two apart, the longer one where the customer was asked for it, neither where it was overheard.
pub(in crate::dialogue) fn one_of(words: &[Word], choices: &[SlotChoice], asked: bool) -> Option<Found> {
    let mut best: Option<Found> = None;
    let mut tie = false;
    for choice in choices {
        let longest = choice
            .words
            .iter()
            .chain([&choice.label])
            .filter_map(|phrase| find_phrase(words, phrase))
            .max_by_key(|span| span.len());
        let Some(span) = longest else { continue };
        let Some(before) = &best else {
            best = Some(Found::new(choice.value.clone(), choice.label.clone(), span));
            continue;
        };
        let apart = before.span.end <= span.start || span.end <= before.span.start;
        if before.span.len() == span.len() || (apart && !asked) {
            tie = true;
        } else if before.span.len() < span.len() {
            tie = false;
            best = Some(Found::new(choice.value.clone(), choice.label.clone(), span));
        }
    }
    best.filter(|_| !tie)
}

/// The place in a list that a text names, from 0: "the second one", "number 3", "the last one".
pub(in crate::dialogue) fn ordinal(words: &[Word], length: usize) -> Option<usize> {
    const NAMES: [&[&str]; 6] = [
        &["first", "1st"],
        &["second", "2nd"],
        &["third", "3rd"],
        &["fourth", "4th"],
        &["fifth", "5th"],
        &["sixth", "6th"],
    ];
    let named = |word: &Word| NAMES.iter().position(|names| names.contains(&word.text.as_str()));
    let by_number = |at: usize, word: &Word| {
        let number: usize = word.text.parse().ok()?;
        let announced = at > 0
            && words.get(at - 1).is_some_and(|before| matches!(before.text.as_str(), "number" | "option" | "no"));
        (announced || words.len() == 1).then_some(number.checked_sub(1)?)
    };
    let place = words.iter().enumerate().find_map(|(at, word)| {
        if matches!(word.text.as_str(), "last" | "bottom") && words.len() <= 5 {
            return length.checked_sub(1);
        }
        if word.text == "top" && words.len() <= 5 {
            return Some(0);
        }
        named(word).or_else(|| by_number(at, word))
    })?;
    (place < length).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn choice(value: &str, phrases: &[&str]) -> SlotChoice {
        SlotChoice {
            value: value.into(),
            label: value.to_uppercase(),
            words: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
        }
    }

    #[test]
    fn the_longer_phrase_counts_and_a_tie_does_not() {
        let choices = [choice("employed", &["employed"]), choice("self", &["self employed"])];
        let read = |text: &str| one_of(&words(text), &choices, true).map(|found| found.value);
        assert_eq!(read("I'm self employed"), Some("self".into()));
        assert_eq!(read("employed, full time"), Some("employed".into()));
        assert_eq!(read("neither"), None);
        let both = [choice("a", &["lost"]), choice("b", &["used"])];
        assert_eq!(one_of(&words("lost and used"), &both, true), None);
    }

    #[test]
    fn places_in_a_list() {
        let place = |text: &str| ordinal(&words(text), 3);
        assert_eq!(place("the second one"), Some(1));
        assert_eq!(place("number 3"), Some(2));
        assert_eq!(place("2"), Some(1));
        assert_eq!(place("the last one please"), Some(2));
        assert_eq!(place("fifth"), None);
        assert_eq!(place("I paid 2 times"), None);
    }
}
