//! Conversations: the customers' chat, the agents' desk, and what both stand on.
//!
//! [`store`] is the only module that writes conversations and messages. Whoever writes calls it inside a transaction,
//! commits, and then announces what happened: an event is a hint, Postgres holds the truth.

pub mod chat;
mod conversation;
pub mod desk;
mod message;
pub mod store;
mod summary;
mod turn;

pub use conversation::{Channel, Conversation, ResolvedBy, Satisfaction, Status};
pub use message::{Author, MAX_CUSTOMER_CHARS, Message, NewMessage, customer_text};
pub use summary::Summarise;
pub use turn::{AnswerLater, PERSON_CHOICE, customer_says, receive_for_later};
