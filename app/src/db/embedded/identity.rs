//! As whom Postgres runs: it refuses to run as root.
//!
//! An ordinary user runs it as themselves. Root runs it in a user namespace where root's own id is called `nobody`:
//! files stay root's, and no folder has to be opened to others. Where the machine forbids namespaces (many
//! containers), it runs as the user `nobody` proper, who then owns the data folder.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, getppid, getuid, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::EmbeddedError;
use super::binaries::Binaries;

/// As whom Postgres runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The user who runs the program.
    Own,
    /// Root, called `nobody` within a namespace.
    Namespace,
    /// The user `nobody`.
    Nobody,
}

/// Id of the user and group `nobody`, the kernel's own overflow id and the one on every distribution we support.
const NOBODY: u32 = 65534;

impl Identity {
    /// The first identity under which a program of Postgres can be started.
    pub(super) fn choose(binaries: &Binaries) -> Result<Self, EmbeddedError> {
        if !getuid().is_root() {
            return Ok(Self::Own);
        }
        let mut reason = String::new();
        for identity in [Self::Namespace, Self::Nobody] {
            let mut command = Command::new(binaries.program("postgres"));
            command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            identity.take(&mut command);
            match command.status() {
                Ok(status) if status.success() => return Ok(identity),
                Ok(status) => reason = format!("as {identity:?} it ended with {status}"),
                Err(error) => reason = format!("as {identity:?} it could not be started: {error}"),
            }
        }
        Err(EmbeddedError::Identity { reason })
    }

    /// Makes `folder` and all in it belong to the identity, where it does not yet.
    pub(super) fn own(self, folder: &Path) -> Result<(), EmbeddedError> {
        let owner = match self {
            Self::Own => return Ok(()),
            Self::Namespace => 0,
            Self::Nobody => NOBODY,
        };
        let metadata = fs::symlink_metadata(folder).map_err(EmbeddedError::file(folder))?;
        if metadata.uid() == owner {
            return Ok(());
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(folder).map_err(EmbeddedError::file(folder))? {
                self.own(&entry.map_err(EmbeddedError::file(folder))?.path())?;
            }
        }
        // The folder itself last: as long as it is not done, the next start goes through it again.
        lchown(folder, Some(owner), Some(owner)).map_err(EmbeddedError::file(folder))
    }

    /// Refuses a home that the identity can not reach.
    pub(super) fn reach(self, home: &Path) -> Result<(), EmbeddedError> {
        if self != Self::Nobody {
            return Ok(());
        }
        for folder in home.ancestors() {
            let metadata = fs::metadata(folder).map_err(EmbeddedError::file(folder))?;
            if metadata.mode() & 0o001 == 0 && metadata.uid() != NOBODY {
                let reason = format!("the user nobody, as whom it would run, may not enter {}", folder.display());
                return Err(EmbeddedError::Identity { reason });
            }
        }
        Ok(())
    }

    /// Lets `command` run under this identity.
    pub(super) fn take(self, command: &mut Command) {
        match self {
            Self::Own => {}
            Self::Nobody => {
                command.uid(NOBODY).gid(NOBODY);
            }
            Self::Namespace => before_exec(command, enter_namespace),
        }
    }
}

/// Tells the kernel to send `command` the signal for a fast shutdown when the thread that starts it ends.
pub(super) fn follow_this_thread(command: &mut Command) {
    let parent = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or(0));
    before_exec(command, move || {
        set_parent_process_death_signal(Some(Signal::INT))?;
        // The parent may have gone before the kernel was told.
        if getppid() == parent { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    });
}

/// Runs `step` in the child between fork and exec. Only for steps that make system calls and nothing else.
#[expect(unsafe_code, reason = "the standard library offers no safe way to act between fork and exec")]
fn before_exec(command: &mut Command, step: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: both steps above and below only make system calls: they allocate nothing, take no lock and touch no
    // state of other threads, which is all that is allowed in the child of a program with several threads.
    unsafe {
        command.pre_exec(step);
    }
}

/// Enters a user namespace in which root is called `nobody`.
#[expect(unsafe_code, reason = "unshare is only sound for flags that leave file descriptors alone")]
fn enter_namespace() -> io::Result<()> {
    // SAFETY: NEWUSER does not touch the table of file descriptors, which is the condition of `unshare_unsafe`.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?;
    write_once(c"/proc/self/setgroups", b"deny")?;
    write_once(c"/proc/self/uid_map", b"65534 0 1")?;
    write_once(c"/proc/self/gid_map", b"65534 0 1")
}

fn write_once(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes)?;
    Ok(())
}
