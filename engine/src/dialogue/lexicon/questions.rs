//! Questions: whether a text is one, and whether it is about the customer's own matters.

use super::super::answer::{Word, words};
use super::phrases::QUESTION;
use super::{any, begins};

/// Whether the text has the form of a question.
pub(in crate::dialogue) fn is_question(text: &str) -> bool {
    let words = words(text);
    let lead = [
        "by",
        "the",
        "way",
        "btw",
        "and",
        "also",
        "quick",
        "question",
        "one",
        "more",
        "thing",
        "ok",
        "okay",
        "but",
        "wait",
        "sorry",
        "before",
        "that",
        "hi",
        "hello",
        "please",
        "tell",
        "me",
        "oh",
        "so",
        "just",
        "wondering",
    ];
    let skipped = words.iter().take_while(|word| lead.contains(&word.text.as_str())).count();
    text.trim_end().ends_with('?')
        || [0, skipped].iter().any(|at| words.get(*at).is_some_and(|word| QUESTION.contains(&word.text.as_str())))
}

/// Whether the text asks how things are in general ("how long does a transfer take?"), not about the customer's own.
pub(in crate::dialogue) fn asks_generally(text: &str) -> bool {
    const GENERAL: &[&str] = &[
        "how long does",
        "how long do",
        "how long will",
        "how long is",
        "how long until",
        "how long before",
        "how soon",
        "how much does",
        "how much do",
        "how much is",
        "how much are",
        "how high is",
        "how do i",
        "how can i",
        "how does",
        "how do you",
        "what does",
        "what do i need",
        "what do you charge",
        "what happens",
        "what is the",
        "what is a",
        "what is an",
        "what are the",
        "what are your",
        "what's the",
        "whats the",
        "is there a",
        "is there any",
        "are there any",
        "do you have",
        "do you offer",
        "do you charge",
        "when do you",
        "when are you",
        "which documents",
        "what documents",
        "what should i do",
    ];
    let words = words(text);
    let own = is_own(&words) || words.iter().any(|word| ["lost", "stolen", "status"].contains(&word.text.as_str()));
    let after_lead = words.iter().position(|word| QUESTION.contains(&word.text.as_str())).unwrap_or(0);
    !own && begins(words.get(after_lead..).unwrap_or_default(), GENERAL).is_some()
}

/// Whether the text is a question that speaks of nothing of the customer's own ("why would a payment be declined").
pub(in crate::dialogue) fn asks_impersonally(text: &str) -> bool {
    // Asked like this, one's own card or transfer is meant.
    const OF_ONE: &[&str] =
        &["where is", "where's", "when will", "when does", "when is", "has the", "is the", "status"];
    let words = words(text);
    is_question(text) && !is_own(&words) && !requests(text) && !any(&words, OF_ONE)
}

/// Whether the words speak of something of the customer's own: a record, or what happened.
fn is_own(words: &[Word]) -> bool {
    const OWN: &[&str] =
        &["my", "mine", "i've", "i'm", "yesterday", "today", "sent", "made", "please", "it's", "ordered"];
    words
        .iter()
        .any(|word| OWN.contains(&word.text.as_str()) || word.text.contains(|c: char| c.is_ascii_digit() || c == '@'))
}

/// Whether the text begins as a request: "I want", "can you", "please".
pub(in crate::dialogue) fn requests(text: &str) -> bool {
    const REQUEST: &[&str] = &[
        "i want",
        "i need",
        "i'd like",
        "i would like",
        "can you",
        "could you",
        "please",
        "help me",
        "can i",
        "i have to",
        "let me",
    ];
    let words = words(text);
    (0..3).any(|skip| words.get(skip..).is_some_and(|rest| begins(rest, REQUEST).is_some()))
}
