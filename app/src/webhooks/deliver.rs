//! The job that posts one event to one webhook.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::jobs::{Failure, Handler, Job};

use super::{JOB, signature};

/// Delivers webhooks. Anything but a 2xx answer within ten seconds is a failure and is tried again.
pub struct Deliver {
    http: LazyLock<Result<reqwest::Client, String>>,
}

impl Default for Deliver {
    fn default() -> Self {
        Self { http: LazyLock::new(client) }
    }
}

/// Redirects are not followed: a signed event goes where it was registered.
fn client() -> Result<reqwest::Client, String> {
    // Another part of the process may have chosen the provider before: then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(Policy::none())
        .user_agent(concat!("Candor/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}

impl Deliver {
    async fn post(&self, delivery: &Delivery) -> Result<u16, (Option<u16>, String)> {
        let body = json!({
            "type": delivery.kind,
            "timestamp": delivery.happened_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "data": delivery.payload,
        })
        .to_string();
        let timestamp = Utc::now().timestamp();
        let id = delivery.event_id.to_string();
        let signature = signature::sign(&delivery.secret, &id, timestamp, &body)
            .ok_or_else(|| (None, "the webhook's secret is malformed".to_owned()))?;
        let http = self.http.as_ref().map_err(|error| (None, error.clone()))?;
        let answer = http
            .post(&delivery.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            .map_err(|error| (None, error.without_url().to_string()))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() { Ok(status) } else { Err((Some(status), format!("answered {status}"))) }
    }
}

/// The payload of the job.
#[derive(Deserialize)]
struct Payload {
    delivery: Uuid,
}

struct Delivery {
    id: Uuid,
    event_id: Uuid,
    kind: String,
    payload: Value,
    happened_at: DateTime<Utc>,
    url: String,
    secret: String,
}

#[async_trait]
impl Handler for Deliver {
    fn kind(&self) -> &'static str {
        JOB
    }

    async fn run(&self, app: &App, job: &Job) -> Result<(), Failure> {
        let Payload { delivery } =
            serde_json::from_value(job.payload.clone()).map_err(|error| Failure::give_up(error.to_string()))?;
        let found = sqlx::query_as!(
            Delivery,
            r#"select d.id, d.event_id, e.kind, e.payload, e.created_at as happened_at, w.url, w.secret
               from webhook_deliveries d
               join webhook_events e on e.id = d.event_id
               join webhooks w on w.id = d.webhook_id
               where d.id = $1 and d.delivered_at is null and w.active"#,
            delivery,
        )
        .fetch_optional(&app.db)
        .await?;
        // Delivered before, or the webhook was stopped: nothing is left to do.
        let Some(delivery) = found else { return Ok(()) };
        let (status, error) = match self.post(&delivery).await {
            Ok(status) => (Some(status), None),
            Err((status, error)) => (status, Some(error)),
        };
        sqlx::query!(
            "update webhook_deliveries
             set attempts = attempts + 1, status = $2, last_error = $3,
                 delivered_at = case when $3::text is null then now() end
             where id = $1",
            delivery.id,
            status.and_then(|status| i16::try_from(status).ok()),
            error,
        )
        .execute(&app.db)
        .await?;
        error.map_or(Ok(()), |error| Err(Failure::retry(error)))
    }
}
