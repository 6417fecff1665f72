//! What a simulated customer wants: a flow, the values they mean, and how the conversation must end.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::wording::{Meaning, Opening, Person, Wording};

/// How the customer means to end the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With what they came for.
    Served,
    /// They give up on the way.
    Cancelled,
    /// They ask for a person on the way.
    Person,
    /// They answer nonsense until a person takes over.
    Nonsense,
}

/// What makes a conversation harder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Twist {
    /// A wrong value is given and corrected with the next message.
    Correct,
    /// A value is changed when everything was summed up.
    Change,
    /// A question about something else.
    Digress,
    /// "Why do you need that?"
    Why,
    /// Abuse, once.
    Insult,
    /// Nothing is written for a while.
    Silence,
    /// A second request in the first message.
    Second,
    /// A change of mind after it was done, taken back.
    Regret,
}

impl Twist {
    pub(super) const ALL: [Self; 8] = [
        Self::Correct,
        Self::Change,
        Self::Digress,
        Self::Why,
        Self::Insult,
        Self::Silence,
        Self::Second,
        Self::Regret,
    ];

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Correct => "correction of an earlier value",
            Self::Change => "change at the confirmation",
            Self::Digress => "digression",
            Self::Why => "why do you ask",
            Self::Insult => "insult",
            Self::Silence => "silence",
            Self::Second => "two requests in one message",
            Self::Regret => "change of mind afterwards",
        }
    }
}

/// A value the customer means, in the words they use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant {
    /// As the dialogue's state names it; of one's own words, the words.
    pub(super) value: String,
    /// Ways to say it.
    pub(super) ways: Vec<String>,
    /// What must be said about it in the end.
    pub(super) told: Option<String>,
}

impl Meant {
    /// The way that fits into another sentence.
    pub(super) fn bare(&self) -> Option<&String> {
        self.ways.first()
    }
}

/// A customer's plan for one conversation.
#[derive(Debug, Clone)]
pub(super) struct Goal<'w> {
    pub(super) person: &'w Person,
    pub(super) flow: String,
    pub(super) opening: String,
    /// Slots whose value the opening holds.
    pub(super) given: Vec<String>,
    pub(super) meant: BTreeMap<String, Meant>,
    pub(super) twists: Vec<Twist>,
    pub(super) ending: Ending,
    /// Whether a new card is wanted after the block.
    pub(super) replacement: bool,
    /// Sentences that must occur in replies.
    pub(super) told: Vec<String>,
}

impl<'w> Goal<'w> {
    /// Draws a plan.
    pub(super) fn draw(wording: &'w Wording, random: &mut ChaCha8Rng) -> Option<Self> {
        let flows = wording.flows();
        let flow = flows.choose(random)?.clone();
        let people: Vec<&Person> = wording.person.iter().filter(|person| possible(wording, &flow, person)).collect();
        let person = *people.choose(random)?;
        let openings: Vec<&Opening> = wording
            .opening
            .iter()
            .filter(|opening| opening.flow == flow && opening.person.as_ref().is_none_or(|of| *of == person.key))
            .collect();
        let opening = *openings.choose(random)?;
        let mut meant = BTreeMap::new();
        for slot in wording.slots(&flow) {
            let fixed = opening.gives.get(&slot);
            let fitting: Vec<&Meaning> = wording
                .meanings(&flow, &slot, &person.key)
                .filter(|meaning| fixed.is_none_or(|value| meaning.value == *value))
                .collect();
            if let Some(meaning) = fitting.choose(random) {
                meant.insert(slot, meaning.meant(random));
            }
        }
        let mut told: Vec<String> = wording.told.get(&format!("{flow}.{}", person.key)).cloned().into_iter().collect();
        told.extend(meant.values().filter_map(|meant| meant.told.clone()));
        let ending = match random.random_range(0..100) {
            0..5 => Ending::Cancelled,
            5..9 => Ending::Person,
            9..12 => Ending::Nonsense,
            _ => Ending::Served,
        };
        let hard = *[0, 1, 1, 2, 2, 3].choose(random)?;
        let twists: Vec<Twist> = Twist::ALL.choose_multiple(random, hard).copied().collect();
        let mut text = opening.texts.choose(random)?.clone();
        let mut given: Vec<String> = opening.gives.keys().cloned().collect();
        if ending == Ending::Served && twists.contains(&Twist::Second) && flow != "balance" && flow != "recent_payments"
        {
            let seconds: Vec<_> = wording
                .second
                .iter()
                .filter(|second| wording.told.contains_key(&second.told_of(&person.key)))
                .collect();
            if let Some(second) = seconds.choose(random)
                && let Some(words) = second.texts.choose(random)
            {
                text = format!("{}{words}", text.trim_end_matches(['.', ' ']));
                told.extend(wording.told.get(&second.told_of(&person.key)).cloned());
            }
        } else if flow == "loan_apply" && random.random_bool(0.4) {
            // Out of order: what would be asked for one by one, at once.
            for (slot, words) in [("amount", "of"), ("term", "over"), ("purpose", "for")] {
                let way = meant.get(slot).and_then(|meant| meant.ways.iter().find(|way| unmistakable(slot, way)));
                if let Some(way) = way
                    && random.random_bool(0.7)
                {
                    text = format!("{} {words} {way}", text.trim_end_matches(['.', ' ']));
                    given.push(slot.to_owned());
                }
            }
        } else if matches!(flow.as_str(), "transaction_status" | "dispute_charge")
            && random.random_bool(0.3)
            && let Some(way) = meant.get("payment").and_then(|meant| meant.ways.first())
        {
            text = format!("{} It is about {way}.", with_stop(&text));
            given.push("payment".to_owned());
        }
        let replacement = random.random_bool(0.6);
        Some(Self { person, flow, opening: text, given, meant, twists, ending, replacement, told })
    }

