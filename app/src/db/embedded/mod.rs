//! The private Postgres: a cluster of our own, started as our own child.
//!
//! Only this program reaches it: there is no TCP port, and its socket lies in a folder that nobody else may enter.
//! fsync stays on. The cluster follows the program: it stops when the program stops, and when the program is killed
//! the kernel tells it to stop (`PR_SET_PDEATHSIG`). When the cluster itself is killed it is started again.
//!
//! Layout of the home folder:
//!
//! ```text
//! lock               held while a program uses the folder
//! run/               the socket, mode 0700
//! postgres/15/data   one cluster per major version, for Postgres does not read another version's files
//! postgres/15/log    what Postgres said since its last start
//! ```

mod binaries;
mod cluster;
mod home;
mod identity;
mod leftovers;
mod postmaster;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;

use binaries::Binaries;
use cluster::Cluster;
use home::Home;
use identity::Identity;
use postmaster::Postmaster;

/// The superuser and the database of the cluster.
const NAME: &str = "candor";
/// How long Postgres may take to answer; recovery after a crash replays at most a few minutes of writes.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Why the private Postgres could not be started.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// Nothing to start.
    #[error(
        "no Postgres was found. Install it with `apt-get install postgresql`, or set DATABASE_URL to a server{tried}"
    )]
    NoBinaries {
        /// What was tried beyond the usual places, in words.
        tried: String,
    },
    /// The home folder holds a cluster for which there are no binaries.
    #[error(
        "{home} holds data of Postgres {found}, but the Postgres on this machine is {present}. Install postgresql-{found}, \
         or set CANDOR_HOME to another folder to start with an empty database"
    )]
    OtherVersion {
        /// The home folder.
        home: PathBuf,
        /// Major version of the data.
        found: u32,
        /// Major version of the binaries.
        present: u32,
    },
    /// Another program uses the folder.
    #[error("{home} is in use by another candor{process}. Stop it, or set CANDOR_HOME to another folder")]
    InUse {
        /// The home folder.
        home: PathBuf,
        /// ` (process N)`, where known.
        process: String,
    },
    /// A file or folder could not be made or read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Postgres does not run as root, and no other identity could be taken.
    #[error("Postgres does not run as root, and {reason}. Start candor as an ordinary user, or set DATABASE_URL")]
    Identity {
        /// What was tried.
        reason: String,
    },
    /// A program of Postgres ended with an error.
    #[error("{program} failed: {output}")]
    Failed {
        /// The program's name.
        program: &'static str,
        /// Its last words.
        output: String,
    },
    /// A process of an earlier run still holds the data.
    #[error("process {pid} of an earlier run still uses {data} and does not end")]
    StillRunning {
        /// The process.
        pid: i32,
        /// The data folder.
        data: PathBuf,
    },
    /// Postgres runs, but does not answer.
    #[error("Postgres did not answer within {} s: {last}", READY_WITHIN.as_secs())]
    NotReady {
        /// The last refusal.
        last: String,
    },
}

impl EmbeddedError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A running private Postgres. Stop it with [`Embedded::stop`]; if it is dropped, it is told to stop without waiting.
pub struct Embedded {
    postmaster: Postmaster,
    options: PgConnectOptions,
    version: u32,
    // Declared last, so that the folder stays ours until Postgres was told to stop.
    _home: Home,
}

impl Embedded {
    /// Starts the cluster in `home`, making it first where there is none. `tell` receives a line for each longer step.
    ///
    /// # Errors
    /// When there is no Postgres, the folder is in use or broken, or Postgres does not answer.
    pub async fn start(home: &Path, tell: impl Fn(&str) + Send + Sync + 'static) -> Result<Self, EmbeddedError> {
        let folder = home.to_owned();
        // Starting is files and processes: it must not hold up the runtime.
        let starting = tokio::task::spawn_blocking(move || {
            let home = Home::open(&folder)?;
            let binaries = Binaries::find(&home, &tell)?;
            let identity = Identity::choose(&binaries)?;
            let cluster = Cluster::open(&home, binaries, identity, &tell)?;
            leftovers::clear(&cluster.data(), cluster.socket_folder())?;
            let version = cluster.version();
            let options = connect_through(cluster.socket_folder());
            let postmaster = Postmaster::start(cluster)?;
            Ok((home, postmaster, options, version))
        });
        let (home, postmaster, options, version) =
            starting.await.map_err(|error| EmbeddedError::NotReady { last: error.to_string() })??;
        let embedded = Self { postmaster, options, version, _home: home };
        let mut connection = embedded.ready(&embedded.options().database("postgres")).await?;
        create_database(&mut connection).await.map_err(|error| EmbeddedError::NotReady { last: error.to_string() })?;
        let _ = connection.close().await;
        Ok(embedded)
    }

    /// How to connect to the program's database.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Major version of Postgres.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Tells Postgres to end its connections, write everything down and stop; waits until it has.
    pub async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || self.postmaster.stop()).await;
    }

    /// Waits for the answer to a real query: a socket that accepts is not yet ready.
    async fn ready(&self, options: &PgConnectOptions) -> Result<PgConnection, EmbeddedError> {
        let start = Instant::now();
        loop {
            let last = match try_query(options).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error.to_string(),
            };
            if let Some(output) = self.postmaster.ended_early() {
                return Err(EmbeddedError::Failed { program: "postgres", output });
            }
            if start.elapsed() > READY_WITHIN {
                return Err(EmbeddedError::NotReady { last });
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// How to connect to the private Postgres that another candor runs in `home`.
#[must_use]
pub fn running_in(home: &Path) -> PgConnectOptions {
    connect_through(&cluster::socket_folder(home))
}

fn connect_through(socket_folder: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_folder)
        .username(NAME)
        .database(NAME)
        .ssl_mode(PgSslMode::Disable)
        .application_name("candor")
}

async fn try_query(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    sqlx::query_scalar::<_, i32>("select 1").fetch_one(&mut connection).await?;
    Ok(connection)
}

async fn create_database(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(NAME)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        sqlx::query("create database candor").execute(connection).await?;
    }
    Ok(())
}
