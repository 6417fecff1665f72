//! `/manage/reasons`: the catalogue of reasons, every version.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment, csv_file};
use crate::{AppError, Result};

use super::catalogue::{self, Kept};

pub(in crate::applications) fn routes(config: &mut web::ServiceConfig) {
    config.route("/manage/reasons", web::get().to(page)).route("/manage/reasons.csv", web::get().to(csv));
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    version: Option<i32>,
}

#[derive(Template)]
#[template(path = "credit/reasons.html")]
struct ReasonsPage {
    frame: Frame,
    tab: &'static str,
    versions: Vec<(i32, Moment)>,
    shown: Kept,
}

async fn kept(app: &App, wanted: &Wanted) -> Result<(Vec<(i32, Moment)>, Kept)> {
    let all = catalogue::versions(&app.db).await?;
    let versions = all.iter().map(|one| (one.version, Moment(one.installed_at))).collect();
    let shown = all.into_iter().find(|one| wanted.version.is_none_or(|version| version == one.version));
    Ok((versions, shown.ok_or(AppError::NotFound("This version"))?))
}

async fn page(app: web::Data<App>, person: Person, wanted: web::Query<Wanted>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let (versions, shown) = kept(&app, &wanted).await?;
    let section = if person.role.manages() { "manage" } else { "credit" };
    pages::html(&ReasonsPage {
        frame: Frame::staff(&app.config.bank_name, format!("Reasons, version {}", shown.version), section, &person),
        tab: "policies",
        versions,
        shown,
    })
}

async fn csv(app: web::Data<App>, person: Person, wanted: web::Query<Wanted>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let (_, shown) = kept(&app, &wanted).await?;
    let head = ["code", "label", "en", "zh"].map(str::to_owned).to_vec();
    let rows = shown.lines.into_iter().map(|line| vec![line.code, line.label, line.en, line.zh]);
    csv_file(&format!("reasons-{}.csv", shown.version), std::iter::once(head).chain(rows))
}
