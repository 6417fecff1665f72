//! Other languages than English: requests are recognised as such and answered honestly from a file per language.
//!
//! The flows run in English. A request in another language is named in it with a short answer, and a person or the
//! flow in English is offered.

use serde::Deserialize;

use super::flow::FlowError;

/// What is said in one language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phrasebook {
    pub(super) name: String,
    pub(super) hello: String,
    pub(super) intro: String,
    pub(super) understood: String,
    pub(super) limits: String,
    pub(super) unknown: String,
    pub(super) handed: String,
    pub(super) waiting: String,
    pub(super) person: String,
    pub(super) continue_english: String,
    flow: Vec<FlowEntry>,
    article: Vec<ArticleEntry>,
}

/// A flow in the language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowEntry {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) wish: String,
    pub(super) answer: String,
}

/// An article in the language: its title and the short of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArticleEntry {
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) answer: String,
}

impl Phrasebook {
    /// Chinese, as compiled into the program.
    pub(super) fn chinese() -> Result<Self, FlowError> {
        let text = include_str!("languages/zh.toml");
        toml::from_str(text).map_err(|error| FlowError {
            file: "languages/zh.toml".to_owned(),
            line: error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1),
            problem: error.message().to_owned(),
        })
    }

    /// What it says of a flow.
    pub(super) fn flow(&self, name: &str) -> Option<&FlowEntry> {
        self.flow.iter().find(|flow| flow.name == name)
    }

    /// What it says of an article.
    pub(super) fn article(&self, slug: &str) -> Option<&ArticleEntry> {
        self.article.iter().find(|article| article.slug == slug)
    }

    /// Every text it says, for those who check where numbers come from.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.limits, &self.handed]
            .into_iter()
            .map(String::as_str)
            .chain(self.flow.iter().map(|flow| flow.answer.as_str()))
            .chain(self.article.iter().map(|article| article.answer.as_str()))
    }

    /// Flows and articles it knows, by name.
    #[cfg(test)]
    fn names(&self) -> (Vec<&str>, Vec<&str>) {
        let flows = self.flow.iter().map(|flow| flow.name.as_str()).collect();
        (flows, self.article.iter().map(|article| article.slug.as_str()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_flows_and_articles_that_exist() {
        let chinese = Phrasebook::chinese().unwrap();
        let (flows, articles) = chinese.names();
        let manager = super::super::Manager::shipped().unwrap();
        for name in flows {
            assert!(manager.flow(name).is_some(), "{name}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/demo/articles");
        for slug in articles {
            assert!(std::path::Path::new(folder).join(format!("{slug}.md")).exists(), "{slug}");
        }
    }
}
