//! The bank's people: roles, sign-in, sessions.

mod own;
mod password;
mod people;
mod person;
mod same_origin;
mod session;
mod sign_in;
mod throttle;

use actix_web::web;

pub use password::{PASSWORD_MIN, first_password, hash_password, password_problem, verify_password};
pub use people::{Colleague, NewPerson, change_role, colleague, create_person, everybody, set_active, set_password};
pub use person::{Person, Role};
pub use same_origin::same_origin;
pub use session::{
    OpenSession, SESSION_COOKIE, Session, browser_words, end as end_session, open_sessions, random_token, token_hash,
};

/// Sign-in, sign-out and one's own account.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sign-in", web::get().to(sign_in::page))
        .route("/sign-in", web::post().to(sign_in::submit))
        .route("/sign-out", web::post().to(sign_in::sign_out))
        .route("/home", web::get().to(sign_in::home))
        .route("/account", web::get().to(own::page))
        .route("/account/password", web::post().to(own::change_password))
        .route("/account/sessions/{id}/end", web::post().to(own::end_session));
}
