//! Requests that change something must come from our own pages.
//!
//! Browsers say where a request comes from (`Sec-Fetch-Site`, and `Origin` where that is missing). A request with
//! neither was not made by a page of another site, so there is nothing to forge. The API carries its own tokens,
//! never cookies, and is exempt.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use actix_web::middleware::Next;
use actix_web::web;

use crate::AppError;
use crate::app::App;

/// Refuses cross-origin requests that are not safe (403).
///
/// # Errors
/// What the inner service answers with.
pub async fn same_origin<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let by_token = ["/api/", "/v1/"].iter().any(|api| request.path().starts_with(api));
    if !safe && !by_token {
        let public = request.app_data::<web::Data<App>>().and_then(|app| app.config.public_url.clone());
        if !from_here(request.headers(), public.as_deref()) {
            let refusal = AppError::Forbidden("This request came from another site.".to_owned());
            return Ok(request.error_response(refusal).map_into_right_body());
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Whether the headers say that our own page, or no page at all, sent the request.
fn from_here(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return true };
    let authority = |url: &str| url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
    let Some(origin) = authority(origin) else { return false };
    let host = text(HOST.as_str()).map(str::to_owned);
    Some(&origin) == host.as_ref() || Some(origin) == public_url.and_then(authority)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_our_own_pages_may_change_things() {
        for right in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("host", "bank.example:8080"), ("origin", "http://bank.example:8080")],
        ] {
            assert!(from_here(&headers(right), None), "{right:?}");
        }
        for wrong in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("host", "a.example"), ("origin", "http://a.example")],
            &[("host", "bank.example"), ("origin", "https://evil.example")],
            &[("host", "bank.example"), ("origin", "null")],
            &[("host", "bank.example:8080"), ("origin", "http://bank.example:9090")],
        ] {
            assert!(!from_here(&headers(wrong), None), "{wrong:?}");
        }
        let behind_a_proxy = headers(&[("host", "10.0.0.7:8080"), ("origin", "https://bank.example")]);
        assert!(from_here(&behind_a_proxy, Some("https://bank.example/")));
        assert!(!from_here(&behind_a_proxy, Some("https://other.example")));
    }
}
