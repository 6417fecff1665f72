//! Texts to look at.

use serde::Deserialize;

/// A line that is no text.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TextError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// The texts of a file: JSON lines `{"text": …}`, or a plain text a line. Empty lines are left out.
///
/// # Errors
/// [`TextError`] for a line that begins as JSON and is none, or has no text.
pub fn read_texts(file: &str) -> Result<Vec<String>, TextError> {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    let lines = file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            if !line.starts_with('{') {
                return Ok(line.to_owned());
            }
            let parsed = serde_json::from_str::<Line>(line);
            parsed.map(|line| line.text).map_err(|error| TextError { line: number + 1, reason: error.to_string() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_or_hold_them() {
        let texts = read_texts("one line\n\n{\"text\": \"two\\nlines\", \"more\": 1}\n").unwrap();
        assert_eq!(texts, ["one line", "two\nlines"]);
        assert_eq!(read_texts("x\n{\"words\": 1}").unwrap_err().line, 2);
    }
}
