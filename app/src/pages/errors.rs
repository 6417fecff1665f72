//! Errors as pages for people; the API keeps its problem+json.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, ContentType, LOCATION};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError, web};
use askama::Template;

use crate::app::App;
use crate::error::Problem;
use crate::{AppError, Result};

use super::Frame;

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage {
    frame: Frame,
    problem: Problem,
}

/// Turns a [`Problem`] into a page, or into a redirect to sign-in, where a person asked for one.
///
/// # Errors
/// What the inner service answers with.
pub async fn error_pages<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let wants_page = !request.path().starts_with("/api")
        && request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
    let target = request.uri().to_string();
    let bank = request.app_data::<web::Data<App>>().map_or_else(String::new, |app| app.config.bank_name.clone());
    let response = next.call(request).await?;
    if !wants_page || !(response.status().is_client_error() || response.status().is_server_error()) {
        return Ok(response.map_into_left_body());
    }
    let problem = response.response().extensions().get::<Problem>().cloned();
    let problem = match problem {
        Some(problem) => problem,
        None if response.status() == 404 => AppError::NotFound("This page").problem(),
        None => return Ok(response.map_into_left_body()),
    };
    let status = response.status();
    let answer = if status == 401 {
        let next: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        HttpResponse::SeeOther().insert_header((LOCATION, format!("/sign-in?next={next}"))).finish()
    } else {
        let page = ErrorPage { frame: Frame::public(&bank, problem.title.clone()), problem };
        match page.render() {
            Ok(body) => HttpResponse::build(status).content_type(ContentType::html()).body(body),
            Err(error) => AppError::from(error).error_response(),
        }
    };
    Ok(response.into_response(answer).map_into_right_body())
}
