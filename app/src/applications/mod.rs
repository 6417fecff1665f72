//! Loan applications: intake, scoring, review, decision, letter.
//!
//! [`submit`] takes an application from any channel; the officers' pages, the letter and the applicant's own page read
//! what it kept. The other slices use what is exported here, never the tables.

mod applicant;
mod application;
mod apply;
mod assessments;
mod changes;
pub mod decisions;
mod factors;
mod in_force;
pub mod labels;
pub mod letters;
pub mod models;
pub mod policies;
mod precedents;
pub mod reasons;
mod register;
pub mod retention;
mod review;
mod rings;
mod scoring;
mod similarity;
mod submit;
mod words;

pub use applicant::{Applicant, choices};
pub use application::{
    Application, Channel, PURPOSES, Session, Status, find, find_by_external_id, find_by_number, newest,
    of_conversation, of_customer, purpose_in_words,
};
pub use assessments::{
    Difference, Repetition, StoredAssessment, assessment, band_in_words, latest, proposal_in_words, repeat,
};
pub use reasons::{Coded, in_words as reasons_in_words, principal as principal_reasons};
pub use register::{RegisterFilter, Registered, register};
pub use submit::{Draft, NewApplication, Submitted, announce, submit, submit_within};

use actix_web::web;

/// The officers' pages, the applicants' pages, policies and models.
pub fn routes(config: &mut web::ServiceConfig) {
    config.configure(review::routes).configure(apply::routes);
    config.configure(policies::routes).configure(models::routes).configure(reasons::routes);
}

pub use words::{CustomerState, CustomerWords, customer_words};
