//! What a letter says. The same function makes the preview and the letter that is sent.

use askama::Template;
use candor_engine::risk::Band;
use candor_engine::risk::whatif::Alternative;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use sqlx::PgConnection;

use crate::Result;
use crate::config::Config;

use super::super::assessments::StoredAssessment;
use super::super::decisions::Outcome;
use super::super::reasons::Language;
use super::super::{Application, changes, models, reasons};
use super::changes::in_language;

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
    /// What would change the score, where the policy lets letters say it.
    changes: Vec<String>,
    bureau: Option<Bureau>,
}

/// A consumer reporting agency whose score was a factor: 15 USC 1681m(a).
struct Bureau {
    agency: String,
    score: String,
    range: Option<String>,
}

impl Bureau {
    /// The agency, where the bank has one and its score was among what was scored.
    fn of(config: &Config, stored: &StoredAssessment) -> Option<Self> {
        let score = stored.factors.credit_risk_score?;
        Some(Self {
            agency: config.credit_bureau.clone()?,
            score: score.to_string(),
            range: config.credit_bureau_range.clone(),
        })
    }
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

#[derive(Template)]
#[template(path = "letters/approved_zh.html")]
struct ApprovedZhHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/approved_zh.txt")]
struct ApprovedZhText<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/declined_zh.html")]
struct DeclinedZhHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/declined_zh.txt")]
struct DeclinedZhText<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/documents_zh.html")]
struct DocumentsZhHtml<'a> {
    letter: &'a Facts,
}

#[derive(Template)]
#[template(path = "letters/documents_zh.txt")]
struct DocumentsZhText<'a> {
    letter: &'a Facts,
}

/// The letter that would be sent for this outcome now; `None` where the applicant gets none.
///
/// # Errors
/// When a template fails to render, or the database fails.
pub async fn preview(
    connection: &mut PgConnection,
    config: &Config,
    application: &Application,
    stored: &StoredAssessment,
    outcome: Outcome,
    codes: &[String],
    at: DateTime<Utc>,
) -> Result<Option<Rendered>> {
    let applicant = &application.applicant;
    let language = applicant.language.unwrap_or_default();
    let day = |at| day(at, language);
    let changes = match outcome {
        Outcome::Declined if stored.policy.letters_name_changes => changes(connection, stored, language).await?,
        _ => Vec::new(),
    };
    let facts = Facts {
        bank: config.bank_name.clone(),
        contact: config.mail_from.clone(),
        date: day(at),
        reference: application.number,
        name: applicant.name.clone(),
        address: vec![applicant.street.clone(), format!("{} {}", applicant.postcode, applicant.city)],
        amount: application.amount().to_string(),
        term_months: application.term_months,
        purpose: match language {
            Language::En => application.purpose_in_words().to_lowercase(),
            Language::Zh => purpose_in_chinese(&application.purpose).to_owned(),
        },
        received: day(application.received_at),
        items: reasons::in_language(codes, &stored.assessment, language),
        changes,
        bureau: Bureau::of(config, stored),
        // A reasonable time, as 12 CFR 1002.9(c)(2) asks: three weeks, at most until the decision is due.
        documents_by: day(application
            .decide_by
            .min(at + chrono::TimeDelta::days(21))
            .max(at + chrono::TimeDelta::days(7))),
    };
    let letter = &facts;
    let reference = application.number;
    let (subject, html, text) = match (outcome, language) {
        (Outcome::Approved, Language::Zh) => (
            format!("您的贷款申请 {reference} 已获批准"),
            ApprovedZhHtml { letter }.render()?,
            ApprovedZhText { letter }.render()?,
        ),
        (Outcome::Declined, Language::Zh) => (
            format!("关于您的贷款申请 {reference} 的决定"),
            DeclinedZhHtml { letter }.render()?,
            DeclinedZhText { letter }.render()?,
        ),
        (Outcome::Documents, Language::Zh) => (
            format!("您的贷款申请 {reference}：还需要的材料"),
            DocumentsZhHtml { letter }.render()?,
            DocumentsZhText { letter }.render()?,
        ),
        (Outcome::Approved, Language::En) => (
            format!("Your loan application {reference} is approved"),
            ApprovedHtml { letter }.render()?,
            ApprovedText { letter }.render()?,
        ),
        (Outcome::Declined, Language::En) => (
            format!("Our decision on your loan application {reference}"),
            DeclinedHtml { letter }.render()?,
            DeclinedText { letter }.render()?,
        ),
        (Outcome::Documents, Language::En) => (
            format!("Your loan application {reference}: what we still need"),
            DocumentsHtml { letter }.render()?,
            DocumentsText { letter }.render()?,
        ),
        (Outcome::Referred, _) => return Ok(None),
    };
    Ok(Some(Rendered { subject, html, text }))
}

/// What would have brought the score into the low band, a line each.
async fn changes(connection: &mut PgConnection, stored: &StoredAssessment, language: Language) -> Result<Vec<String>> {
    let model = models::model(connection, &stored.assessment.model_sha256).await?;
    let found = changes::what_would_change(model, stored).await?;
    let ways = found.filter(|found| found.band == Band::Low).map(|found| found.ways).unwrap_or_default();
    let ways: Vec<Alternative> = ways.into_iter().map(|(way, _)| way).collect();
    Ok(in_language(&ways, language))
}

fn day(at: DateTime<Utc>, language: Language) -> String {
    match language {
        Language::En => at.format("%-d %B %Y"),
        Language::Zh => at.format("%Y年%-m月%-d日"),
    }
    .to_string()
}

fn purpose_in_chinese(purpose: &str) -> &str {
    match purpose {
        "car" => "购车",
        "home" => "家居装修",
        "debts" => "偿还其他债务",
        "education" => "教育",
        "purchase" => "大额消费或旅行",
        _ => "其他",
    }
}
