//! Reports on one page: their period, their addresses, their files.

use actix_web::HttpResponse;

use crate::accounts::Person;
use crate::app::App;
use crate::pages::{Frame, csv_file};
use crate::{AppError, Result};

use super::behind;
use super::report::{Cell, Report};

/// The frame of a page of reports: auditors find them among their own pages, managers among theirs.
pub(super) fn frame(app: &App, title: &str, person: &Person) -> Frame {
    Frame::staff(&app.config.bank_name, title, if person.role.manages() { "manage" } else { "audit" }, person)
}

/// Reports on one page.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    /// The page's address.
    pub(super) path: &'static str,
    /// Days looked back.
    pub(super) days: i32,
    /// Periods to choose from, in days.
    pub(super) periods: &'static [i32],
    /// What else the address says: empty, or `&name=value` as often as needed.
    pub(super) rest: String,
    /// The reports.
    pub(super) reports: Vec<Report>,
}

impl Sheet {
    /// The address of the same page over another period.
    pub(super) fn over(&self, days: &i32) -> String {
        format!("{}?days={days}{}", self.path, self.rest)
    }

    /// The address of a report's file.
    pub(super) fn file(&self, report: &Report) -> String {
        format!("{}/{}.csv?days={}{}", self.path, report.name, self.days, self.rest)
    }

    /// The address of the conversations behind a report, where it counts conversations.
    pub(super) fn conversations(&self, report: &Report) -> Option<String> {
        behind::has_conversations(&report.name)
            .then(|| format!("/manage/reports/{}/conversations?days={}", report.name, self.days))
    }

    /// One of the reports as a file.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when it is not on the page.
    pub(super) fn csv(&self, name: &str) -> Result<HttpResponse> {
        let report = self.reports.iter().find(|report| report.name == name).ok_or(AppError::NotFound("This report"))?;
        let rows = report.rows.iter().map(|row| row.iter().map(Cell::plain).collect());
        csv_file(&format!("{name}-{}-days.csv", self.days), std::iter::once(report.head.clone()).chain(rows))
    }
}
