//! What an application's page shows in tables, as CSV.

use actix_web::{HttpResponse, web};
use uuid::Uuid;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::csv_file;

use super::super::assessments::{self, StoredAssessment};
use super::super::{Application, application, precedents};

/// Every factor of the newest assessment as CSV.
pub(super) async fn factors(app: web::Data<App>, person: Person, application: web::Path<Uuid>) -> Result<HttpResponse> {
    let (application, stored) = newest(&app, &person, *application).await?;
    let header = ["factor", "label", "value", "usual", "contribution_log_odds", "in_words"].map(str::to_owned).to_vec();
    let rows = std::iter::once(header).chain(stored.assessment.attributions.into_iter().map(|part| {
        vec![part.factor, part.label, part.value, part.usual, part.contribution.to_string(), part.in_words]
    }));
    csv_file(&format!("application-{}-factors.csv", application.number), rows)
}

/// The similar past cases as CSV.
pub(super) async fn similar(app: web::Data<App>, person: Person, application: web::Path<Uuid>) -> Result<HttpResponse> {
    let (application, stored) = newest(&app, &person, *application).await?;
    let header = ["application", "received_at", "distance_log_odds", "probability", "decided", "became"];
    let rows = precedents::precedents(&app.db, &stored).await?.into_iter().map(|case| {
        vec![
            case.number.to_string(),
            case.received_at.to_rfc3339(),
            case.distance.to_string(),
            case.probability.to_string(),
            case.status.as_str().to_owned(),
            case.label.map_or_else(String::new, |label| label.as_str().to_owned()),
        ]
    });
    let rows = std::iter::once(header.map(str::to_owned).to_vec()).chain(rows);
    csv_file(&format!("application-{}-similar.csv", application.number), rows)
}

/// An application and its newest assessment, for a person who may read them.
async fn newest(app: &App, person: &Person, application: Uuid) -> Result<(Application, StoredAssessment)> {
    person.require(Role::reads_credit)?;
    let mut connection = app.db.acquire().await?;
    let application = application::find(&mut *connection, application).await?;
    let stored = assessments::latest(&mut connection, application.id).await?;
    Ok((application, stored))
}
