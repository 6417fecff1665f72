//! Nets under the encoder: the few phrases whose meaning inside a flow must never be missed or mistaken.

mod phrases;
mod questions;

pub(super) use questions::{asks_generally, asks_impersonally, is_question, requests};

use super::answer::{Word, find_exactly, words};
use phrases::{CANCEL, FILLER, FIXING, GOODBYE, GREETING, INSULT, NO, PERSON, REACH, THANKS, WHY, YES};

fn any(words: &[Word], phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| find_exactly(words, phrase).is_some())
}

/// Whether the text begins with one of the phrases, and where the longest of them ends (in words).
fn begins(words: &[Word], phrases: &[&str]) -> Option<usize> {
    phrases
        .iter()
        .filter_map(|phrase| {
            let length = phrase.split(' ').count();
            let head = words.get(..length)?;
            head.iter().zip(phrase.split(' ')).all(|(have, want)| have.text == want).then_some(length)
        })
        .max()
}

/// A plain yes: nothing in the text but yes and fillers.
pub(super) fn affirms(text: &str) -> bool {
    let words = words(text);
    let words = skip_interjections(&words);
    let Some(length) = begins(words, YES) else { return false };
    let rest = words.get(length..).unwrap_or_default();
    rest.len() <= 12 && !denied(rest) && rest.iter().all(|word| FILLER.contains(&word.text.as_str()))
}

/// A plain no: the text begins with no and adds no value, at most a reason in a few words.
pub(super) fn denies(text: &str) -> bool {
    let words = words(text);
    let words = skip_interjections(&words);
    let Some(length) = begins(words, NO) else { return false };
    let rest = words.get(length..).unwrap_or_default();
    let value = rest.iter().any(|word| word.text.chars().any(|c| c.is_ascii_digit()));
    rest.len() <= 8 && !value
}

/// Whether the text begins with a no, whatever follows.
pub(super) fn begins_with_no(text: &str) -> bool {
    begins(skip_interjections(&words(text)), NO).is_some()
}

fn skip_interjections(words: &[Word]) -> &[Word] {
    let skipped = words
        .iter()
        .take_while(|word| matches!(word.text.as_str(), "oh" | "um" | "uh" | "hmm" | "well" | "ah" | "er" | "so"))
        .count();
    words.get(skipped..).unwrap_or_default()
}

fn denied(words: &[Word]) -> bool {
    words
        .iter()
        .any(|word| matches!(word.text.as_str(), "no" | "not" | "don't" | "dont" | "but" | "except" | "wait" | "never"))
}

/// Whether somebody asks what it is that answers: "am I talking to a real person?", "are you a robot?".
pub(super) fn asks_who_answers(text: &str) -> bool {
    const ASKS: &[&str] = &[
        "am i talking to",
        "am i speaking to",
        "am i speaking with",
        "am i talking with",
        "am i chatting with",
        "am i writing to",
        "are you a",
        "are you an",
        "are you human",
        "are you real",
        "is this a real",
        "is this a bot",
        "is this a robot",
        "is this a human",
        "is this an ai",
    ];
    const WHO: &[&str] =
        &["person", "human", "robot", "bot", "machine", "computer", "ai", "real", "chatbot", "program"];
    let words = words(text);
    any(&words, ASKS) && words.iter().any(|word| WHO.contains(&word.text.as_str())) && words.len() <= 14
}

/// A wish to stop what is going on, and nothing else: "cancel my card" is a wish of its own.
pub(super) fn cancels(text: &str) -> bool {
    let words = words(text);
    let lead = [
        "no", "please", "ok", "okay", "oh", "wait", "actually", "sorry", "hmm", "well", "ah", "hold", "on", "just",
        "can", "we", "you", "i", "want", "to", "i'd", "like", "let's", "and", "so",
    ];
    let skipped = words.iter().take_while(|word| lead.contains(&word.text.as_str())).count();
    let starts = [0, skipped, skipped.saturating_sub(1)];
    starts.iter().any(|start| {
        let rest = words.get(*start..).unwrap_or_default();
        begins(rest, CANCEL).is_some_and(|length| {
            let after = rest.get(length..).unwrap_or_default();
            after.len() <= 6
                && after.iter().all(|word| {
                    matches!(
                        word.text.as_str(),
                        "please"
                            | "then"
                            | "all"
                            | "now"
                            | "thanks"
                            | "thank"
                            | "you"
                            | "the"
                            | "whole"
                            | "thing"
                            | "it"
                            | "that"
                            | "this"
                            | "request"
                            | "here"
                            | "for"
                            | "sorry"
                            | "again"
                            | "anymore"
                            | "i"
                            | "don't"
                            | "want"
                            | "about"
                            | "mind"
                            | "changed"
                            | "my"
                            | "have"
                            | "i've"
                            | "found"
                            | "in"
                            | "pocket"
                            | "bag"
                            | "car"
                            | "home"
                            | "at"
                            | "need"
                            | "loan"
                            | "application"
                            | "after"
                            | "process"
                            | "everything"
                            | "dispute"
                            | "complaint"
                            | "do"
                            | "not"
                    )
                })
        })
    })
}

