//! Officers say what became of an application.

use actix_web::{HttpResponse, web};
use chrono::{NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Refusals};
use crate::{AppError, Result};

use super::super::labels::{self, LabelKind, Source};
use super::page::{self, Typed};

/// The form as sent.
#[derive(Deserialize)]
pub(super) struct Sent {
    kind: LabelKind,
    #[serde(default)]
    known_at: String,
    #[serde(default)]
    note: String,
}

/// Keeps a verdict or an outcome.
pub(super) async fn label(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    sent: web::Form<Sent>,
) -> Result<HttpResponse> {
    person.require(Role::decides_credit)?;
    match keep(&app, &person, *application, &sent).await {
        Ok(()) => Ok(pages::see_other(format!("/credit/{application}#became"))),
        Err(AppError::Invalid(faults)) => {
            page::refused(&app, &person, *application, Typed::default(), Refusals::from(faults)).await
        }
        Err(error) => Err(error),
    }
}

async fn keep(app: &App, person: &Person, application: Uuid, sent: &Sent) -> Result<()> {
    let now = Utc::now();
    let known_at = match sent.known_at.trim() {
        "" => now,
        day => {
            let day: NaiveDate =
                day.parse().map_err(|_| AppError::field("known_at", "Write a day such as 2026-11-24."))?;
            if day > now.date_naive() {
                return Err(AppError::field("known_at", "Write a day that has passed: when did the bank know it?"));
            }
            // The end of that day, at most now: the application may have arrived on it.
            day.and_time(NaiveTime::MIN).and_utc().checked_add_days(chrono::Days::new(1)).unwrap_or(now).min(now)
        }
    };
    let source = Source::Person { id: person.id, actor: person.actor() };
    let mut transaction = app.db.begin().await?;
    labels::record(&mut transaction, application, sent.kind, &source, known_at, &sent.note).await?;
    transaction.commit().await?;
    Ok(())
}
