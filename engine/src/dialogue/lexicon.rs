//! Nets under the encoder: the few phrases whose meaning inside a flow must never be missed or mistaken.

use super::answer::{Word, find_exactly, words};

const YES: &[&str] = &[
    "yes",
    "yeah",
    "yep",
    "yup",
    "yess",
    "yes please",
    "ya",
    "ok",
    "okay",
    "sure",
    "correct",
    "right",
    "exactly",
    "confirm",
    "confirmed",
    "i confirm",
    "go ahead",
    "go on",
    "please do",
    "do it",
    "do that",
    "of course",
    "absolutely",
    "definitely",
    "that's right",
    "thats right",
    "that is right",
    "that's correct",
    "thats correct",
    "that is correct",
    "sounds good",
    "looks good",
    "all good",
    "fine",
    "perfect",
    "proceed",
    "agreed",
    "affirmative",
    "y",
    "send it",
    "submit it",
    "block it",
    "please",
    "i do",
    "it is",
    "i would",
    "all correct",
    "good",
    "great",
];

const NO: &[&str] = &[
    "no",
    "nope",
    "nah",
    "no thanks",
    "no thank you",
    "not now",
    "don't",
    "dont",
    "do not",
    "not really",
    "negative",
    "n",
    "no need",
    "not needed",
    "i don't",
    "i do not",
    "i dont",
    "rather not",
    "wrong",
    "incorrect",
    "not correct",
    "not right",
    "that's wrong",
    "thats wrong",
    "neither",
];

const CANCEL: &[&str] = &[
    "never mind",
    "nevermind",
    "forget it",
    "forget about it",
    "forget that",
    "cancel",
    "cancel that",
    "cancel this",
    "cancel it",
    "cancel everything",
    "stop",
    "stop it",
    "stop that",
    "stop this",
    "stop this process",
    "stop the current process",
    "end this process",
    "end the current process",
    "abort",
    "quit",
    "leave it",
    "i changed my mind",
    "changed my mind",
    "i've changed my mind",
    "no longer needed",
    "don't bother",
    "scrap that",
    "drop it",
    "not anymore",
    "let's stop",
    "cancel the request",
    "cancel my request",
    "cancel the application",
    "don't do it",
    "dont do it",
    "do not do it",
    "don't do that",
    "don't send it",
    "do not send it",
    "don't block it",
    "do not block it",
    "dont block it",
    "don't submit it",
    "do not submit it",
    "i don't want to anymore",
    "i don't want this anymore",
    "found it",
    "i found it",
    "i found my card",
    "found my card",
];

const WHY: &[&str] = &[
    "why do you ask",
    "why do you need",
    "why are you asking",
    "why you need",
    "why you ask",
    "what do you need that for",
    "what do you need it for",
    "what do you need this for",
    "what is that for",
    "what's that for",
    "what for",
    "why is that needed",
    "why is this needed",
    "why is that necessary",
    "why is this necessary",
    "why should i tell",
    "why should i give",
    "why do i have to",
    "why do you want",
    "why would you need",
    "is that necessary",
    "is this necessary",
    "do you really need",
    "why does that matter",
    "why does it matter",
    "how is that relevant",
    "why that",
    "how come you need",
    "what does that have to do",
];

const PERSON: &[&str] = &[
    "human",
    "person",
    "agent",
    "representative",
    "rep",
    "advisor",
    "adviser",
    "operator",
    "somebody",
    "someone",
    "people",
    "colleague",
    "staff",
    "employee",
    "manager",
    "supervisor",
    "customer service",
    "real person",
    "consultant",
    "associate",
];

const REACH: &[&str] = &[
    "talk to",
    "speak to",
    "speak with",
    "talk with",
    "chat with",
    "connect me",
    "transfer me",
    "put me through",
    "pass me",
    "get me",
    "give me",
    "i want",
    "i need",
    "i'd like",
    "i would like",
    "let me",
    "can i have",
    "switch me",
    "want to talk",
    "want to speak",
    "contact",
];

const INSULT: &[&str] = &[
    "idiot",
    "idiots",
    "stupid",
    "useless",
    "moron",
    "dumb",
    "fuck",
    "fucking",
    "fucked",
    "shit",
    "bullshit",
    "crap",
    "asshole",
    "bastard",
    "bitch",
    "damn you",
    "screw you",
    "piece of garbage",
    "shut up",
    "you suck",
    "hate you",
    "wtf",
    "worthless",
    "incompetent",
    "pathetic",
];