/// "Why do you ask?" in its many forms.
pub(super) fn asks_why(text: &str) -> bool {
    let words = words(text);
    let alone = matches!(words.as_slice(), [one] if one.text == "why");
    alone || (words.len() <= 14 && any(&words, WHY))
}

/// Whether the text refuses a person.
pub(super) fn refuses_person(text: &str) -> bool {
    any(
        &words(text),
        &[
            "don't want to talk",
            "do not want to talk",
            "dont want to talk",
            "no need for",
            "not a person",
            "without talking",
        ],
    )
}

/// Whether the text holds a negation.
pub(super) fn negates(text: &str) -> bool {
    denied(&words(text))
}

/// A wish to talk to a person.
pub(super) fn wants_person(text: &str) -> bool {
    let words = words(text);
    if refuses_person(text) || asks_who_answers(text) || !any(&words, PERSON) {
        return false;
    }
    let strong = any(
        &words,
        &[
            "human",
            "real person",
            "live person",
            "live agent",
            "representative",
            "customer service",
            "actual person",
            "agent please",
            "human agent",
            "operator",
        ],
    );
    (strong && words.len() <= 12)
        || (words.len() <= 3
            && !words.iter().any(|word| matches!(word.text.as_str(), "someone" | "somebody" | "i'm" | "im")))
        || (any(&words, REACH) && reaches_person(&words))
}

/// Whether a word of reaching stands shortly before a word for a person: "talk to … someone", not "someone … I want".
fn reaches_person(words: &[Word]) -> bool {
    let person = PERSON.iter().filter_map(|phrase| find_exactly(words, phrase)).map(|span| span.start).max();
    let reach = REACH.iter().filter_map(|phrase| find_exactly(words, phrase)).map(|span| span.end).min();
    match (reach, person) {
        (Some(reach), Some(person)) => reach <= person && person - reach <= 24,
        _ => false,
    }
}

/// Abuse.
pub(super) fn insults(text: &str) -> bool {
    any(&words(text), INSULT)
}

/// Words that announce a correction.
pub(super) fn corrects(text: &str) -> bool {
    let words = words(text);
    let words = skip_interjections(&words);
    begins(words, &["no", "nope"]).is_some_and(|length| words.len() > length) || any(words, FIXING)
}

/// Whether a clause speaks of something named before it: "is it lost?", "I would pay it back over three years".
pub(super) fn refers_back(text: &str) -> bool {
    let words = words(text);
    words.len() <= 9 && words.iter().any(|word| matches!(word.text.as_str(), "it" | "it's" | "them"))
}

/// A short correction that begins as one, while one's own words are asked for: "wait, the street is wrong".
pub(super) fn puts_right(text: &str) -> bool {
    let words = words(text);
    let words = skip_interjections(&words);
    words.len() <= 10
        && begins(words, &["no", "sorry", "wait", "actually", "oops", "i meant", "i mean", "correction", "hold on"])
            .is_some_and(|length| words.len() > length)
}

/// A wish to have something undone that was done.
pub(super) fn undoes(text: &str) -> bool {
    any(
        &words(text),
        &[
            "undo",
            "reverse that",
            "reverse it",
            "take it back",
            "take that back",
            "unblock",
            "withdraw",
            "revert",
            "roll back",
        ],
    )
}

/// Whether the text announces a side question: "by the way".
pub(super) fn digresses(text: &str) -> bool {
    any(
        &words(text),
        &[
            "by the way",
            "btw",
            "quick question",
            "another question",
            "one more question",
            "different question",
            "side note",
            "before that",
            "before i answer",
        ],
    )
}

