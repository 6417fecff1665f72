//! The OpenAPI 3.1 document, generated from the handlers.

use actix_web::web::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ClientCredentials, Flow, OAuth2, Scopes, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::client::SCOPES;
use super::{applications, contacts, conversations, token, understanding, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Candor",
        description = "Contacts, conversations, loan applications and understanding for a CRM. Errors are RFC 9457 \
                       problem documents. Every POST honours Idempotency-Key for 30 days. Lists are newest first with a cursor."
    ),
    paths(
        token::issue,
        contacts::list,
        contacts::create,
        contacts::read,
        contacts::change,
        conversations::list,
        conversations::start,
        conversations::read,
        conversations::messages,
        conversations::send,
        conversations::hand_off,
        applications::list,
        applications::submit,
        applications::read,
        applications::labels,
        applications::label,
        understanding::understand,
        webhooks::list,
        webhooks::create,
        webhooks::deactivate,
        webhooks::replay,
    ),
    modifiers(&Access),
    security(("oauth" = []))
)]
struct Api;

/// Adds the OAuth 2 scheme with its scopes.
struct Access;

impl Modify for Access {
    fn modify(&self, document: &mut Document) {
        let flow = ClientCredentials::new("/api/v1/oauth/token", Scopes::from_iter(SCOPES.iter().copied()));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("oauth", SecurityScheme::OAuth2(OAuth2::new([Flow::ClientCredentials(flow)])));
    }
}

/// The document as code says it is.
#[must_use]
pub fn document() -> Document {
    Api::openapi()
}

/// `GET /api/openapi.json`
pub(super) async fn serve() -> Json<Document> {
    Json(document())
}
