//! `/manage/reports`

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgPool;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame};

use super::sheet::{Sheet, frame};
use super::{conversations, credit};

/// Periods to choose from, in days.
const PERIODS: [i32; 4] = [7, 30, 90, 365];

#[derive(Template)]
#[template(path = "reports/reports.html")]
struct ReportsPage {
    frame: Frame,
    tab: &'static str,
    sheet: Sheet,
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

async fn sheet(db: &PgPool, period: &Period) -> Result<Sheet> {
    let days = period.days();
    let [contained, verified] = conversations::outcomes(db, days).await?;
    let reports = vec![
        contained,
        verified,
        conversations::hand_offs(db, days).await?,
        conversations::moods(db, days).await?,
        conversations::satisfaction(db, days).await?,
        conversations::first_responses(db, days).await?,
        conversations::intents(db, days).await?,
        credit::outcomes(db, days).await?,
        credit::overrides(db, days).await?,
    ];
    Ok(Sheet { path: "/manage/reports", days, periods: &PERIODS, rest: String::new(), reports })
}

/// All reports on one page.
pub(super) async fn page(app: web::Data<App>, person: Person, period: web::Query<Period>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    pages::html(&ReportsPage {
        frame: frame(&app, "Reports", &person),
        tab: "reports",
        sheet: sheet(&app.db, &period).await?,
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
    sheet(&app.db, &period).await?.csv(&name)
}
