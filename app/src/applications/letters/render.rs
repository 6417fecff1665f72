//! What a letter says. The same function makes the preview and the letter that is sent.

use askama::Template;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::config::Config;

use super::super::assessments::StoredAssessment;
use super::super::decisions::Outcome;
use super::super::{Application, reasons};

/// A letter about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Subject.
    pub subject: String,
    /// The letter as HTML: an `<article>` without styles of its own.
    pub html: String,
    /// The letter as plain text.
    pub text: String,
}

impl Rendered {
    /// SHA-256 over subject, text and HTML with a zero byte between them, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(&self.subject);
        digest.update([0]);
        digest.update(&self.text);
        digest.update([0]);
        digest.update(&self.html);
        hex::encode(digest.finalize())
    }
}

/// Facts of a letter.
struct Facts {
    bank: String,
    contact: String,
    date: String,
    reference: i64,
    name: String,
    address: Vec<String>,
    amount: String,
    term_months: i32,
    purpose: String,
    received: String,
    /// Reasons, or documents.
    items: Vec<String>,
    documents_by: String,
}

#[derive(Template)]
#[template(path = "letters/approved.html")]
struct ApprovedHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/approved.txt")]
struct ApprovedText<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/declined.html")]
struct DeclinedHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/declined.txt")]
struct DeclinedText<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/documents.html")]
struct DocumentsHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/documents.txt")]
struct DocumentsText<'a> {
    letter: &'a Facts,
}

/// The letter that would be sent for this outcome now; `None` where the applicant gets none.
///
/// # Errors
/// When a template fails to render.
pub fn preview(
    config: &Config,
    application: &Application,
    stored: &StoredAssessment,
    outcome: Outcome,
    codes: &[String],
    at: DateTime<Utc>,
) -> Result<Option<Rendered>> {
    let applicant = &application.applicant;
    let facts = Facts {
        bank: config.bank_name.clone(),
        contact: config.mail_from.clone(),
        date: day(at),
        reference: application.number,
        name: applicant.name.clone(),
        address: vec![applicant.street.clone(), format!("{} {}", applicant.postcode, applicant.city)],
        amount: application.amount().to_string(),
        term_months: application.term_months,
        purpose: application.purpose_in_words().to_lowercase(),
        received: day(application.received_at),
        items: reasons::in_words(codes, &stored.policy),
        // A reasonable time, as 12 CFR 1002.9(c)(2) asks: three weeks, at most until the decision is due.
        documents_by: day(application
            .decide_by
            .min(at + chrono::TimeDelta::days(21))
            .max(at + chrono::TimeDelta::days(7))),
    };
    let letter = &facts;
    let reference = application.number;
    let (subject, html, text) = match outcome {
        Outcome::Approved => (
            format!("Your loan application {reference} is approved"),
            ApprovedHtml { letter }.render()?,
            ApprovedText { letter }.render()?,
        ),
        Outcome::Declined => (
            format!("Our decision on your loan application {reference}"),
            DeclinedHtml { letter }.render()?,
            DeclinedText { letter }.render()?,
        ),
        Outcome::Documents => (
            format!("Your loan application {reference}: what we still need"),
            DocumentsHtml { letter }.render()?,
            DocumentsText { letter }.render()?,
        ),
        Outcome::Referred => return Ok(None),
    };
    Ok(Some(Rendered { subject, html, text }))
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}
