//! [`Knowledge`] in memory: by embeddings where there are some, else by words.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::answer::{stem, words};
use super::super::bank::BankError;
use super::super::knowledge::{Knowledge, Passage, cosine, nearest_phrasing};

/// Articles in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryKnowledge {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    passage: Passage,
    stems: Vec<String>,
    embedding: Vec<f32>,
    phrasings: Vec<(String, Vec<f32>)>,
}

/// A passage as it is read from an article.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPassage {
    /// The passage.
    pub passage: Passage,
    /// Ways of asking for it: its heading, and the lines under it that begin with "? ".
    pub phrasings: Vec<String>,
}

impl ReadPassage {
    /// What is to be embedded, for [`MemoryKnowledge::add`]: the passage with what it is about, then each phrasing.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        let Passage { title, heading, text, .. } = &self.passage;
        std::iter::once(format!("{title}: {heading}. {text}")).chain(self.phrasings.iter().cloned())
    }
}

impl MemoryKnowledge {
    /// No articles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a passage. `embeddings` are those of [`ReadPassage::texts`], none where there is no encoder; its score is set
    /// by the search.
    pub fn add(&mut self, read: ReadPassage, embeddings: Vec<Vec<f32>>) {
        let ReadPassage { passage, phrasings } = read;
        let text = format!("{} {} {}", passage.title, passage.heading, passage.text);
        let stems = words(&text).iter().map(|word| stem(&word.text).to_owned()).collect();
        let mut embeddings = embeddings.into_iter();
        let embedding = embeddings.next().unwrap_or_default();
        self.entries.push(Entry {
            passage,
            stems,
            embedding,
            phrasings: phrasings.into_iter().zip(embeddings).collect(),
        });
    }

    /// The passages of an article written as Markdown: front matter with `title` and `slug`, then sections under `## `.
    #[must_use]
    pub fn passages(article: &str) -> Vec<ReadPassage> {
        let mut parts = article.splitn(3, "---\n");
        let (_, front, body) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = |key: &str| {
            let line = front.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let (slug, title) = (value("slug"), value("title"));
        body.split("## ")
            .filter_map(|section| {
                let (heading, rest) = section.split_once('\n')?;
                let (asked, shown): (Vec<&str>, Vec<&str>) = rest.lines().partition(|line| line.starts_with("? "));
                let (heading, text) = (heading.trim().to_owned(), shown.join("\n").trim().to_owned());
                let noted =
                    asked.into_iter().filter_map(|line| line.strip_prefix("? ")).map(|line| line.trim().to_owned());
                let phrasings = std::iter::once(heading.clone()).chain(noted).collect();
                (!text.is_empty()).then(|| ReadPassage {
                    passage: Passage {
                        article_slug: slug.clone(),
                        title: title.clone(),
                        heading,
                        text,
                        score: 0.0,
                        asked_as: None,
                    },
                    phrasings,
                })
            })
            .collect()
    }

    /// Share of the question's words, weighted by their rarity, that a passage holds.
    fn by_words(&self, query: &str) -> Vec<f32> {
        let asked: Vec<String> = words(query).iter().map(|word| stem(&word.text).to_owned()).collect();
        let mut weights: BTreeMap<&str, f32> = BTreeMap::new();
        for word in &asked {
            let holding = self.entries.iter().filter(|entry| entry.stems.contains(word)).count();
            let rarity = (1.0 + count(self.entries.len())) / (0.5 + count(holding));
            weights.insert(word, rarity.ln().max(0.0));
        }
        let all: f32 = weights.values().sum();
        self.entries
            .iter()
            .map(|entry| {
                let held: f32 = weights
                    .iter()
                    .filter(|(word, _)| entry.stems.iter().any(|stem| stem == *word))
                    .map(|(_, weight)| weight)
                    .sum();
                if all > 0.0 { held / all } else { 0.0 }
            })
            .collect()
    }
}

fn count(of: usize) -> f32 {
    f32::from(u16::try_from(of).unwrap_or(u16::MAX))
}

#[async_trait]
impl Knowledge for MemoryKnowledge {
    async fn search(&self, query: &str, embedding: &[f32], limit: usize) -> Result<Vec<Passage>, BankError> {
        let embedded =
            !embedding.is_empty() && self.entries.iter().all(|entry| entry.embedding.len() == embedding.len());
        let scores = if embedded {
            self.entries.iter().map(|entry| cosine(&entry.embedding, embedding)).collect()
        } else {
            self.by_words(query)
        };
        let mut found: Vec<Passage> = self
            .entries
            .iter()
            .zip(scores)
            .map(|(entry, score)| {
                let asked_as = nearest_phrasing(&entry.phrasings, embedding).filter(|_| embedded);
                Passage { score, asked_as, ..entry.passage.clone() }
            })
            .collect();
        let nearness =
            |passage: &Passage| passage.asked_as.as_ref().map_or(0.0, |asked| asked.score).max(passage.score);
        found.sort_by(|a, b| nearness(b).total_cmp(&nearness(a)));
        found.truncate(limit);
        Ok(found)
    }
}
