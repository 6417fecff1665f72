//! A line, a measurement and an identifier for every request.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;

/// The header that carries the identifier, from a proxy to us and from us to the caller.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its identifier, measures it, and logs how it went. Log lines written on the way carry the
/// identifier. Neither path nor query is logged: both may hold what belongs to a customer.
///
/// # Errors
/// What the inner service answers with.
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let start = Instant::now();
    let id = given_id(&request).unwrap_or_else(|| Uuid::now_v7().to_string());
    let method = method_name(request.method());
    let app = request.app_data::<web::Data<App>>().cloned();
    let span = tracing::info_span!("request", id);
    let mut answer = next.call(request).instrument(span.clone()).await;

    let (route, status) = match &mut answer {
        Ok(response) => {
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            let route = response.request().match_pattern();
            (route.unwrap_or_else(|| "none".to_owned()), response.status().as_u16())
        }
        Err(error) => ("none".to_owned(), error.as_response_error().status_code().as_u16()),
    };
    let elapsed = start.elapsed();
    if let Some(app) = app {
        app.metrics.request(method, &route, status, elapsed.as_secs_f64());
    }
    let duration_ms = elapsed.as_micros() / 1000;
    let _entered = span.enter();
    if status >= 500 {
        tracing::error!(target: "candor::requests", method, route, status, duration_ms, "request failed");
    } else {
        tracing::info!(target: "candor::requests", method, route, status, duration_ms, "request");
    }
    answer
}

/// An identifier from a proxy in front of us, if it is one.
fn given_id(request: &ServiceRequest) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| id.to_owned())
}

/// Methods are a label of metrics, so callers must not be able to invent them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
