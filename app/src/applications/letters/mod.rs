//! Decision letters: previewed, kept as sent, mailed where a mail server is configured.

mod changes;
mod mail;
mod render;
mod store;

pub use mail::MailLetter;
pub use render::{Rendered, preview};
pub(super) use store::send;
pub use store::{Letter, find, of_application, recent};
