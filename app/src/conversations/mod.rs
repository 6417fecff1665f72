//! Conversations: the customers' chat, the agents' desk, and what both stand on.
//!
//! [`store`] writes conversations and messages, and [`erasure`] takes the words away again when they were kept long enough;
//! no other module does. Whoever writes calls it inside a transaction,
//! commits, and then announces what happened: an event is a hint, Postgres holds the truth.

pub mod chat;
mod conversation;
pub mod desk;
pub mod erasure;
mod message;
pub mod silence;
pub mod store;
mod summary;
mod turn;

pub use conversation::{Channel, Conversation, ResolvedBy, Satisfaction, Status};
pub use message::{Author, MAX_CUSTOMER_CHARS, Message, NewMessage, customer_text};
pub use summary::Summarise;
pub use turn::{AnswerLater, PERSON_CHOICE, customer_says, receive_for_later};