const FIXING: &[&str] = &[
    "actually",
    "sorry",
    "i meant",
    "i mean",
    "wait",
    "correction",
    "not that",
    "the other",
    "instead",
    "change",
    "rather",
    "oops",
    "my mistake",
    "wrong",
    "should be",
    "make it",
    "make that",
    "mistyped",
    "typo",
    "scratch that",
    "on second thought",
    "let me correct",
    "that's not",
    "that is not",
    "thats not",
    "it's not",
    "it is not",
    "i said",
    "update the",
    "correct the",
    "hold on",
];

const QUESTION: &[&str] = &[
    "what", "what's", "whats", "when", "where", "which", "who", "how", "why", "can", "could", "is", "are", "do",
    "does", "will", "would", "am", "should", "may",
];

const GREETING: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "good morning",
    "good afternoon",
    "good evening",
    "hi there",
    "hello there",
    "greetings",
    "good day",
    "hiya",
];

const THANKS: &[&str] = &[
    "thanks",
    "thank you",
    "thx",
    "cheers",
    "many thanks",
    "thanks a lot",
    "thank you very much",
    "much appreciated",
    "appreciate it",
    "ty",
];

const GOODBYE: &[&str] = &[
    "bye",
    "goodbye",
    "good bye",
    "see you",
    "that's all",
    "thats all",
    "that is all",
    "that will be all",
    "that's it",
    "thats it",
    "nothing else",
    "have a nice day",
    "bye bye",
    "no that's all",
    "i'm done",
    "im done",
    "all done",
];

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

/// Fillers that may stand around a yes or a no.
fn is_filler(word: &str) -> bool {
    matches!(
        word,
        "please"
            | "that's"
            | "thats"
            | "thanks"
            | "thank"
            | "you"
            | "the"
            | "that"
            | "it"
            | "is"
            | "this"
            | "just"
            | "so"
            | "then"
            | "now"
            | "very"
            | "much"
            | "do"
            | "i"
            | "would"
            | "like"
            | "want"
            | "to"
            | "one"
            | "need"
            | "go"
            | "ahead"
            | "all"
            | "for"
            | "me"
            | "can"
            | "everything"
            | "looks"
            | "right"
            | "correct"
            | "good"
            | "well"
            | "oh"
            | "um"
            | "uh"
            | "hmm"
            | "ok"
            | "okay"
            | "sure"
            | "yes"
            | "yeah"
            | "send"
            | "block"
            | "order"
            | "submit"
            | "my"
            | "card"
            | "a"
            | "new"
            | "confirm"
            | "and"
            | "away"
            | "immediately"
            | "course"
            | "open"
            | "file"
            | "change"
            | "those"
            | "are"
            | "will"
            | "great"
            | "of"
            | "be"
            | "on"
            | "i'd"
            | "love"
            | "have"
            | "got"
            | "as"
            | "soon"
            | "possible"
            | "asap"
            | "application"
            | "dispute"
            | "complaint"
            | "details"
            | "accurate"
            | "lovely"
            | "fine"
            | "perfect"
            | "way"
    )
}

/// A plain yes: nothing in the text but yes and fillers.
pub(super) fn affirms(text: &str) -> bool {
    let words = words(text);
    let words = skip_interjections(&words);
    let Some(length) = begins(words, YES) else { return false };
    let rest = words.get(length..).unwrap_or_default();
    rest.len() <= 12 && !denied(rest) && rest.iter().all(|word| is_filler(&word.text))
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
    if refuses_person(text) || !any(&words, PERSON) {
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

/// Whether the text has the form of a question.
pub(super) fn is_question(text: &str) -> bool {
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
pub(super) fn asks_generally(text: &str) -> bool {
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
pub(super) fn asks_impersonally(text: &str) -> bool {
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
pub(super) fn requests(text: &str) -> bool {
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

/// Whether the text is mostly Chinese.
pub(super) fn is_chinese(text: &str) -> bool {
    let han = text.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    han >= 2 && han * 2 >= letters
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(is_chinese("我的卡丢了"));
        assert!(!is_chinese("my card 丢"));
    }
}
