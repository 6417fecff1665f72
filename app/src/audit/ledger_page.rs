//! `/audit`: the ledger, one entry, the check of the chain, the export.

use actix_web::{HttpResponse, web};
use askama::Template;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment, Refusals, csv_headers};
use crate::{AppError, Result};

use super::ledger::{self, Filter, LedgerEntry};
use super::verify::{Verified, last_verified, verify_and_remember};
use super::{export, words};

/// Entries on a page.
const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "audit/ledger.html")]
struct LedgerPage {
    frame: Frame,
    tab: &'static str,
    filter: Filter,
    refusals: Refusals,
    actions: Vec<String>,
    entries: Vec<Line>,
    older: Option<String>,
    newest: Option<String>,
    length: String,
    verified: Option<VerifiedWords>,
    export: Vec<(&'static str, String)>,
}

struct Line {
    at: Moment,
    entry: LedgerEntry,
    words: String,
    subject: String,
}

struct VerifiedWords {
    at: Moment,
    found: Verified,
    entries: String,
}

/// The ledger, newest first.
pub(super) async fn page(app: web::Data<App>, person: Person, filter: web::Query<Filter>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let filter = filter.into_inner();
    let (found, refusals) = match ledger::entries(&app.db, &filter, PAGE + 1).await {
        Ok(found) => (found, Refusals::none()),
        Err(AppError::Invalid(fields)) => (Vec::new(), Refusals::from(fields)),
        Err(error) => return Err(error),
    };
    let page: Vec<LedgerEntry> = found.iter().take(usize::try_from(PAGE).unwrap_or(usize::MAX)).cloned().collect();
    let more = found.len() > page.len();
    let older = page.last().filter(|_| more).map(|last| filter.below(last.number).query());
    let newest = (!filter.before.is_empty()).then(|| filter.first_page().query());
    let verified = last_verified(&app.db).await?.map(|found| VerifiedWords {
        at: Moment(found.at),
        entries: words::grouped(found.entries),
        found,
    });
    let template = LedgerPage {
        frame: Frame::staff(&app.config.bank_name, "Audit log", "audit", &person),
        tab: "ledger",
        actions: ledger::actions(&app.db).await?,
        entries: page.into_iter().map(line).collect(),
        older,
        newest,
        length: words::grouped(ledger::length(&app.db).await?),
        verified,
        export: filter.first_page().pairs().into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
        filter,
        refusals,
    };
    if template.refusals.is_empty() { pages::html(&template) } else { pages::refused(&template) }
}

fn line(entry: LedgerEntry) -> Line {
    let id = &entry.subject_id;
    // The last digits of an id tell it from its neighbours: the first ones are the time it was made.
    let letters = id.chars().count();
    let subject =
        if letters > 14 { format!("…{}", id.chars().skip(letters - 8).collect::<String>()) } else { id.clone() };
    Line { at: Moment(entry.at), words: words::action(&entry.action), subject, entry }
}

/// Checks the whole chain now.
pub(super) async fn verify_now(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    verify_and_remember(&app.db).await?;
    Ok(pages::see_other("/audit"))
}

/// The filtered ledger as CSV. A POST, because taking a copy is recorded.
pub(super) async fn export(app: web::Data<App>, person: Person, filter: web::Form<Filter>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let filter = filter.first_page();
    // Refuses a filter that can not be read before anything is recorded.
    ledger::entries(&app.db, &filter, 1).await?;
    export::record_export(&app.db, &person, &filter).await?;
    let mut answer = HttpResponse::Ok();
    for header in csv_headers("audit-log.csv") {
        answer.insert_header(header);
    }
    Ok(answer.streaming(export::csv(app.db.clone(), filter)))
}

#[derive(Template)]
#[template(path = "audit/entry.html")]
struct EntryPage {
    frame: Frame,
    tab: &'static str,
    at: Moment,
    exact: String,
    words: String,
    details: String,
    is_last: bool,
    entry: LedgerEntry,
}

/// One entry, whole.
pub(super) async fn entry(app: web::Data<App>, person: Person, number: web::Path<i64>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let entry = ledger::entry(&app.db, *number).await?;
    let details: serde_json::Value = serde_json::from_str(&entry.details)?;
    pages::html(&EntryPage {
        frame: Frame::staff(&app.config.bank_name, format!("Entry {}", entry.number), "audit", &person),
        tab: "ledger",
        at: Moment(entry.at),
        exact: entry.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        words: words::action(&entry.action),
        details: serde_json::to_string_pretty(&details)?,
        is_last: entry.number == ledger::length(&app.db).await?,
        entry,
    })
}
