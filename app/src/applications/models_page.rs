//! `/manage/models`: the model in force, with its card.

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::SHIPPED_CARD;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::knowledge::to_html;
use crate::pages::{self, Frame};
use crate::server::App;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/manage/models", web::get().to(page));
}

#[derive(Template)]
#[template(path = "credit/models.html")]
struct ModelsPage {
    frame: Frame,
    tab: &'static str,
    version: String,
    sha256: String,
    description: String,
    trees: usize,
    inputs: Vec<(String, String, String)>,
    slope: f64,
    intercept: f64,
    baseline: String,
    /// The card as HTML.
    card: Option<String>,
}

async fn page(app: web::Data<App>, person: Person) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let model = app.engine.risk();
    let calibration = model.calibration();
    // A card belongs to one file: it names its hash.
    let own =
        app.config.weights.as_ref().and_then(|folder| std::fs::read_to_string(folder.join("risk/README.md")).ok());
    let card = [own.as_deref(), Some(SHIPPED_CARD)].into_iter().flatten().find(|card| card.contains(model.sha256()));
    pages::html(&ModelsPage {
        frame: Frame::staff(
            &app.config.bank_name,
            "Risk model",
            if person.role.manages() { "manage" } else { "credit" },
            &person,
        ),
        tab: "models",
        version: model.version().to_owned(),
        sha256: model.sha256().to_owned(),
        description: model.description().to_owned(),
        trees: model.ensemble().trees().len(),
        inputs: model
            .features()
            .iter()
            .map(|feature| (feature.factor.label.clone(), feature.factor.name.clone(), feature.usual_in_words()))
            .collect(),
        slope: calibration.slope,
        intercept: calibration.intercept,
        baseline: super::review::log_odds(model.baseline()),
        card: card.map(to_html),
    })
}
