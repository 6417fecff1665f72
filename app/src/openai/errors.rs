//! Errors in the protocol's shape: `{"error": {"message", "type", "param", "code"}}`.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use candor_engine::generation::Error;
use serde_json::{Value, json};

use crate::AppError;
use crate::error::Problem;

/// Rewrites every problem document of the inner services.
///
/// # Errors
/// Those of the inner services, with their answer rewritten.
pub(super) async fn in_their_shape<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    // The request is not kept meanwhile: the router writes into it, and may as long as nobody else holds it.
    let response = match next.call(request).await {
        Ok(response) => response,
        Err(error) => {
            let answer = rewrite(error.error_response());
            return Err(InternalError::from_response(error, answer).into());
        }
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        let (request, response) = response.into_parts();
        let answer = rewrite(response.map_into_boxed_body());
        return Ok(ServiceResponse::new(request, answer).map_into_right_body());
    }
    Ok(response.map_into_left_body())
}

fn rewrite(response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.unwrap_or_else(|| match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => AppError::BadRequest("This address has another method.".to_owned()).problem(),
        StatusCode::NOT_FOUND => AppError::NotFound("This address").problem(),
        status => AppError::BadRequest(status.to_string()).problem(),
    });
    let status = response.status();
    let body = body(status, &problem);
    let mut response = response.map_body(|_, _| BoxBody::new(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(CONTENT_LENGTH);
    response
}

fn body(status: StatusCode, problem: &Problem) -> Value {
    let (kind, code) = match status {
        StatusCode::UNAUTHORIZED => ("authentication_error", Some("invalid_api_key")),
        StatusCode::FORBIDDEN => ("permission_error", None),
        StatusCode::NOT_FOUND => ("invalid_request_error", Some("model_not_found")),
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("rate_limit_exceeded")),
        StatusCode::SERVICE_UNAVAILABLE => ("overloaded_error", None),
        status if status.is_server_error() => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let field = problem.errors.first();
    let message = field.map_or_else(|| problem.detail.clone(), |field| field.message.clone());
    json!({ "error": { "message": message, "type": kind, "param": field.map(|field| &field.field), "code": code } })
}

/// An error of the generator as one of the web application.
pub(super) fn refused(error: Error) -> AppError {
    match error {
        Error::Overloaded { retry_after } => AppError::Overloaded { retry_after_s: retry_after.as_secs().max(1) },
        Error::TooLong { .. } => AppError::field("messages", error.to_string()),
        Error::Invalid(reason) => AppError::BadRequest(reason),
        Error::Stopped => AppError::Unavailable(error.to_string()),
        Error::Remote(_) => AppError::Unavailable(error.to_string()),
        Error::Model(reason) => AppError::Internal(reason),
    }
}

/// An error in the middle of a stream, whose status is long sent.
pub(super) fn in_stream(error: Error) -> Value {
    let error = refused(error);
    body(error.status_code(), &error.problem())
}