    fn value(&self, slot: &str) -> Json {
        self.meant.get(slot).map_or(Json::Null, |meant| Json::String(meant.value.clone()))
    }

    /// The operations that must have been performed when everything the customer wants is done.
    pub(super) fn operations(&self) -> Vec<Json> {
        let text = |slot: &str| self.meant.get(slot).map(|meant| meant.value.clone()).unwrap_or_default();
        let number = |slot: &str| text(slot).parse::<i64>().unwrap_or_default();
        match self.flow.as_str() {
            "block_card" => {
                let last4 = match self.person.key.as_str() {
                    "clara" => json!("9034"),
                    _ => self.value("card"),
                };
                let mut done = vec![json!({"operation": "block_card", "last4": last4, "reason": self.value("reason")})];
                if self.replacement {
                    done.push(json!({"operation": "order_replacement", "last4": last4}));
                }
                done
            }
            "dispute_charge" => vec![json!({"operation": "open_dispute", "payment": self.value("payment"),
                "reason": self.value("reason"), "explanation": self.value("explanation")})],
            "change_contact" => {
                let change = match text("what").as_str() {
                    "email" => json!({"email": self.value("email")}),
                    "phone" => json!({"phone": self.value("phone")}),
                    _ => json!({"street": self.value("street"), "city": self.value("city"),
                        "postcode": self.value("postcode")}),
                };
                vec![json!({"operation": "change_contact", "change": change})]
            }
            "loan_apply" => vec![json!({"operation": "submit_application", "particulars": {
                "amount": {"minor": number("amount")}, "term_months": number("term"),
                "purpose": self.value("purpose"), "monthly_income": {"minor": number("income")},
                "employment": self.value("employment"), "housing": self.value("housing"),
                "months_at_address": number("months_at_address"),
                "has_other_cards": text("other_cards") == "yes", "phone": self.value("phone")}})],
            "complaint" => vec![json!({"operation": "file_complaint", "about": self.value("about"),
                "wish": self.value("wish"), "reply_to": self.value("email")})],
            _ => Vec::new(),
        }
    }
}

/// Whether a way to say a value leaves no doubt outside its question.
fn unmistakable(slot: &str, way: &str) -> bool {
    match slot {
        "amount" => way.contains('€') || way.contains("euros"),
        "term" => way.ends_with("months") || way.ends_with("years"),
        _ => !way.starts_with("for ") && !way.starts_with("to "),
    }
}

fn with_stop(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Whether a customer's records let them want this.
fn possible(wording: &Wording, flow: &str, person: &Person) -> bool {
    match flow {
        "balance" => true,
        "recent_payments" | "card_arrival" => wording.told.contains_key(&format!("{flow}.{}", person.key)),
        // The only card of the third customer is chosen without a question.
        "block_card" => true,
        "transaction_status" | "dispute_charge" => wording.meanings(flow, "payment", &person.key).next().is_some(),
        "loan_status" => wording.meanings(flow, "application", &person.key).next().is_some(),
        _ => true,
    }
}
