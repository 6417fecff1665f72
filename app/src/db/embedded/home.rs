//! The home folder, held by one program at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::EmbeddedError;

/// A home folder that is ours until this is dropped: the lock is the kernel's and ends with the process.
pub(super) struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder where there is none, and takes it.
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        make_folder(path, 0o755)?;
        let path = path.canonicalize().map_err(EmbeddedError::file(path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(EmbeddedError::file(&lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            let _ = lock.read_to_string(&mut owner);
            let process = owner.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"));
            return Err(EmbeddedError::InUse { home: path, process });
        }
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(EmbeddedError::file(&lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder with the clusters.
    pub(super) fn clusters(&self) -> PathBuf {
        self.path.join("postgres")
    }
}

/// Makes a folder and those above it. An existing one keeps its mode unless `mode` is stricter.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(EmbeddedError::file(path))?;
    if mode == 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(EmbeddedError::file(path))?;
    }
    Ok(())
}
