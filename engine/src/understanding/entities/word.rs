//! A text's words with their places.

/// A word without the punctuation around it.
pub(super) struct Word<'t> {
    /// As written.
    pub(super) raw: &'t str,
    /// In lower case.
    pub(super) lower: String,
    /// First byte in the text.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
    /// Whether a mark that ends a phrase follows.
    pub(super) closes: bool,
}

impl Word<'_> {
    /// Whether it consists of digits alone.
    pub(super) fn is_digits(&self) -> bool {
        !self.raw.is_empty() && self.raw.bytes().all(|b| b.is_ascii_digit())
    }
}

/// Splits at white space and strips marks that are no part of a value.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut place = 0;
    for piece in text.split(char::is_whitespace) {
        let begin = place;
        // Every separator is one character of white space; `text` tells how long.
        place += piece.len();
        place += text.get(place..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let front = piece.trim_start_matches(['(', '"', '\'', '“', '‘', '[', '¿', '¡', ':', '#']);
        let raw = front.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '\'', '”', '’', ']']);
        if raw.is_empty() {
            continue;
        }
        let start = begin + piece.len() - front.len();
        let end = start + raw.len();
        words.push(Word { raw, lower: raw.to_lowercase(), start, end, closes: front.len() > raw.len() });
    }
    words
}

/// Whether one of `cues` stands among the `reach` words before `at`.
pub(super) fn cue_before(words: &[Word<'_>], at: usize, reach: usize, cues: &[&str]) -> bool {
    words
        .get(at.saturating_sub(reach)..at)
        .is_some_and(|before| before.iter().any(|word| cues.contains(&word.lower.trim_end_matches("'s"))))
}

/// All digits of a text.
pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}
