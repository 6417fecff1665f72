//! What is not of any slice: static files, unknown addresses, jobs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use candor::app::App;
use candor::jobs::{self, Failure, Handler, Handlers, Job};
use chrono::Utc;
use serde_json::json;

#[tokio::test]
async fn an_unknown_address_is_a_page_for_people() {
    let app = candor_tests::spawn().await;
    let response = app.visitor().get("/nothing-here").await;
    assert_eq!(response.status(), 404);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(response.text().await.unwrap().contains("This page was not found"));
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let app = candor_tests::spawn().await;
    let visitor = app.visitor();
    assert_eq!(visitor.page("/healthz").await, "ok\n");
    assert_eq!(visitor.json("/readyz").await, json!({ "database": "ok", "engine": "ok" }));
    visitor.get("/nothing-here").await;
    let metrics = visitor.page("/metrics").await;
    for line in [
        r#"candor_http_request_duration_seconds_count{method="GET",route="/healthz",status="200"} 1"#,
        r#"candor_http_request_duration_seconds_count{method="GET",route="none",status="404"} 1"#,
        r#"candor_jobs{state="failed"} 0"#,
        "candor_engine_queue_length 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_lost_database_is_told_within_seconds() {
    let app = candor_tests::spawn().await;
    app.state.db.close().await;
    let response = app.visitor().get("/readyz").await;
    assert_eq!(response.status(), 503);
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["database"], "does not answer");
}

#[tokio::test]
async fn every_answer_tells_browsers_what_not_to_do() {
    let app = candor_tests::spawn().await;
    for path in ["/sign-in", "/nothing-here", "/static/candor.css", "/healthz"] {
        let response = app.visitor().get(path).await;
        let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert!(!header("x-request-id").is_empty(), "{path}");
        let cache = if path.starts_with("/static/") { "no-cache" } else { "no-store" };
        assert_eq!(header("cache-control"), cache, "{path}");
    }
    let request = app.visitor().client.get(app.url("/healthz")).header("x-request-id", "from-the-proxy-7");
    assert_eq!(request.send().await.unwrap().headers()["x-request-id"], "from-the-proxy-7");
}

/// Fails on the first run, and counts.
struct SecondTime;

static RUNS: AtomicU32 = AtomicU32::new(0);

#[async_trait::async_trait]
impl Handler for SecondTime {
    fn kind(&self) -> &'static str {
        "second-time"
    }

    fn backoff(&self, _attempt: u32) -> Duration {
        Duration::from_millis(100)
    }

    async fn run(&self, _app: &App, job: &Job) -> Result<(), Failure> {
        assert_eq!(job.payload, json!({ "n": 1 }));
        RUNS.fetch_add(1, Ordering::SeqCst);
        if job.attempt == 1 { Err(Failure::retry("not yet")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_job_that_failed_runs_again_and_a_rolled_back_one_never() {
    let app = candor_tests::spawn().await;
    let mut transaction = app.db.begin().await.unwrap();
    let id = jobs::enqueue(&mut transaction, "second-time", &json!({ "n": 1 }), Utc::now()).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = app.db.begin().await.unwrap();
    jobs::enqueue(&mut transaction, "second-time", &json!({ "n": 2 }), Utc::now()).await.unwrap();
    transaction.rollback().await.unwrap();

    let worker = jobs::start(app.state.clone(), Handlers::default().with(SecondTime));
    for _ in 0..100 {
        let done: bool = sqlx::query_scalar("select finished_at is not null from jobs where id = $1")
            .bind(id)
            .fetch_one(&app.db)
            .await
            .unwrap();
        if done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.stop(Duration::from_secs(5)).await;
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
    assert_eq!(jobs::waiting(&app.db).await.unwrap(), jobs::Waiting::default());
}
