//! The cluster's files.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::binaries::Binaries;
use super::home::{Home, make_folder};
use super::identity::{Identity, follow_this_thread};
use super::{EmbeddedError, NAME};

/// The address of a socket holds 107 bytes; its name within the folder needs 17 of them.
const LONGEST_SOCKET_FOLDER: usize = 90;

/// A cluster that can be started.
pub(super) struct Cluster {
    binaries: Binaries,
    identity: Identity,
    folder: PathBuf,
    socket_folder: PathBuf,
}

impl Cluster {
    /// The cluster of this version in `home`; makes it where there is none.
    pub(super) fn open(
        home: &Home,
        binaries: Binaries,
        identity: Identity,
        tell: &impl Fn(&str),
    ) -> Result<Self, EmbeddedError> {
        identity.reach(home.path())?;
        let folder = home.clusters().join(binaries.version.to_string());
        make_folder(&folder, 0o755)?;
        let socket_folder = socket_folder(home.path());
        make_folder(&socket_folder, 0o700)?;
        identity.own(&socket_folder)?;
        let cluster = Self { binaries, identity, folder, socket_folder };
        if !cluster.data().join("PG_VERSION").is_file() {
            tell(&format!("Making a database in {}", cluster.folder.display()));
            cluster.make()?;
        }
        identity.own(&cluster.data())?;
        Ok(cluster)
    }

    /// Major version.
    pub(super) fn version(&self) -> u32 {
        self.binaries.version
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder with the socket.
    pub(super) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Makes the cluster in a temporary folder and renames it, so that a data folder that is there is complete.
    fn make(&self) -> Result<(), EmbeddedError> {
        let draft = self.folder.join("data.draft");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(EmbeddedError::file(&draft))?;
        }
        make_folder(&draft, 0o700)?;
        self.identity.own(&draft)?;
        // C.UTF-8 knows letters beyond ASCII and sorts the same on every machine; it is missing only on old ones.
        self.init(&draft, "C.UTF-8").or_else(|_| self.init(&draft, "C"))?;
        let data = self.data();
        fs::rename(&draft, &data).map_err(EmbeddedError::file(&data))?;
        // The new name must be on the disk before anything that is acknowledged lies under it.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(EmbeddedError::file(&self.folder))
    }

    fn init(&self, folder: &Path, locale: &str) -> Result<(), EmbeddedError> {
        let mut command = Command::new(self.binaries.program("initdb"));
        command
            .args(["--encoding=UTF8", "--data-checksums", "--auth-local=trust", "--auth-host=reject"])
            .arg(format!("--locale={locale}"))
            .arg(format!("--username={NAME}"))
            .arg("--pgdata")
            .arg(folder)
            // The current folder may be one that the identity can not enter.
            .current_dir("/")
            .stdin(Stdio::null());
        self.identity.take(&mut command);
        let output = command.output().map_err(EmbeddedError::file(&self.binaries.program("initdb")))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(EmbeddedError::Failed { program: "initdb", output: words })
    }

    /// The command that starts the server, to be spawned from a thread that lives as long as the program.
    pub(super) fn command(&self) -> Result<Command, EmbeddedError> {
        let log = self.log();
        let file = File::create(&log).map_err(EmbeddedError::file(&log))?;
        let again = file.try_clone().map_err(EmbeddedError::file(&log))?;
        let mut command = Command::new(self.binaries.program("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.socket_folder);
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "fsync=on",
            "full_page_writes=on",
            "synchronous_commit=on",
            "max_connections=100",
            // Our queries are short; compiling them costs more than it saves, and needs memory that is written and run.
            "jit=off",
            "log_destination=stderr",
            "logging_collector=off",
            "log_line_prefix=%m [%p] ",
            // Statements hold personal data: they stay out of the log, whatever goes wrong with them.
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_min_messages=warning",
            "timezone=UTC",
        ] {
            command.arg("-c").arg(setting);
        }
        // A group of its own: Ctrl-C in the terminal is for the program, which stops Postgres when it is done itself.
        command.current_dir("/").stdin(Stdio::null()).stdout(file).stderr(again).process_group(0);
        self.identity.take(&mut command);
        // After the change of identity, which makes the kernel forget the wish.
        follow_this_thread(&mut command);
        Ok(command)
    }

    /// The end of what Postgres said.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// `run/` in the home folder, or a folder with a short name where that one is too long for a socket.
pub(super) fn socket_folder(home: &Path) -> PathBuf {
    let usual = home.join("run");
    if usual.as_os_str().len() <= LONGEST_SOCKET_FOLDER {
        return usual;
    }
    let mut hasher = DefaultHasher::new();
    home.hash(&mut hasher);
    let parent = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    parent.join(format!("candor-{:016x}", hasher.finish()))
}
