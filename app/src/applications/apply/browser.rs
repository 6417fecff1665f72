//! What an applicant's browser carries: the draft's token, and a mark of the device.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse};

use crate::accounts::{random_token, token_hash};
use crate::app::App;
use crate::{AppError, Result};

use super::drafts::{self, Draft};

/// Opens the draft.
const DRAFT_COOKIE: &str = "candor_application";
/// Tells devices apart, so that rings of applications can be seen; its hash is all that is kept.
const DEVICE_COOKIE: &str = "candor_device";
/// How long a draft is found again when its applicant asked for it.
const DRAFT_DAYS: Duration = Duration::days(30);
/// How long a device is known.
const DEVICE_DAYS: Duration = Duration::days(365);
/// Length of a token: 256 bits in base64.
const TOKEN_CHARS: usize = 43;

fn token(request: &HttpRequest, name: &str) -> Option<String> {
    request.cookie(name).map(|cookie| cookie.value().to_owned()).filter(|token| token.len() == TOKEN_CHARS)
}

/// The draft that this browser works on.
pub(super) async fn draft(app: &App, request: &HttpRequest) -> Result<Option<Draft>> {
    match token(request, DRAFT_COOKIE) {
        Some(token) => drafts::open(&app.db, &token).await,
        None => Ok(None),
    }
}

/// The mark of the device, when it has one.
pub(super) fn device(request: &HttpRequest) -> Option<String> {
    token(request, DEVICE_COOKIE).map(|token| hex::encode(token_hash(&token)))
}

/// The operating system that the browser names, as the factor `device_os` calls it.
pub(super) fn device_os(request: &HttpRequest) -> Option<String> {
    let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
    // Android names Linux too, and iPhones name Mac OS: the narrower name comes first.
    let known = [
        ("Android", "android"),
        ("iPhone", "ios"),
        ("iPad", "ios"),
        ("Windows", "windows"),
        ("Mac OS", "macos"),
        ("Linux", "linux"),
    ];
    Some(known.iter().find(|(mark, _)| agent.contains(mark)).map_or("other", |(_, os)| os).to_owned())
}

/// Gives the browser its draft, and a mark if it has none.
pub(super) fn give(app: &App, request: &HttpRequest, draft: &Draft, answer: &mut HttpResponse) -> Result<()> {
    let mut cookie = Cookie::build(DRAFT_COOKIE, draft.token.clone())
        .path("/apply")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(app.config.secure_cookies())
        .finish();
    if draft.keep {
        cookie.set_max_age(DRAFT_DAYS);
    }
    answer.add_cookie(&cookie).map_err(|error| AppError::Internal(error.to_string()))?;
    if token(request, DEVICE_COOKIE).is_none() {
        let cookie = Cookie::build(DEVICE_COOKIE, random_token())
            .path("/apply")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(app.config.secure_cookies())
            .max_age(DEVICE_DAYS)
            .finish();
        answer.add_cookie(&cookie).map_err(|error| AppError::Internal(error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn operating_systems_are_told_by_their_narrower_name() {
        let os = |agent: &str| device_os(&TestRequest::default().insert_header((USER_AGENT, agent)).to_http_request());
        assert_eq!(os("Mozilla/5.0 (Linux; Android 15)").as_deref(), Some("android"));
        assert_eq!(os("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)").as_deref(), Some("ios"));
        assert_eq!(os("Mozilla/5.0 (X11; Linux x86_64)").as_deref(), Some("linux"));
        assert_eq!(os("curl/8").as_deref(), Some("other"));
    }
}
