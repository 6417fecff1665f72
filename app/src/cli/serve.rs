//! `candor serve`: everything starts in order, says so, and stops in the opposite order.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_web::web;
use candor_engine::dialogue::Refreshed;
use candor_engine::{Engine, Options};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::db::Database;
use crate::server::{handlers, open, serve};
use crate::{demo, jobs, logging};

use super::Failure;

/// Jobs that still run at the end get this long.
const JOBS_END_WITHIN: Duration = Duration::from_secs(10);

/// How soon a changed flow is in force.
const FLOWS_ARE_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Start the program (the default).
///
/// Without DATABASE_URL a private Postgres is started in CANDOR_HOME, and an empty database is filled with a
/// demonstration bank. Ctrl-C or SIGTERM stops everything cleanly.
#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Fill an empty database with the demonstration bank, also where DATABASE_URL is given.
    #[arg(long)]
    demo: bool,
    /// Leave an empty database empty, also where it is the private one.
    #[arg(long, conflicts_with = "demo")]
    empty: bool,
}

impl Serve {
    /// Starts everything and waits until it is told to stop.
    pub(super) fn run(self, config: Config) -> Result<(), Failure> {
        logging::start(&config);
        // Handlers run on the web server's own threads; this runtime has the jobs, the events and the database's start.
        let runtime = tokio::runtime::Runtime::new()?;
        actix_web::rt::System::with_tokio_rt(|| runtime).block_on(self.serve(config))
    }

    async fn serve(self, config: Config) -> Result<(), Failure> {
        let start = Instant::now();
        let mut told = ToldToStop::listen()?;
        // Taken first: an address in use is said before a database is made.
        let listener = TcpListener::bind(config.listen)
            .map_err(|error| Failure::new(format!("listen: {} can not be used: {error}", config.listen)))?;

        let database = tokio::select! {
            opened = Database::open(&config, tell) => opened?,
            () = told.wait() => return Ok(()),
        };
        let served = self.serve_with(config, &database, listener, start, &mut told).await;
        tell("Stopping the database");
        database.close().await;
        served
    }

    async fn serve_with(
        self,
        config: Config,
        database: &Database,
        listener: TcpListener,
        start: Instant,
        told: &mut ToldToStop,
    ) -> Result<(), Failure> {
        let options = Options {
            weights: config.weights.clone(),
            flows: config.engine.flows.clone(),
            intents: config.engine.intents.clone(),
            device: config.engine.device,
            ..Options::default()
        };
        let engine = tokio::task::spawn_blocking(move || Engine::load(&options)).await??;
        tell("Models loaded");

        let app = web::Data::new(open(config, database.pool.clone(), engine).await?);
        let wanted = self.demo || (app.config.database_url.is_none() && !self.empty);
        if wanted && demo::is_empty(&app).await? {
            tokio::select! {
                filled = demo::fill(&app, demo::Size::default(), tell) => filled?,
                () = told.wait() => return Ok(()),
            }
        }
        crate::applications::retention::schedule(&app.db).await?;
        crate::conversations::silence::schedule(&app.db).await?;
        let worker = jobs::start(app.clone(), handlers());
        let flows = app.config.engine.flows.is_some().then(|| tokio::spawn(follow_flows(app.engine.clone())));
        let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let server = serve(app.clone(), listener, threads)?;
        let handle = server.handle();
        let serving = tokio::spawn(server);
        announce(&app, start).await?;

        told.wait().await;
        if let Some(flows) = flows {
            flows.abort();
        }
        tell("Stopping: requests that are under way are finished");
        tokio::spawn(told.end_at_once());
        app.live.close();
        handle.stop(true).await;
        serving.await??;
        worker.stop(JOBS_END_WITHIN).await;
        Ok(())
    }
}

/// Takes changed flows into use; what can not be used is logged with file and line, and changes nothing.
async fn follow_flows(engine: Engine) {
    let mut again = tokio::time::interval(FLOWS_ARE_LOOKED_AT_EVERY);
    loop {
        again.tick().await;
        let look = engine.clone();
        match tokio::task::spawn_blocking(move || look.flows().refresh()).await {
            Ok(Refreshed::Changed) => tracing::info!("the dialogue's flows have changed and are in force"),
            Ok(Refreshed::Refused(problem)) => {
                tracing::error!(%problem, "the dialogue's changed flows can not be used; those before stay in force");
            }
            Ok(Refreshed::Unchanged) | Err(_) => {}
        }
    }
}

/// A line of progress for whoever started the program.
fn tell(line: &str) {
    tracing::info!(target: "candor::progress", "{line}");
}

/// Where the program is, and how to sign in.
async fn announce(app: &App, start: Instant) -> Result<(), Failure> {
    let address = app.config.public_url.clone().unwrap_or_else(|| format!("http://{}", app.config.listen));
    println!("Candor is ready at {address} ({:.1} s)", start.elapsed().as_secs_f64());
    let sign_ins = demo::sign_ins(app).await?;
    if !sign_ins.is_empty() {
        println!("\nDemonstration sign-ins at {address}/sign-in, password {}:", demo::PASSWORD);
        for (email, role) in sign_ins {
            println!("  {email:<28} {}", role.label());
        }
        println!("Customers chat at {address}/ and apply at {address}/apply. Ctrl-C stops everything.");
    }
    Ok(())
}

/// Ctrl-C and SIGTERM.
struct ToldToStop {
    interrupt: Signal,
    terminate: Signal,
}

impl ToldToStop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whoever asks a second time does not want to wait. Nothing acknowledged is lost: Postgres stops by itself.
    fn end_at_once(&self) -> impl Future<Output = ()> + Send + 'static {
        let again = Self::listen();
        async move {
            if let Ok(mut again) = again {
                again.wait().await;
                eprintln!("candor: stopped at once");
                std::process::exit(130);
            }
        }
    }
}
