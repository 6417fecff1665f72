//! Whether the program is alive, and whether it can serve.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;

/// A database that takes longer does not serve anybody.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The process answers. Whoever gets no answer restarts it.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// What requests need.
#[derive(Serialize)]
struct Readiness {
    database: &'static str,
    engine: &'static str,
    /// Absent where no Redis is configured. Without it a replica works on its own: a loss of Redis is shown, and does
    /// not take the replica away.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

/// Requests can be served: 200, or 503 with the part that can not.
pub(super) async fn ready(app: web::Data<App>) -> HttpResponse {
    let query = sqlx::query_scalar::<_, i32>("select 1").fetch_one(&app.db);
    let database = matches!(tokio::time::timeout(ANSWER_WITHIN, query).await, Ok(Ok(1)));
    let load = app.engine.load_metrics();
    let engine = load.queue_length < load.queue_capacity;
    let said = |well: bool, otherwise| if well { "ok" } else { otherwise };
    let body = Readiness {
        database: said(database, "does not answer"),
        engine: said(engine, "queue is full"),
        redis: app.redis.as_ref().map(|link| said(link.works(), "does not answer")),
    };
    if database && engine { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.json(body)
}
