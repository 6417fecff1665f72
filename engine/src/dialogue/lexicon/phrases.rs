//! The phrases themselves, by what they mean.

/// A yes.
#[rustfmt::skip]
pub(super) const YES: &[&str] = &[
    "yes", "yeah", "yep", "yup", "yess", "yes please", "ya", "ok", "okay", "sure", "correct", "right", "exactly",
    "confirm", "confirmed", "i confirm", "go ahead", "go on", "please do", "do it", "do that", "of course",
    "absolutely", "definitely", "that's right", "thats right", "that is right", "that's correct", "thats correct",
    "that is correct", "sounds good", "looks good", "all good", "fine", "perfect", "proceed", "agreed", "affirmative",
    "y", "send it", "submit it", "block it", "please", "i do", "it is", "i would", "all correct", "good", "great",
];

/// A no.
#[rustfmt::skip]
pub(super) const NO: &[&str] = &[
    "no", "nope", "nah", "no thanks", "no thank you", "not now", "don't", "dont", "do not", "not really", "negative",
    "n", "no need", "not needed", "i don't", "i do not", "i dont", "rather not", "wrong", "incorrect", "not correct",
    "not right", "that's wrong", "thats wrong", "neither",
];

/// A wish to stop.
#[rustfmt::skip]
pub(super) const CANCEL: &[&str] = &[
    "never mind", "nevermind", "forget it", "forget about it", "forget that", "cancel", "cancel that", "cancel this",
    "cancel it", "cancel everything", "stop", "stop it", "stop that", "stop this", "stop this process",
    "stop the current process", "end this process", "end the current process", "abort", "quit", "leave it",
    "i changed my mind", "changed my mind", "i've changed my mind", "no longer needed", "don't bother", "scrap that",
    "drop it", "not anymore", "let's stop", "cancel the request", "cancel my request", "cancel the application",
    "don't do it", "dont do it", "do not do it", "don't do that", "don't send it", "do not send it", "don't block it",
    "do not block it", "dont block it", "don't submit it", "do not submit it", "i don't want to anymore",
    "i don't want this anymore", "found it", "i found it", "i found my card", "found my card",
];

/// "Why do you ask?"
#[rustfmt::skip]
pub(super) const WHY: &[&str] = &[
    "why do you ask", "why do you need", "why are you asking", "why you need", "why you ask",
    "what do you need that for", "what do you need it for", "what do you need this for", "what is that for",
    "what's that for", "what for", "why is that needed", "why is this needed", "why is that necessary",
    "why is this necessary", "why should i tell", "why should i give", "why do i have to", "why do you want",
    "why would you need", "is that necessary", "is this necessary", "do you really need", "why does that matter",
    "why does it matter", "how is that relevant", "why that", "how come you need", "what does that have to do",
];

/// A human being.
#[rustfmt::skip]
pub(super) const PERSON: &[&str] = &[
    "human", "person", "agent", "representative", "rep", "advisor", "adviser", "operator", "somebody", "someone",
    "people", "colleague", "staff", "employee", "manager", "supervisor", "customer service", "real person",
    "consultant", "associate",
];

/// Getting to somebody.
#[rustfmt::skip]
pub(super) const REACH: &[&str] = &[
    "talk to", "speak to", "speak with", "talk with", "chat with", "connect me", "transfer me", "put me through",
    "pass me", "get me", "give me", "i want", "i need", "i'd like", "i would like", "let me", "can i have",
    "switch me", "want to talk", "want to speak", "contact",
];

/// Abuse.
#[rustfmt::skip]
pub(super) const INSULT: &[&str] = &[
    "idiot", "idiots", "stupid", "useless", "moron", "dumb", "fuck", "fucking", "fucked", "shit", "bullshit", "crap",
    "asshole", "bastard", "bitch", "damn you", "screw you", "piece of garbage", "shut up", "you suck", "hate you",
    "wtf", "worthless", "incompetent", "pathetic",
];

/// Putting something right.
#[rustfmt::skip]
pub(super) const FIXING: &[&str] = &[
    "actually", "sorry", "i meant", "i mean", "wait", "correction", "not that", "the other", "instead", "change",
    "rather", "oops", "my mistake", "wrong", "should be", "make it", "make that", "mistyped", "typo", "scratch that",
    "on second thought", "let me correct", "that's not", "that is not", "thats not", "it's not", "it is not",
    "i said", "update the", "correct the", "hold on",
];

/// Words that a question begins with.
#[rustfmt::skip]
pub(super) const QUESTION: &[&str] = &[
    "what", "what's", "whats", "when", "where", "which", "who", "how", "why", "can", "could", "is", "are", "do",
    "does", "will", "would", "am", "should", "may",
];

/// A greeting.
#[rustfmt::skip]
pub(super) const GREETING: &[&str] = &[
    "hi", "hello", "hey", "good morning", "good afternoon", "good evening", "hi there", "hello there", "greetings",
    "good day", "hiya",
];

/// Thanks.
#[rustfmt::skip]
pub(super) const THANKS: &[&str] = &[
    "thanks", "thank you", "thx", "cheers", "many thanks", "thanks a lot", "thank you very much", "much appreciated",
    "appreciate it", "ty",
];

/// An end.
#[rustfmt::skip]
pub(super) const GOODBYE: &[&str] = &[
    "bye", "goodbye", "good bye", "see you", "that's all", "thats all", "that is all", "that will be all",
    "that's it", "thats it", "nothing else", "have a nice day", "bye bye", "no that's all", "i'm done", "im done",
    "all done",
];

/// Fillers that may stand around a yes or a no.
#[rustfmt::skip]
pub(super) const FILLER: &[&str] = &[
    "please", "that's", "thats", "thanks", "thank", "you", "the", "that", "it", "is", "this", "just", "so", "then",
    "now", "very", "much", "do", "i", "would", "like", "want", "to", "one", "need", "go", "ahead", "all", "for", "me",
    "can", "everything", "looks", "right", "correct", "good", "well", "oh", "um", "uh", "hmm", "ok", "okay", "sure",
    "yes", "yeah", "send", "block", "order", "submit", "my", "card", "a", "new", "confirm", "and", "away",
    "immediately", "course", "open", "file", "change", "those", "are", "will", "great", "of", "be", "on", "i'd",
    "love", "have", "got", "as", "soon", "possible", "asap", "application", "dispute", "complaint", "details",
    "accurate", "lovely", "fine", "perfect", "way",
];
