//! The bank's people: roles, sign-in, sessions.

mod person;
mod session;

pub use person::{Person, Role};
pub use session::{SESSION_COOKIE, random_token, token_hash};
