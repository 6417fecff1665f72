//! `/manage/reports`

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgPool;

use crate::accounts::{Person, Role};
use crate::pages::{self, Frame, csv_file};
use crate::server::App;
use crate::{AppError, Result};

use super::report::{Cell, Report};
use super::{conversations, credit};

/// Periods to choose from, in days.
const PERIODS: [i32; 4] = [7, 30, 90, 365];

#[derive(Template)]
#[template(path = "reports/reports.html")]
struct ReportsPage {
    frame: Frame,
    tab: &'static str,
    days: i32,
    periods: [i32; 4],
    reports: Vec<Report>,
}

/// The period, from the address.
#[derive(Debug, Deserialize)]
pub(super) struct Period {
    #[serde(default)]
    days: Option<i32>,
}

impl Period {
    /// Days back from today; an unknown number means 30.
    pub(super) fn days(&self) -> i32 {
        self.days.filter(|days| PERIODS.contains(days)).unwrap_or(30)
    }
}

async fn all(db: &PgPool, days: i32) -> Result<Vec<Report>> {
    let [contained, verified] = conversations::outcomes(db, days).await?;
    Ok(vec![
        contained,
        verified,
        conversations::hand_offs(db, days).await?,
        conversations::moods(db, days).await?,
        conversations::satisfaction(db, days).await?,
        conversations::first_responses(db, days).await?,
        conversations::intents(db, days).await?,
        credit::outcomes(db, days).await?,
        credit::overrides(db, days).await?,
    ])
}

/// All reports on one page.
pub(super) async fn page(app: web::Data<App>, person: Person, period: web::Query<Period>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let days = period.days();
    // Auditors find the reports among their own pages, managers among theirs.
    let section = if person.role.manages() { "manage" } else { "audit" };
    pages::html(&ReportsPage {
        frame: Frame::staff(&app.config.bank_name, "Reports", section, &person),
        tab: "reports",
        days,
        periods: PERIODS,
        reports: all(&app.db, days).await?,
    })
}

/// One report as CSV.
pub(super) async fn csv(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    period: web::Query<Period>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let days = period.days();
    let reports = all(&app.db, days).await?;
    let report = reports.iter().find(|report| report.name == name.as_str()).ok_or(AppError::NotFound("This report"))?;
    let head = report.head.iter().map(|&head| head.to_owned()).collect::<Vec<String>>();
    let rows = report.rows.iter().map(|row| row.iter().map(Cell::plain).collect());
    csv_file(&format!("{name}-{days}-days.csv"), std::iter::once(head).chain(rows))
}
