//! The server process and the thread that looks after it.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::cluster::Cluster;
use super::{EmbeddedError, leftovers};

/// How long a fast shutdown may take before the server is told to stop at once.
const FAST: Duration = Duration::from_secs(30);
/// A server that lived this long was a good one: its restart does not wait.
const GOOD: Duration = Duration::from_secs(10);

/// A server that runs until it is told to stop.
pub(super) struct Postmaster {
    shared: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// The process, until it is reaped: as long as it is here, its number belongs to nobody else.
    pid: Option<Pid>,
    stopping: bool,
    /// Its last words, when the first server ended by itself.
    ended: Option<String>,
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Postmaster {
    /// Starts the server from a thread of its own: `PR_SET_PDEATHSIG` follows the thread that spawned, so that thread
    /// must live as long as the program.
    pub(super) fn start(cluster: Cluster) -> Result<Self, EmbeddedError> {
        let shared = Arc::new(Mutex::new(State::default()));
        let (started, outcome) = mpsc::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || look_after(&cluster, &state, &started))
            .map_err(EmbeddedError::file(std::path::Path::new("a thread for Postgres")))?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self { shared, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                Err(EmbeddedError::Failed { program: "postgres", output: "the thread that starts it ended".to_owned() })
            }
        }
    }

    /// What the server said last, if it ended by itself before it was ever of use.
    pub(super) fn ended_early(&self) -> Option<String> {
        lock(&self.shared).ended.clone()
    }

    /// Fast shutdown; waits until the server has ended.
    pub(super) fn stop(mut self) {
        self.signal(Signal::INT);
        let Some(thread) = self.thread.take() else { return };
        let start = Instant::now();
        while !thread.is_finished() && start.elapsed() < FAST {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !thread.is_finished() {
            // Safe at any time: the next start replays the log.
            self.signal(Signal::QUIT);
        }
        let _ = thread.join();
    }

    fn signal(&self, signal: Signal) {
        let mut state = lock(&self.shared);
        state.stopping = true;
        if let Some(pid) = state.pid {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.signal(Signal::INT);
        }
    }
}

/// Starts the server, waits for its end, and starts it again unless it was told to stop.
fn look_after(cluster: &Cluster, shared: &Mutex<State>, started: &mpsc::Sender<Result<(), EmbeddedError>>) {
    let mut first = true;
    loop {
        let birth = Instant::now();
        match spawn(cluster, shared) {
            Ok(None) => return,
            Ok(Some(child)) => {
                if first {
                    let _ = started.send(Ok(()));
                }
                wait(child, shared);
            }
            Err(error) if first => {
                let _ = started.send(Err(error));
                return;
            }
            Err(error) => tracing::error!(%error, "Postgres could not be started again"),
        }
        if lock(shared).stopping {
            return;
        }
        // One that was killed leaves its file; one that refused to start takes it away.
        if first && birth.elapsed() < GOOD && !cluster.data().join("postmaster.pid").exists() {
            lock(shared).ended = Some(cluster.last_words());
            return;
        }
        first = false;
        tracing::error!(said = cluster.last_words(), "Postgres ended by itself; starting it again");
        if birth.elapsed() < GOOD {
            std::thread::sleep(Duration::from_secs(1));
        }
        // Its children end by themselves when they notice; a new server must not start before.
        if let Err(error) = leftovers::clear(&cluster.data(), cluster.socket_folder()) {
            tracing::error!(%error, "Postgres can not be started again yet");
        }
    }
}

/// Starts the server unless it was told to stop in the meantime.
fn spawn(cluster: &Cluster, shared: &Mutex<State>) -> Result<Option<Child>, EmbeddedError> {
    let mut command = cluster.command()?;
    let mut state = lock(shared);
    if state.stopping {
        return Ok(None);
    }
    let child =
        command.spawn().map_err(|error| EmbeddedError::Failed { program: "postgres", output: error.to_string() })?;
    state.pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(Some(child))
}

/// Waits for the end of the server, and only then gives its number back.
fn wait(mut child: Child, shared: &Mutex<State>) {
    let pid = lock(shared).pid;
    if let Some(pid) = pid {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), ended) {}
    }
    let mut state = lock(shared);
    state.pid = None;
    let _ = child.wait();
}
