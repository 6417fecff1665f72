//! One conversation as its agents read it: every message, every note, every event.

use std::collections::HashMap;

use candor_engine::Understanding;
use candor_engine::dialogue::{Action, Citation};
use candor_engine::understanding::is_chinese;
use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;
use crate::conversations::{Author, Conversation, Message, Status, store};

use super::inbox::intent_label;
use super::mood::{self, Reading};
use super::stamp::Stamp;

/// Messages shown before "show earlier" is needed.
const RECENT: usize = 120;

/// Who has a conversation now: a hold that ran out is none.
pub(super) fn holder(conversation: &Conversation, now: DateTime<Utc>) -> Option<Uuid> {
    let holds = match conversation.status {
        Status::Agent => true,
        Status::Waiting => conversation.assignee_hold_until.is_some_and(|until| until > now),
        Status::Assistant | Status::Resolved => false,
    };
    conversation.assignee_id.filter(|_| holds)
}

/// A probability of an intent with one decimal and a band's name.
pub(super) fn confidence_label(confidence: f32) -> String {
    let band = match confidence {
        0.85.. => "sure",
        0.6.. => "likely",
        _ => "unsure",
    };
    format!("{:.1} %, {band}", confidence * 100.0)
}

/// A message as the thread shows it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) seq: i64,
    /// `customer`, `assistant`, `agent`, `note` or `event`.
    pub(super) author: &'static str,
    /// The author's name.
    pub(super) who: String,
    pub(super) text: String,
    /// Whether the words are Chinese.
    pub(super) chinese: bool,
    pub(super) at: Stamp,
    /// The day, where it differs from the message before.
    pub(super) day: Option<String>,
    /// What was understood of a customer's message.
    pub(super) understood: Option<Understood>,
    /// Articles an answer was taken from.
    pub(super) citations: Vec<Citation>,
    /// The reference of what was done for the customer.
    pub(super) reference: Option<String>,
    /// Where an agent's answer came from, when it was suggested.
    pub(super) suggested: Option<String>,
}

/// What the engine understood of a message, in words.
#[derive(Debug, Clone)]
pub(super) struct Understood {
    pub(super) intent: String,
    /// The English words that a message in Chinese was read as.
    pub(super) read_as: Option<String>,
    pub(super) confidence: String,
    /// The mood's name, for the class.
    pub(super) sentiment: &'static str,
    /// The mood in a word.
    pub(super) mood: &'static str,
}

/// The messages of a conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Thread {
    pub(super) items: Vec<Item>,
    /// Earlier messages that are not shown.
    pub(super) hidden: usize,
    /// The customer's moods, oldest first.
    pub(super) readings: Vec<Reading>,
    /// The customer's last message, when no person has answered it yet.
    pub(super) question: Option<Question>,
}

/// The customer's last message, when no person has answered it yet.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) seq: i64,
    pub(super) text: String,
    pub(super) understanding: Option<Understanding>,
}

/// Reads all messages; shows the recent ones, or `all`. `customer` is the name to show for the customer.
pub(super) async fn read(db: &PgPool, conversation: &Conversation, customer: &str, all: bool) -> Result<Thread> {
    let messages = store::messages_after(db, conversation.id, 0).await?;
    let suggested = suggestions_used(db, conversation.id).await?;
    let now = Utc::now();
    let hidden = if all { 0 } else { messages.len().saturating_sub(RECENT) };
    let mut thread = Thread { hidden, ..Thread::default() };
    let mut day = None;
    for (index, message) in messages.into_iter().enumerate() {
        // What an older version wrote and this one can not read costs its extras, not the message.
        let understanding = message.understanding.as_ref().and_then(|value| Understanding::deserialize(value).ok());
        match message.author {
            Author::Customer => {
                thread.readings.extend(understanding.as_ref().map(|said| Reading {
                    seq: message.seq,
                    sentiment: said.sentiment.as_str().to_owned(),
                    score: said.sentiment_score,
                    at: message.created_at,
                }));
                thread.question = Some(Question {
                    seq: message.seq,
                    text: message.text.clone(),
                    understanding: understanding.clone(),
                });
            }
            Author::Agent => thread.question = None,
            Author::Assistant | Author::Note | Author::Event => {}
        }
        if index < hidden {
            continue;
        }
        let today = message.created_at.date_naive();
        let new_day = day.replace(today) != Some(today);
        let mut item = item(message, understanding, customer, &suggested, now);
        item.day = new_day.then(|| today.format("%A %-d %B %Y").to_string());
        thread.items.push(item);
    }
    Ok(thread)
}

fn item(
    message: Message,
    understanding: Option<Understanding>,
    customer: &str,
    suggested: &HashMap<Uuid, String>,
    now: DateTime<Utc>,
) -> Item {
    let (citations, reference) = match message.action() {
        Some(Action::Say { citations, .. }) => (citations, None),
        Some(Action::Act { receipt, .. }) => (Vec::new(), Some(receipt.reference)),
        _ => (Vec::new(), None),
    };
    Item {
        seq: message.seq,
        author: message.author.as_str(),
        who: match message.author {
            Author::Customer => customer.to_owned(),
            Author::Assistant => "AI assistant".to_owned(),
            Author::Agent | Author::Note | Author::Event => message.person_name.unwrap_or_default(),
        },
        chinese: is_chinese(&message.text),
        text: message.text,
        at: Stamp::new(message.created_at, now),
        day: None,
        understood: understanding.map(|said| Understood {
            intent: intent_label(&said.intent),
            read_as: said.read_as.filter(|words| !words.is_empty()),
            confidence: confidence_label(said.confidence),
            sentiment: said.sentiment.as_str(),
            mood: mood::word(said.sentiment.as_str()),
        }),
        citations,
        reference,
        suggested: suggested.get(&message.id).cloned(),
    }
}

/// Where agents' answers came from, in words, by message.
async fn suggestions_used(db: &PgPool, conversation: Uuid) -> Result<HashMap<Uuid, String>> {
    let uses = sqlx::query!(
        "select s.message_id, s.kind, s.source, s.edited
         from suggestion_uses s join messages m on m.id = s.message_id
         where m.conversation_id = $1",
        conversation,
    )
    .fetch_all(db)
    .await?;
    let words = |kind: &str, source: &str, edited: bool| {
        let kind = if kind == "canned" { "canned response" } else { kind };
        format!("from {kind} “{source}”{}", if edited { ", edited" } else { "" })
    };
    Ok(uses.into_iter().map(|used| (used.message_id, words(&used.kind, &used.source, used.edited))).collect())
}
