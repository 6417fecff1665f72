//! What a killed run left behind.
//!
//! The home folder is locked when this is called, so whatever still works in the data folder is an orphan. Postgres
//! itself guards against a second server by the process number in `postmaster.pid`, but after a crash that number may
//! belong to an innocent process (in a container it often does), and then it would refuse to start for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::EmbeddedError;

/// An orphaned server got the signal for a fast shutdown; it may still write a checkpoint.
const PATIENCE: Duration = Duration::from_secs(20);
/// After that it is told to stop at once, which is safe: the next start replays its log.
const GIVE_UP: Duration = Duration::from_secs(40);

/// Waits until no process works in `data`, then removes the files that would stop a new server.
pub(super) fn clear(data: &Path, socket_folder: &Path) -> Result<(), EmbeddedError> {
    let start = Instant::now();
    let mut told = false;
    while let Some(pid) = at_work_in(data) {
        if start.elapsed() > GIVE_UP {
            return Err(EmbeddedError::StillRunning { pid: pid.as_raw_nonzero().get(), data: data.to_owned() });
        }
        if start.elapsed() > PATIENCE && !told {
            let _ = kill_process(pid, Signal::QUIT);
            told = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    remove(data.join("postmaster.pid"))?;
    remove(socket_folder.join(".s.PGSQL.5432"))?;
    remove(socket_folder.join(".s.PGSQL.5432.lock"))
}

fn remove(file: PathBuf) -> Result<(), EmbeddedError> {
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EmbeddedError::File { path: file, source: error })
        }
        _ => Ok(()),
    }
}

/// A process whose current folder is `data`: every process of a Postgres server works there.
fn at_work_in(data: &Path) -> Option<Pid> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = fs::read_link(entry.path().join("cwd")).ok()?;
        (folder == data).then(|| Pid::from_raw(pid))?
    })
}
