//! Where the flows come from: compiled into the program, or a folder that is read again when a file in it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::flow::FlowError;
use super::manager::Manager;

/// The manager in force, and where its flows come from.
#[derive(Debug)]
pub struct Flows {
    folder: Option<PathBuf>,
    held: RwLock<Held>,
}

#[derive(Debug)]
struct Held {
    manager: Arc<Manager>,
    /// The folder's files when they were last read, whether they could be used or not.
    seen: Vec<File>,
    /// What is wrong with the files as they are now; the flows before them stay in force.
    problem: Option<FlowError>,
}

/// A file as far as a change of it can be told without reading it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    name: PathBuf,
    changed: Option<SystemTime>,
    bytes: u64,
}

/// What became of looking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing has changed.
    Unchanged,
    /// The changed flows are in force.
    Changed,
    /// The changed files can not be used; the flows before them stay in force.
    Refused(FlowError),
}

impl Flows {
    /// Reads and checks the flows: those of a folder, or the ones compiled into the program.
    ///
    /// # Errors
    /// [`FlowError`] names file and line of what is wrong.
    pub fn load(folder: Option<&Path>) -> Result<Self, FlowError> {
        let (manager, seen) = match folder {
            // Looked at before they are read: what changes in between is read once more.
            Some(folder) => {
                let seen = files(folder);
                (Manager::from_dir(folder)?, seen)
            }
            None => (Manager::shipped()?, Vec::new()),
        };
        let held = Held { manager: Arc::new(manager), seen, problem: None };
        Ok(Self { folder: folder.map(Path::to_owned), held: RwLock::new(held) })
    }

    /// The manager with the flows in force. Whoever holds it keeps these flows until the turn is over.
    #[must_use]
    pub fn manager(&self) -> Arc<Manager> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).manager)
    }

    /// The folder, where the flows come from one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What is wrong with the folder's files as they are now, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<FlowError> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// Looks whether a file of the folder has changed, was added or removed, and reads the flows again if so. Reads files:
    /// not for a thread that must not wait.
    pub fn refresh(&self) -> Refreshed {
        let Some(folder) = &self.folder else { return Refreshed::Unchanged };
        let now = files(folder);
        if now == self.held.read().unwrap_or_else(PoisonError::into_inner).seen {
            return Refreshed::Unchanged;
        }
        let read = Manager::from_dir(folder);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.seen = now;
        match read {
            Ok(manager) => {
                held.manager = Arc::new(manager);
                held.problem = None;
                Refreshed::Changed
            }
            Err(problem) => {
                held.problem = Some(problem.clone());
                Refreshed::Refused(problem)
            }
        }
    }
}

/// The files of a folder, by name; none where it can not be read, which then is a change.
fn files(folder: &Path) -> Vec<File> {
    let mut files: Vec<File> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let about = path.metadata().ok()?;
            (path.extension()? == "toml").then(|| File {
                name: path.clone(),
                changed: about.modified().ok(),
                bytes: about.len(),
            })
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("identify.toml", include_str!("flows/identify.toml"));
        write("talk_to_human.toml", include_str!("flows/talk_to_human.toml"));
        let flows = Flows::load(Some(folder.path())).unwrap();
        assert_eq!((flows.manager().flows().len(), flows.refresh()), (2, Refreshed::Unchanged));

        write("balance.toml", include_str!("flows/balance.toml"));
        let before = flows.manager();
        assert_eq!(flows.refresh(), Refreshed::Changed);
        assert!(flows.manager().flow("balance").is_some());
        assert!(before.flow("balance").is_none(), "a turn under way keeps the flows it began with");

        write("balance.toml", "title = \"Balance\"\nwish = \"see it\"\ncolour = 1\n");
        let Refreshed::Refused(problem) = flows.refresh() else { panic!("a broken file was taken") };
        assert_eq!((problem.file.as_str(), problem.line), ("balance.toml", 3));
        assert_eq!(flows.problem(), Some(problem));
        assert!(flows.manager().flow("balance").is_some(), "the flows before stay in force");

        write("balance.toml", include_str!("flows/balance.toml"));
        assert_eq!((flows.refresh(), flows.problem()), (Refreshed::Changed, None));
    }
}
