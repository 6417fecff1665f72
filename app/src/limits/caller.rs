//! Who calls.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, web};

use crate::app::App;

/// The caller's address. Behind a proxy, which a public address implies, it is the last one of `X-Forwarded-For`: the
/// one that the proxy itself saw. Earlier ones are whatever the caller wrote.
#[must_use]
pub fn caller_address(request: &HttpRequest) -> Option<IpAddr> {
    let behind_proxy = request.app_data::<web::Data<App>>().is_some_and(|app| app.config.public_url.is_some());
    let forwarded = if behind_proxy { forwarded_for(request.headers()) } else { None };
    forwarded.or_else(|| request.peer_addr().map(|peer| peer.ip()))
}

fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").last()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_the_address_that_the_proxy_saw_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_for(&headers), None);
        let name = HeaderName::from_static("x-forwarded-for");
        headers.append(name.clone(), HeaderValue::from_static("10.0.0.1"));
        headers.append(name, HeaderValue::from_static("made-up, 198.51.100.7"));
        assert_eq!(forwarded_for(&headers), "198.51.100.7".parse().ok());
    }
}
