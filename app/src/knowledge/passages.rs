//! Cutting an article into passages that fit the encoder and answer one question each.

use super::markdown::sections;

/// Longest passage in bytes: what can be read at a glance in a chat, well within the 256 tokens of the encoder.
const LONGEST: usize = 700;

/// A passage about to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewPassage {
    pub(super) heading: String,
    pub(super) text: String,
    /// Ways of asking for it: its heading, and what the writer noted.
    pub(super) phrasings: Vec<String>,
}

impl NewPassage {
    /// What is embedded: the passage with the words that say what it is about.
    pub(super) fn embedded_text(&self, title: &str) -> String {
        if self.heading.is_empty() {
            format!("{title}. {}", self.text)
        } else {
            format!("{title}: {}. {}", self.heading, self.text)
        }
    }
}

/// The passages of an article: each section, in several pieces where it is long.
pub(super) fn passages(body: &str) -> Vec<NewPassage> {
    let mut found = Vec::new();
    for section in sections(body) {
        let heading = Some(&section.heading).filter(|heading| !heading.is_empty());
        let phrasings: Vec<String> = heading.into_iter().chain(&section.phrasings).cloned().collect();
        let passage = |text| NewPassage { heading: section.heading.clone(), text, phrasings: phrasings.clone() };
        let mut text = String::new();
        for block in &section.blocks {
            if !text.is_empty() && text.len() + block.len() > LONGEST {
                found.push(passage(std::mem::take(&mut text)));
            }
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(block);
        }
        if !text.is_empty() {
            found.push(passage(text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_section_becomes_several_passages_under_one_heading() {
        let long = "word ".repeat(120);
        let found = passages(&format!("## H\n\n{long}\n\n{long}\n\nshort\n\n## I\n\nend"));
        let shape: Vec<(&str, usize)> =
            found.iter().map(|passage| (passage.heading.as_str(), passage.text.split_whitespace().count())).collect();
        assert_eq!(shape, [("H", 120), ("H", 121), ("I", 1)]);
    }
}
