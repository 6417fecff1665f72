//! What browsers are told of a change, after its commit.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::conversations::{Author, Message};
use crate::live::{self, Event, Live};

/// Tells everybody who looks that a message is there. Call it after the commit.
pub async fn announce_message(live: &Live, message: &Message) {
    let data = json!({
        "conversation": message.conversation_id,
        "seq": message.seq,
        "author": message.author,
        "for_customer": message.for_customer,
    });
    announce(live, message.conversation_id, "message", data).await;
}

/// Tells whoever looks at the conversation that somebody is writing, or stopped. `author` is `assistant` or `agent`
/// towards the customer, `customer` towards the desk.
pub async fn announce_typing(live: &Live, conversation: Uuid, author: Author, name: &str, typing: bool) {
    let data = json!({ "conversation": conversation, "author": author, "name": name, "typing": typing });
    live.publish(Event { topic: live::conversation_topic(conversation), kind: "typing".to_owned(), data }).await;
}

/// Tells everybody who looks that something about a conversation changed: `status`, `assigned`, …
/// Goes to the conversation's topic and to the inbox. Call it after the commit.
pub async fn announce(live: &Live, conversation: Uuid, kind: &str, data: Value) {
    let mut data = data;
    if let Value::Object(fields) = &mut data {
        fields.entry("conversation").or_insert_with(|| json!(conversation));
    }
    for topic in [live::conversation_topic(conversation), live::INBOX.to_owned()] {
        live.publish(Event { topic, kind: kind.to_owned(), data: data.clone() }).await;
    }
}
