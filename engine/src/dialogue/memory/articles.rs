//! [`Knowledge`] in memory: by embeddings where there are some, else by words.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::answer::{stem, words};
use super::super::bank::BankError;
use super::super::knowledge::{Knowledge, Passage};

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
}

impl MemoryKnowledge {
    /// No articles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a passage. `embedding` is empty where there is no encoder; its score is set by the search.
    pub fn add(&mut self, passage: Passage, embedding: Vec<f32>) {
        let text = format!("{} {} {}", passage.title, passage.heading, passage.text);
        let stems = words(&text).iter().map(|word| stem(&word.text).to_owned()).collect();
        self.entries.push(Entry { passage, stems, embedding });
    }

    /// The passages of an article written as Markdown: front matter with `title` and `slug`, then sections under `## `.
    #[must_use]
    pub fn passages(article: &str) -> Vec<Passage> {
        let mut parts = article.splitn(3, "---\n");
        let (_, front, body) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = |key: &str| {
            let line = front.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let (slug, title) = (value("slug"), value("title"));
        body.split("## ")
            .filter_map(|section| {
                let (heading, text) = section.split_once('\n')?;
                (!text.trim().is_empty()).then(|| Passage {
                    article_slug: slug.clone(),
                    title: title.clone(),
                    heading: heading.trim().to_owned(),
                    text: text.trim().to_owned(),
                    score: 0.0,
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
            let cosine = |entry: &Entry| entry.embedding.iter().zip(embedding).map(|(a, b)| a * b).sum();
            self.entries.iter().map(cosine).collect()
        } else {
            self.by_words(query)
        };
        let mut found: Vec<Passage> =
            self.entries.iter().zip(scores).map(|(entry, score)| Passage { score, ..entry.passage.clone() }).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(limit);
        Ok(found)
    }
}