/// A greeting and nothing else.
pub(super) fn greets(text: &str) -> bool {
    let words = words(text);
    words.len() <= 4 && begins(&words, GREETING).is_some()
}

/// Thanks and nothing else.
pub(super) fn thanks(text: &str) -> bool {
    let words = words(text);
    words.len() <= 7 && any(&words, THANKS) && !is_question(text)
}

/// An end of the conversation.
pub(super) fn says_goodbye(text: &str) -> bool {
    let words = words(text);
    words.len() <= 9 && any(&words, GOODBYE) && !is_question(text)
}

/// Whether the customer means all of several records: "both", "all my cards".
pub(super) fn means_all(text: &str) -> bool {
    let words = words(text);
    any(&words, &["both", "all of them", "all my cards", "every card", "all cards", "all the cards"])
}

/// Whether the customer means the one that is not chosen: "the other card".
pub(super) fn means_other(text: &str) -> bool {
    any(
        &words(text),
        &[
            "other one",
            "other card",
            "the other",
            "different one",
            "different card",
            "not that one",
            "not that card",
            "not this one",
            "wrong card",
            "wrong one",
            "another one",
            "another card",
            "wrong payment",
            "wrong charge",
            "other payment",
            "other charge",
            "wrong account",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_what_answers_is_told_and_not_passed_on() {
        for text in ["Am I talking to a real person or a robot?", "are you human", "are you a bot?"] {
            assert!(asks_who_answers(text) && !wants_person(text), "{text}");
        }
        for text in ["I want to talk to a real person", "are you a bank", "human please"] {
            assert!(!asks_who_answers(text), "{text}");
        }
    }

    #[test]
    fn a_yes_with_a_but_is_no_yes() {
        for yes in [
            "yes",
            "Yes please",
            "yeah go ahead",
            "ok do it",
            "that's right",
            "sure, thank you",
            "Yes, block it please",
            "please do",
        ] {
            assert!(affirms(yes), "{yes}");
        }
        for other in [
            "yes but the other card",
            "yes, 500",
            "no",
            "ok wait",
            "yes and what's my balance",
            "right now I live in Bonn",
            "not yes",
        ] {
            assert!(!affirms(other), "{other}");
        }
    }

    #[test]
    fn a_no_with_a_value_is_no_plain_no() {
        for no in ["no", "No thanks", "nope, I don't need one", "don't"] {
            assert!(denies(no), "{no}");
        }
        assert!(!denies("no, 500 not 50"));
        assert!(!denies("yes"));
        assert!(!denies("nothing works since 2 days"));
    }

    #[test]
    fn cancelling_the_talk_is_not_cancelling_a_card() {
        for cancel in [
            "never mind",
            "cancel",
            "forget it please",
            "stop",
            "I changed my mind",
            "oh wait I found my card",
            "actually cancel that",
            "please cancel the whole thing",
        ] {
            assert!(cancels(cancel), "{cancel}");
        }
        for other in [
            "cancel my card",
            "stop the payment to Spotify",
            "I want to cancel my subscription",
            "I cancelled it last week",
        ] {
            assert!(!cancels(other), "{other}");
        }
    }

    #[test]
    fn a_person_is_asked_for() {
        for person in [
            "human",
            "talk to a human",
            "Can I speak to someone please?",
            "I want to talk to a real person",
            "agent",
            "get me a representative",
            "put me through to an advisor",
            "I need a person",
        ] {
            assert!(wants_person(person), "{person}");
        }
        for other in [
            "I sent money to the wrong person",
            "someone stole my card",
            "someone used my card, I want it blocked",
            "I don't want to talk to a human",
            "I'm an employee",
        ] {
            assert!(!wants_person(other), "{other}");
        }
    }

    #[test]
    fn questions_and_reasons() {
        assert!(asks_why("Why do you need my postcode?"));
        assert!(asks_why("why?"));
        assert!(!asks_why("why was I charged twice by the shop last week?"));
        assert!(is_question("by the way, what are your opening hours"));
        assert!(!is_question("my card was stolen"));
        assert!(asks_generally("And how long does a replacement card take?"));
        assert!(asks_generally("How do I dispute a charge?"));
        assert!(!asks_generally("how do I block my card?"));
        assert!(!asks_generally("what is the status of the transfer I sent yesterday?"));
        assert!(!asks_generally("can I get a loan?"));
    }
}
