//! Reading a file or standard input, and writing JSON lines to standard output.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, StdoutLock, Write};
use std::path::Path;

use serde::Serialize;

use super::Failure;

/// Opens `file`, or standard input where there is none or its name is `-`.
pub(super) fn open(file: Option<&Path>) -> Result<Box<dyn Read + Send>, Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).map_err(|error| Failure::from(error).at(path.display()))?;
            Ok(Box::new(BufReader::new(file)))
        }
        _ => Ok(Box::new(io::stdin())),
    }
}

/// Standard output, a JSON value a line.
pub(super) struct JsonLines(BufWriter<StdoutLock<'static>>);

impl JsonLines {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes one value.
    pub(super) fn write(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        // serde_json hides the kind of an error of the writer, so the line is made first.
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(())
    }

    /// Gives everything to the reader.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush()?;
        Ok(())
    }
}
