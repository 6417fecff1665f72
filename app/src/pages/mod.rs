//! What every page shares: the frame around it and the page shown for an error.

use actix_web::HttpResponse;
use actix_web::http::header::{ContentType, LOCATION};
use askama::Template;

use crate::Result;
use crate::accounts::Person;

/// Facts the frame of a page shows. Templates extend `pages/staff.html` (the bank's people) or
/// `pages/public.html` (customers) and hold a field `frame: Frame`.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The bank's name.
    pub bank: String,
    /// Title of the page, without the bank's name.
    pub title: String,
    /// The section of the navigation that is current: `desk`, `credit`, `audit`, `manage` or empty.
    pub section: &'static str,
    /// Who is signed in.
    pub person: Option<Person>,
}

impl Frame {
    /// A page for the bank's people.
    #[must_use]
    pub fn staff(bank: &str, title: impl Into<String>, section: &'static str, person: &Person) -> Self {
        Self { bank: bank.to_owned(), title: title.into(), section, person: Some(person.clone()) }
    }

    /// A page for customers.
    #[must_use]
    pub fn public(bank: &str, title: impl Into<String>) -> Self {
        Self { bank: bank.to_owned(), title: title.into(), section: "", person: None }
    }
}

impl Frame {
    /// The sections the signed-in person's role may open.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let Some(person) = &self.person else { return Vec::new() };
        [
            (person.role.works_desk(), "desk", "Desk", "/desk", "d"),
            (person.role.reads_credit(), "credit", "Credit", "/credit", "c"),
            (person.role.reads_audit(), "audit", "Audit", "/audit", "a"),
            (person.role.manages(), "manage", "Manage", "/manage", "m"),
        ]
        .into_iter()
        .filter(|(allowed, ..)| *allowed)
        .map(|(_, name, label, href, key)| Section { label, href, key, current: name == self.section })
        .collect()
    }
}

/// One entry of the staff navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub label: &'static str,
    /// Its first page.
    pub href: &'static str,
    /// The letter that follows `g`.
    pub key: &'static str,
    /// Whether the page belongs to it.
    pub current: bool,
}

/// Renders a template as an HTML answer.
///
/// # Errors
/// When the template fails to render.
pub fn html(template: &impl Template) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().content_type(ContentType::html()).body(template.render()?))
}

/// Renders a form again with what was refused (422).
///
/// # Errors
/// When the template fails to render.
pub fn refused(template: &impl Template) -> Result<HttpResponse> {
    Ok(HttpResponse::UnprocessableEntity().content_type(ContentType::html()).body(template.render()?))
}

/// Sends the browser on after a POST (303).
#[must_use]
pub fn see_other(to: impl AsRef<str>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, to.as_ref())).finish()
}

mod csv_file;
mod errors;
mod files;
mod moment;
mod refusals;

pub use csv_file::{csv_file, csv_headers, csv_rows};
pub use errors::error_pages;
pub use moment::Moment;
pub use refusals::Refusals;

/// Static files and the answer for an address where nothing lives.
pub fn routes(config: &mut actix_web::web::ServiceConfig) {
    config.configure(files::routes);
}
