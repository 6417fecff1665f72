//! Where a model's files come from: a folder on disk, or the program itself.

use std::borrow::Cow;
use std::path::PathBuf;

use super::{Bytes, Error};

/// The files of one model.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// Files compiled into the program, by name.
    Inside(&'static [(&'static str, &'static [u8])]),
}

macro_rules! inside {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/weights/", $folder, "/", $file)))),*]
    };
}

static ENCODER: &[(&str, &[u8])] = inside![
    "encoder":
    "config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "model-00001-of-00004.safetensors",
    "model-00002-of-00004.safetensors",
    "model-00003-of-00004.safetensors",
    "model-00004-of-00004.safetensors",
];

static GENERATOR: &[(&str, &[u8])] = inside![
    "generator":
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "model-00001-of-00004.safetensors",
    "model-00002-of-00004.safetensors",
    "model-00003-of-00004.safetensors",
    "model-00004-of-00004.safetensors",
];

/// The generator that ships with the program.
#[must_use]
pub(crate) fn generator_inside() -> Folder {
    Folder::Inside(GENERATOR)
}

/// The encoder that ships with the program.
#[must_use]
pub(crate) fn encoder_inside() -> Folder {
    Folder::Inside(ENCODER)
}

impl Folder {
    /// The bytes of one file.
    ///
    /// # Errors
    /// [`Error::File`] when it is not there or can not be read.
    pub(crate) fn read(&self, file: &str) -> Result<Cow<'static, [u8]>, Error> {
        let failed = |reason: String| Error::File { file: file.to_owned(), reason };
        match self {
            Self::Disk(folder) => std::fs::read(folder.join(file)).map(Cow::Owned).map_err(|e| failed(e.to_string())),
            Self::Inside(files) => files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))
                .ok_or_else(|| failed("not compiled in".to_owned())),
        }
    }

    /// The bytes of one file where they lie: a file on disk is mapped, not read.
    ///
    /// # Errors
    /// [`Error::File`] when it is not there or can not be mapped.
    pub(crate) fn map(&self, file: &str) -> Result<Bytes, Error> {
        match self {
            Self::Disk(folder) => super::bytes::map(&folder.join(file))
                .map_err(|e| Error::File { file: file.to_owned(), reason: e.to_string() }),
            Self::Inside(files) => files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, bytes)| Bytes::Inside(bytes))
                .ok_or_else(|| Error::File { file: file.to_owned(), reason: "not compiled in".to_owned() }),
        }
    }

    /// Whether there is such a file.
    #[must_use]
    pub(crate) fn has(&self, file: &str) -> bool {
        match self {
            Self::Disk(folder) => folder.join(file).is_file(),
            Self::Inside(files) => files.iter().any(|(name, _)| *name == file),
        }
    }

    /// A JSON file, parsed.
    ///
    /// # Errors
    /// [`Error::File`] when it is not there or does not parse.
    pub(crate) fn read_json<T: serde::de::DeserializeOwned>(&self, file: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.read(file)?)
            .map_err(|e| Error::File { file: file.to_owned(), reason: e.to_string() })
    }
}
