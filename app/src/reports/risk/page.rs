//! `/manage/reports/risk`: scores, whether they are true, labels, overrides.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgPool;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame};

use super::sheet::{Sheet, frame};
use super::{PERIODS, credit, scores};

/// What is shown, from the address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    days: Option<i32>,
}

#[derive(Template)]
#[template(path = "reports/scores.html")]
struct ScoresPage {
    frame: Frame,
    tab: &'static str,
    view: &'static str,
    sheet: Sheet,
}

async fn sheet(db: &PgPool, asked: &Asked) -> Result<Sheet> {
    let days = super::period(asked.days);
    let reports = vec![
        scores::histogram(db, days).await?,
        scores::calibration(db, days).await?,
        scores::label_delay(db, days).await?,
        credit::overrides(db, days).await?,
        scores::overrides_by_version(db, days).await?,
    ];
    Ok(Sheet { path: "/manage/reports/risk", days, periods: &PERIODS, rest: String::new(), reports })
}

/// All of them on one page, readable in print.
pub(super) async fn page(app: web::Data<App>, person: Person, asked: web::Query<Asked>) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    pages::html(&ScoresPage {
        frame: frame(&app, "Risk reports", &person),
        tab: "reports",
        view: "scores",
        sheet: sheet(&app.db, &asked).await?,
    })
}

/// One of them as CSV.
pub(super) async fn csv(
    app: web::Data<App>,
    person: Person,
    name: web::Path<String>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse> {
    person.require(Role::reads_audit)?;
    sheet(&app.db, &asked).await?.csv(&name)
}
