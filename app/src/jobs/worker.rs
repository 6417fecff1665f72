//! The task that takes jobs and has them done.

use std::time::Duration;

use actix_web::web;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;
use crate::app::App;

use super::queue::{self, CHANNEL};
use super::{Failure, Handler, Handlers, Job, Retry};

/// Jobs done at the same time by one replica. They wait for others' servers most of the time.
const AT_ONCE: usize = 8;
/// How often the queue is looked at when nobody announces a job: retries and other replicas' leases become due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Beyond a handler's time limit, so that a slow run is never taken twice.
const LEASE: Duration = Duration::from_secs(15 * 60);
/// How long a done job can still be looked up.
const KEEP_DAYS: i32 = 7;
/// How often done jobs are removed.
const CLEAR_EVERY: Duration = Duration::from_secs(60 * 60);

/// A running worker.
pub struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Takes no more jobs, waits for those that run (at most `patience`), then ends.
    pub async fn stop(self, patience: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::warn!("jobs were still running at the end; they will run again");
        }
    }
}

/// Starts a worker on the current runtime.
#[must_use]
pub fn start(app: web::Data<App>, handlers: Handlers) -> Worker {
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(work(app, handlers, stopped));
    Worker { stop, task }
}

async fn work(app: web::Data<App>, handlers: Handlers, mut stopped: watch::Receiver<bool>) {
    let kinds = handlers.kinds();
    let mut running = JoinSet::new();
    let mut listener = None;
    let mut clear = tokio::time::interval(CLEAR_EVERY);
    while !*stopped.borrow() {
        if listener.is_none() {
            listener = listen(&app).await;
        }
        take_due(&app, &handlers, &kinds, &mut running).await;
        tokio::select! {
            _ = stopped.changed() => {}
            Some(_) = running.join_next(), if !running.is_empty() => {}
            heard = hear(&mut listener) => if !heard { listener = None },
            _ = clear.tick() => if let Err(error) = queue::clear(&app.db, KEEP_DAYS).await {
                tracing::warn!(%error, "done jobs could not be removed");
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    drop(listener);
    while running.join_next().await.is_some() {}
}

async fn listen(app: &App) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&app.db).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Waits for an announcement; without a listener, for ever: the caller also looks by the clock.
async fn hear(listener: &mut Option<PgListener>) -> bool {
    match listener {
        Some(listener) => matches!(listener.try_recv().await, Ok(Some(_))),
        None => std::future::pending().await,
    }
}

async fn take_due(app: &web::Data<App>, handlers: &Handlers, kinds: &[String], running: &mut JoinSet<()>) {
    while running.len() < AT_ONCE {
        match queue::take(&app.db, kinds, LEASE).await {
            Ok(Some(job)) => {
                let Some(handler) = handlers.get(&job.kind) else { return };
                let app = app.clone();
                running.spawn(async move {
                    if let Err(error) = run(&app, handler.as_ref(), &job).await {
                        tracing::error!(job = job.id, kind = job.kind, %error, "a job's outcome could not be stored");
                    }
                });
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = ?error, "the queue could not be read");
                return;
            }
        }
    }
}

async fn run(app: &App, handler: &dyn Handler, job: &Job) -> Result<()> {
    let limit = handler.time_limit().min(LEASE / 2);
    let done = if job.attempt > handler.attempts() {
        // Earlier runs ended without an outcome: a job that kills its worker must not do so for ever.
        Err(Failure::give_up("earlier runs never ended"))
    } else {
        match tokio::time::timeout(limit, handler.run(app, job)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::retry(format!("not done within {} s", limit.as_secs()))),
        }
    };
    let Err(failure) = done else {
        return queue::finish(&app.db, job.id).await;
    };
    let pause = match failure.retry {
        Retry::Never => None,
        _ if job.attempt >= handler.attempts() => None,
        Retry::After(pause) => Some(pause),
        Retry::Backoff => Some(handler.backoff(job.attempt)),
    };
    tracing::warn!(
        job = job.id,
        kind = job.kind,
        attempt = job.attempt,
        retry_in_s = pause.map(|pause| pause.as_secs()),
        cause = failure.message,
        "a job failed"
    );
    queue::fail(&app.db, job.id, &failure.message, pause).await?;
    if pause.is_none() {
        handler.given_up(app, job, &failure).await;
    }
    Ok(())
}
