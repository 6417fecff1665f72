//! A running `candor serve`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// The built program without any configuration of the machine it runs on.
pub(crate) fn candor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CANDOR_") || name == "DATABASE_URL" || name == "REDIS_URL" {
            command.env_remove(name);
        }
    }
    command
}

/// A server that is ready. It is killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// From start to ready.
    pub(crate) took: Duration,
}

/// A port nobody uses.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Starts the server in `home` and waits until it says that it is ready.
pub(crate) fn serve(home: &Path) -> Served {
    let mut command = candor();
    command.env("CANDOR_HOME", home);
    serve_with(command)
}

/// Starts the server as `command` says.
pub(crate) fn serve_with(mut command: Command) -> Served {
    let start = Instant::now();
    let listen = format!("127.0.0.1:{}", free_port());
    command.args(["serve", "--empty"]).env("CANDOR_LISTEN", &listen).current_dir(std::env::temp_dir());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().expect("a line when the program is ready").unwrap();
    assert!(line.starts_with("Candor is ready at http://"), "{line}");
    // Whatever follows is read away, so that the program never waits for us.
    std::thread::spawn(move || lines.count());
    Served { child, address: format!("http://{listen}"), took: start.elapsed() }
}

impl Served {
    /// Ctrl-C, and how the program ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), "INT");
        self.child.wait().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

/// The number of the Postgres server of `home`.
pub(crate) fn postmaster(home: &Path) -> u32 {
    let versions = std::fs::read_dir(home.join("postgres")).unwrap();
    let file = versions.flatten().map(|entry| entry.path().join("data/postmaster.pid")).find(|file| file.exists());
    std::fs::read_to_string(file.unwrap()).unwrap().lines().next().unwrap().parse().unwrap()
}

/// Connections to the private database of `home`.
pub(crate) async fn database(home: &Path) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(home.canonicalize().unwrap().join("run"))
        .username("candor")
        .database("candor");
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(20))
        .connect_with(options)
        .await
        .unwrap()
}
