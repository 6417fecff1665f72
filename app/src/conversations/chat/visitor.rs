//! The browser of a customer: a random cookie whose SHA-256 is stored with its conversations.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::{HttpRequest, HttpResponse};

use crate::accounts::{random_token, token_hash};
use crate::{AppError, Result};

/// Name of the cookie.
const VISITOR_COOKIE: &str = "candor_visitor";
/// How long a browser finds its conversation again.
const KEPT_FOR: Duration = Duration::days(90);
/// Length of a token: 256 bits in base64.
const TOKEN_CHARS: usize = 43;

/// A browser.
pub(super) struct Visitor {
    hash: [u8; 32],
    /// The token, where it was made just now and the browser does not hold it yet.
    fresh: Option<String>,
}

impl Visitor {
    /// The browser behind a request; one that was never here gets a token with [`Visitor::greet`].
    pub(super) fn of(request: &HttpRequest) -> Self {
        match Self::known(request) {
            Some(visitor) => visitor,
            None => {
                let token = random_token();
                Self { hash: token_hash(&token), fresh: Some(token) }
            }
        }
    }

    /// The browser behind a request, if it was here before.
    pub(super) fn known(request: &HttpRequest) -> Option<Self> {
        let cookie = request.cookie(VISITOR_COOKIE)?;
        (cookie.value().len() == TOKEN_CHARS).then(|| Self { hash: token_hash(cookie.value()), fresh: None })
    }

    /// What is stored of it.
    pub(super) fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Its name among the limits.
    pub(super) fn limit_key(&self, what: &str) -> String {
        format!("chat-{what}:{}", hex::encode(self.hash))
    }

    /// Gives a new browser its cookie along with an answer.
    pub(super) fn greet(&self, answer: &mut HttpResponse, secure: bool) -> Result<()> {
        let Some(token) = &self.fresh else { return Ok(()) };
        let cookie = Cookie::build(VISITOR_COOKIE, token.clone())
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(secure)
            .max_age(KEPT_FOR)
            .finish();
        answer.add_cookie(&cookie).map_err(|error| AppError::Internal(error.to_string()))
    }
}
