//! How much one client may ask, and headers that say so (IETF `RateLimit-*`).

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;

use crate::AppError;
use crate::app::App;
use crate::limits::{Quota, caller_address};

use super::client::bearer;

/// Counts a request of the client behind the token, or of the address where there is none.
///
/// # Errors
/// [`AppError::RateLimited`] when there were too many, and what the inner service answers with.
pub async fn limit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let app = request
        .app_data::<web::Data<App>>()
        .cloned()
        .ok_or_else(|| AppError::Internal("the application state is missing".to_owned()))?;
    let token_key = app.token_key().await?;
    let claims = bearer(request.request()).and_then(|token| token_key.verify(token));
    let key = match claims {
        Some(claims) => format!("client:{}", claims.sub),
        None => format!(
            "address:{}",
            caller_address(request.request()).map_or_else(String::new, |address| address.to_string())
        ),
    };
    let verdict = app.limits.take(&key, Quota::per_minute(app.config.api_requests_per_minute)).await;
    verdict.check()?;
    let mut response = next.call(request).await?;
    for (name, value) in verdict.headers() {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
