//! `/manage/reports/risk`: the reports around the risk model.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgPool;

use crate::accounts::{Person, Role};
use crate::pages::{self, Frame, csv_file};
use crate::server::App;
use crate::{AppError, Result};

use super::report::{Cell, Report};
use super::{credit, risk_scores};

/// Periods to choose from, in days.
const PERIODS: [i32; 4] = [30, 90, 180, 365];

/// What is shown, from the address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    days: Option<i32>,
}

impl Wanted {
    fn days(&self) -> i32 {
        self.days.filter(|days| PERIODS.contains(days)).unwrap_or(90)
    }

    fn query(&self) -> String {
        format!("days={}", self.days())
    }
}

#[derive(Template)]
#[template(path = "reports/risk.html")]
struct RiskPage {
    frame: Frame,
    tab: &'static str,
    days: i32,
    periods: [i32; 4],
    query: String,
    reports: Vec<Report>,
}

async fn all(db: &PgPool, wanted: &Wanted) -> Result<Vec<Report>> {
    let days = wanted.days();
    Ok(vec![
        risk_scores::histogram(db, days).await?,
        risk_scores::calibration(db, days).await?,
        risk_scores::label_delay(db, days).await?,
        credit::overrides(db, days).await?,
        risk_scores::overrides_by_version(db, days).await?,
    ])
}

/// All of them on one page, readable in print.
pub(super) async fn page(app: web::Data<App>, person: Person, wanted: web::Query<Wanted>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let reports = all(&app.db, &wanted).await?;
    let section = if person.role.manages() { "manage" } else { "audit" };
    pages::html(&RiskPage {
        frame: Frame::staff(&app.config.bank_name, "Risk reports", section, &person),
        tab: "reports",
        days: wanted.days(),
        periods: PERIODS,
        query: wanted.query(),
        reports,
    })
}

/// One of them as CSV.
pub(super) async fn csv(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    wanted: web::Query<Wanted>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    let reports = all(&app.db, &wanted).await?;
    let report = reports.iter().find(|report| report.name == name.as_str()).ok_or(AppError::NotFound("This report"))?;
    let head = report.head.iter().map(|&head| head.to_owned()).collect::<Vec<String>>();
    let rows = report.rows.iter().map(|row| row.iter().map(Cell::plain).collect());
    csv_file(&format!("{name}-{}-days.csv", wanted.days()), std::iter::once(head).chain(rows))
}
