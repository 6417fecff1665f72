//! Other languages than English: requests are recognised as such and answered honestly from a file per language.
//!
//! The flows run in English. A request in Chinese is named in it with a short answer, and a person or the flow in
//! English is offered. Of some other languages only the language itself is recognised.

use serde::Deserialize;

use super::answer::words;
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
        parsed("languages/zh.toml", include_str!("languages/zh.toml"))
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

/// Languages that are recognised, and answered with a sentence that says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Others {
    language: Vec<Other>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Other {
    /// Its name in English.
    pub(super) name: String,
    /// Its commonest words, none of which is an English one.
    common: Vec<String>,
    /// That English is needed, or a person.
    pub(super) sorry: String,
    /// The button for a person.
    pub(super) person: String,
}

impl Others {
    /// As compiled into the program.
    pub(super) fn shipped() -> Result<Self, FlowError> {
        parsed("languages/others.toml", include_str!("languages/others.toml"))
    }

    /// The language that a text is written in, if it is one of these: at least two of its words are among the commonest,
    /// or all are, and more than there are English ones.
    pub(super) fn of(&self, text: &str) -> Option<&Other> {
        const ENGLISH: &[&str] = &[
            "the", "i", "my", "is", "are", "to", "and", "a", "can", "you", "what", "how", "not", "have", "do", "it",
            "of", "in", "for", "on", "please", "this", "that", "was", "with", "why", "when", "where", "me", "your",
            "has",
        ];
        let among = words(text);
        let count = |known: &dyn Fn(&str) -> bool| among.iter().filter(|word| known(&word.text)).count();
        let english = count(&|word| ENGLISH.contains(&word));
        let best = self
            .language
            .iter()
            .map(|language| (language, count(&|word| language.common.iter().any(|common| common == word))))
            .max_by_key(|(_, hits)| *hits)?;
        let (language, hits) = best;
        (hits > english && (hits >= 2 || hits == among.len())).then_some(language)
    }

    /// Every text it says, for those who check where numbers come from.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.language.iter().map(|language| language.sorry.as_str())
    }
}

/// A file that was compiled in.
fn parsed<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, FlowError> {
    toml::from_str(text).map_err(|error| FlowError {
        file: file.to_owned(),
        line: error.span().and_then(|span| text.get(..span.start)).map_or(0, |before| before.matches('\n').count() + 1),
        problem: error.message().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_are_told_by_their_common_words_and_english_is_none() {
        let others = Others::shipped().unwrap();
        let name = |text: &str| others.of(text).map(|other| other.name.as_str());
        assert_eq!(name("Ich habe meine Karte verloren"), Some("German"));
        assert_eq!(name("Bonjour, j'ai perdu ma carte"), Some("French"));
        assert_eq!(name("¿Dónde está mi dinero?"), Some("Spanish"));
        assert_eq!(name("Buongiorno, vorrei un prestito"), Some("Italian"));
        assert_eq!(name("Olá, perdi o meu cartão"), Some("Portuguese"));
        assert_eq!(name("ik heb mijn pas verloren"), Some("Dutch"));
        assert_eq!(name("Zgubiłem kartę, proszę o pomoc"), Some("Polish"));
        assert_eq!(name("merhaba, kartımı kaybettim"), Some("Turkish"));
        for english in ["I lost my card", "cancel", "no", "La Trattoria charged me twice", "C-10023", "why", "die", ""]
        {
            assert_eq!(name(english), None, "{english}");
        }
    }

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
