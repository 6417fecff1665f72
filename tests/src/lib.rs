//! Shared ground of the tests: the real server on a free port, with a database of its own.
//!
//! ```no_run
//! # async fn example() {
//! use candor::accounts::Role;
//! let app = candor_tests::spawn().await;
//! let agent = app.sign_in(Role::Agent).await;
//! let page = agent.get("/desk").await;
//! assert_eq!(page.status(), 200);
//! # }
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]

mod browser;
mod database;
mod people;
mod server;

pub use browser::Browser;
pub use people::PASSWORD;
pub use server::{TestApp, spawn, spawn_generating, spawn_speaking, spawn_with};
