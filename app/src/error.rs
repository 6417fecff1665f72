//! One error for the web application.
//!
//! Handlers return [`AppError`]; it becomes RFC 9457 problem+json for the API, and [`crate::pages::error_pages`]
//! turns the same problem into a page for people. Database constraints become answers through
//! [`OnConstraint::on_constraint`], by the constraint's name, never by the message's text.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use thiserror::Error;

/// The result of a handler.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// One refused input field.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as the form or the JSON body spells it.
    pub field: String,
    /// What would be right, in a sentence.
    pub message: String,
}

impl FieldError {
    /// A refusal of `field` because of `message`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a request was not served.
#[derive(Debug, Error)]
pub enum AppError {
    /// Input refused at the door (422).
    #[error("some fields need another look")]
    Invalid(Vec<FieldError>),
    /// The request itself makes no sense (400).
    #[error("{0}")]
    BadRequest(String),
    /// Nobody is signed in (401; pages redirect to sign-in).
    #[error("please sign in first")]
    SignInNeeded,
    /// The API was called without a valid access token (401).
    #[error("a valid access token is needed: see /api/v1/oauth/token")]
    TokenNeeded,
    /// Signed in, but not allowed (403).
    #[error("{0}")]
    Forbidden(String),
    /// There is nothing here (404).
    #[error("{0} was not found")]
    NotFound(&'static str),
    /// The state of things does not allow it (409).
    #[error("{0}")]
    Conflict(String),
    /// Too many requests (429).
    #[error("too many requests; try again in {retry_after_s} s")]
    RateLimited {
        /// Seconds until the next request may pass.
        retry_after_s: u64,
    },
    /// A part that is needed is busy or away (503).
    #[error("{0}")]
    Unavailable(String),
    /// Too many others wait for the same part (503).
    #[error("too many requests are waiting; try again in {retry_after_s} s")]
    Overloaded {
        /// Seconds after which a place is likely free.
        retry_after_s: u64,
    },
    /// The database failed.
    #[error("the database did not answer as expected")]
    Database(#[from] sqlx::Error),
    /// A template failed to render.
    #[error("the page could not be rendered")]
    Render(#[from] askama::Error),
    /// A stored or sent JSON value does not have the expected shape.
    #[error("a stored value could not be read")]
    Json(#[from] serde_json::Error),
    /// Anything else that is our fault.
    #[error("{0}")]
    Internal(String),
}

impl AppError {
    /// A refusal of one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// The problem as sent to the caller. Internal causes stay in the log.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (kind, title) = match self {
            Self::Invalid(_) => ("invalid", "Some fields need another look"),
            Self::BadRequest(_) => ("bad-request", "The request could not be understood"),
            Self::SignInNeeded => ("sign-in-needed", "Please sign in"),
            Self::TokenNeeded => ("token-needed", "An access token is needed"),
            Self::Forbidden(_) => ("forbidden", "Not allowed"),
            Self::NotFound(_) => ("not-found", "Not found"),
            Self::Conflict(_) => ("conflict", "That does not fit the present state"),
            Self::RateLimited { .. } => ("rate-limited", "Too many requests"),
            Self::Unavailable(_) => ("unavailable", "Not available right now"),
            Self::Overloaded { .. } => ("overloaded", "Too much to do right now"),
            Self::Database(_) | Self::Render(_) | Self::Json(_) | Self::Internal(_) => {
                ("internal", "Something went wrong on our side")
            }
        };
        let detail = match self {
            Self::Database(_) | Self::Render(_) | Self::Json(_) | Self::Internal(_) => {
                "Nothing was lost. Please try again; if it happens again, tell your administrator.".to_owned()
            }
            other => other.to_string(),
        };
        let errors = match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        };
        Problem {
            kind: format!("urn:candor:problem:{kind}"),
            title: title.to_owned(),
            status: self.status_code().as_u16(),
            detail,
            errors,
        }
    }
}

/// An RFC 9457 problem document.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URN that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Refused fields, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub errors: Vec<FieldError>,
}

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::SignInNeeded | Self::TokenNeeded => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::Overloaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(_) | Self::Render(_) | Self::Json(_) | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn error_response(&self) -> HttpResponse {
        if self.status_code().is_server_error() {
            tracing::error!(error = ?self, "request failed");
        }
        let problem = self.problem();
        let mut answer = HttpResponse::build(self.status_code());
        answer.content_type("application/problem+json");
        match self {
            Self::RateLimited { retry_after_s } | Self::Overloaded { retry_after_s } => {
                answer.insert_header((header::RETRY_AFTER, retry_after_s.to_string()));
            }
            Self::Unavailable(_) => {
                answer.insert_header((header::RETRY_AFTER, "2"));
            }
            Self::TokenNeeded => {
                answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            _ => {}
        }
        let mut answer = answer.body(serde_json::to_vec(&problem).unwrap_or_default());
        answer.extensions_mut().insert(problem);
        answer
    }
}

/// Turns a violated database constraint into an answer.
pub trait OnConstraint<T> {
    /// If the error is a violation of the constraint called `name`, answers with `answer`.
    ///
    /// # Errors
    /// The mapped error, or the original one.
    fn on_constraint(self, name: &str, answer: impl FnOnce() -> AppError) -> Result<T>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint(self, name: &str, answer: impl FnOnce() -> AppError) -> Result<T> {
        self.map_err(|error| match &error {
            sqlx::Error::Database(cause) if cause.constraint() == Some(name) => answer(),
            _ => AppError::Database(error),
        })
    }
}
