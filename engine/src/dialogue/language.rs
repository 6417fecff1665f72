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
    pub(super) intro: String,
    pub(super) understood: String,
    pub(super) limits: String,
    pub(super) unknown: String,
    pub(super) handed: String,
    pub(super) waiting: String,
    pub(super) person: String,
    pub(super) continue_english: String,
    /// Words that ask for a person.
    ask_person: Vec<String>,
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
    cues: Vec<String>,
    pub(super) answer: String,
}

/// An article in the language: its title and the short of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArticleEntry {
    pub(super) slug: String,
    pub(super) title: String,
    cues: Vec<String>,
    pub(super) answer: String,
}

/// What a request in the language is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About<'p> {
    /// A person is wanted.
    Person,
    /// Something a flow does.
    Flow(&'p FlowEntry),
    /// Something an article says.
    Article(&'p ArticleEntry),
    /// Not recognised.
    Unknown,
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

    /// What a text asks for: the longest words that occur in it decide.
    pub(super) fn about(&self, text: &str) -> About<'_> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let longest = |cues: &[String]| {
            cues.iter().filter(|cue| text.contains(cue.as_str())).map(|cue| cue.chars().count()).max().unwrap_or(0)
        };
        if longest(&self.ask_person) > 0 {
            return About::Person;
        }
        let flows = self.flow.iter().map(|flow| (longest(&flow.cues), About::Flow(flow)));
        let articles = self.article.iter().map(|article| (longest(&article.cues), About::Article(article)));
        // Of two that are as long the flow comes first.
        let best = articles.chain(flows).filter(|(length, _)| *length > 0).max_by_key(|(length, _)| *length);
        best.map_or(About::Unknown, |(_, about)| about)
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
    fn requests_are_recognised_in_the_words_people_use() {
        let chinese = Phrasebook::chinese().unwrap();
        let name = |text: &str| match chinese.about(text) {
            About::Person => "person",
            About::Flow(flow) => flow.name.as_str(),
            About::Article(article) => article.slug.as_str(),
            About::Unknown => "unknown",
        };
        for (text, about) in [
            ("我的卡丢了，怎么办？", "block_card"),
            ("你好，我想查一下账户余额", "balance"),
            ("我的新卡什么时候能寄到", "card_arrival"),
            ("我上周的转账还没到账", "transaction_status"),
            ("有一笔不认识的扣款", "dispute_charge"),
            ("看看最近的交易", "recent_payments"),
            ("我搬家了，想改地址", "change_contact"),
            ("我想申请贷款", "loan_apply"),
            ("我的贷款被拒了，为什么", "loan_status"),
            ("我要投诉", "complaint"),
            ("请转人工客服", "person"),
            ("你们周六开门吗？营业时间？", "opening-hours"),
            ("贷款利率是多少", "loan-rates"),
            ("我忘记密码了", "pin"),
            ("国际转账要多久", "transfers"),
            ("今天天气怎么样", "unknown"),
        ] {
            assert_eq!(name(text), about, "{text}");
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
