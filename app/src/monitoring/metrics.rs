//! Prometheus metrics. Durations in seconds, sizes in bytes, counts as totals; no label names a person.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use candor_engine::dialogue::saying::Saying;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder};

use crate::app::App;
use crate::{AppError, Result, jobs};

use super::generation;

/// From a cached page to a slow answer.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What the program counts as it happens.
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
}

impl Metrics {
    /// Counters at zero.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = HistogramVec::new(
            HistogramOpts::new("candor_http_request_duration_seconds", "Time until the answer's head was ready.")
                .buckets(BUCKETS.to_vec()),
            &["method", "route", "status"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { registry, requests })
    }

    /// Counts one request. `route` is the pattern, not the path: paths hold identifiers.
    pub(super) fn request(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).observe(seconds);
    }
}

/// Families for what other parts count themselves, filled at each scrape.
struct Scrape(Registry);

impl Scrape {
    fn total(&self, name: &str, help: &str, values: &[(&[(&str, &str)], u64)]) -> Result<(), prometheus::Error> {
        let labels = label_names(values);
        let counter = IntCounterVec::new(Opts::new(name, help), &labels)?;
        for (pairs, value) in values {
            let texts: Vec<_> = pairs.iter().map(|(_, text)| *text).collect();
            counter.with_label_values(&texts).inc_by(*value);
        }
        self.0.register(Box::new(counter))
    }

    fn now(&self, name: &str, help: &str, values: &[(&[(&str, &str)], usize)]) -> Result<(), prometheus::Error> {
        let labels = label_names(values);
        let gauge = IntGaugeVec::new(Opts::new(name, help), &labels)?;
        for (pairs, value) in values {
            let texts: Vec<_> = pairs.iter().map(|(_, text)| *text).collect();
            gauge.with_label_values(&texts).set(i64::try_from(*value).unwrap_or(i64::MAX));
        }
        self.0.register(Box::new(gauge))
    }
}

fn label_names<'a, T>(values: &[(&[(&'a str, &str)], T)]) -> Vec<&'a str> {
    values.first().map(|(pairs, _)| pairs.iter().map(|(name, _)| *name).collect()).unwrap_or_default()
}

/// `/metrics`
pub(super) async fn show(app: web::Data<App>) -> Result<HttpResponse> {
    let internal = |error: prometheus::Error| AppError::Internal(error.to_string());
    let mut families = app.metrics.registry.gather();
    families.extend(scrape(&app).await.map_err(internal)?);
    let text = TextEncoder::new().encode_to_string(&families).map_err(internal)?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).body(text))
}

async fn scrape(app: &App) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let scrape = Scrape(Registry::new());
    scrape.now("candor_build_info", "The running version.", &[(&[("version", env!("CARGO_PKG_VERSION"))], 1)])?;

    let idle = app.db.num_idle();
    let open = usize::try_from(app.db.size()).unwrap_or(usize::MAX);
    scrape.now(
        "candor_database_connections",
        "Connections to Postgres.",
        &[(&[("state", "idle")], idle), (&[("state", "used")], open.saturating_sub(idle))],
    )?;
    scrape.now("candor_live_connections", "Open streams of events to browsers.", &[(&[], app.live.listeners())])?;
    if let Some(redis) = &app.redis {
        scrape.now("candor_redis_up", "Whether Redis answered last time.", &[(&[], usize::from(redis.works()))])?;
    }
    // Without the database its own numbers are missing; the others are still worth having.
    if let Ok(queue) = jobs::waiting(&app.db).await {
        let count = |number: i64| usize::try_from(number).unwrap_or(0);
        scrape.now(
            "candor_jobs",
            "Jobs in the queue.",
            &[
                (&[("state", "open")], count(queue.open)),
                (&[("state", "due")], count(queue.due)),
                (&[("state", "failed")], count(queue.failed)),
            ],
        )?;
    }
    engine(&scrape, app)?;
    if let Some(saying) = &app.saying {
        said(&scrape, saying)?;
    }
    let mut families = scrape.0.gather();
    if let Some(counted) = app.generator.as_ref().and_then(|generator| generator.metrics()) {
        families.extend(generation::families(&counted));
    }
    Ok(families)
}

/// What the assistant said in the generator's words, and what the check refused, by cause.
fn said(scrape: &Scrape, saying: &Saying) -> Result<(), prometheus::Error> {
    let (replies, summaries) = (saying.figures(), saying.summary_figures());
    let mut outcomes = Vec::new();
    for (kind, figures) in [("reply", &replies), ("summary", &summaries)] {
        outcomes.push(([("kind", kind), ("outcome", "said")], figures.said));
        outcomes.extend(figures.fallbacks.iter().map(|(cause, count)| ([("kind", kind), ("outcome", *cause)], *count)));
    }
    let values: Vec<_> = outcomes.iter().map(|(pairs, count)| (&pairs[..], *count)).collect();
    let help = "Replies and summaries asked of the generator: said, or why the flow's own wording was used.";
    scrape.total("candor_saying_total", help, &values)?;
    let help = "Replies of the generator that were word for word the flow's own.";
    scrape.total("candor_saying_alike_total", help, &[(&[], replies.alike)])
}

fn engine(scrape: &Scrape, app: &App) -> Result<(), prometheus::Error> {
    let load = app.engine.load_metrics();
    scrape.now("candor_engine_queue_length", "Texts that wait to be understood.", &[(&[], load.queue_length)])?;
    scrape.now("candor_engine_queue_capacity", "Texts that may wait.", &[(&[], load.queue_capacity)])?;
    for (name, help, value) in [
        ("candor_engine_refused_total", "Texts refused because the queue was full.", load.refused),
        ("candor_engine_abandoned_total", "Texts whose caller went away before their turn.", load.abandoned),
        ("candor_engine_batches_total", "Batches run.", load.batches),
        ("candor_engine_texts_total", "Texts in those batches.", load.texts),
        ("candor_engine_tokens_total", "Tokens in those batches.", load.tokens),
    ] {
        scrape.total(name, help, &[(&[], value)])?;
    }
    let names: Vec<_> = load
        .expert_load
        .iter()
        .enumerate()
        .flat_map(|(layer, experts)| {
            experts.iter().enumerate().map(move |(expert, tokens)| (layer.to_string(), expert.to_string(), *tokens))
        })
        .collect();
    let labels: Vec<_> = names.iter().map(|(layer, expert, _)| [("layer", &**layer), ("expert", &**expert)]).collect();
    let values: Vec<_> = labels.iter().zip(&names).map(|(pairs, (_, _, tokens))| (&pairs[..], *tokens)).collect();
    if values.is_empty() {
        return Ok(());
    }
    scrape.total("candor_engine_expert_tokens_total", "Tokens sent to each expert.", &values)
}
