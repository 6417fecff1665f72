//! Requests in Chinese: recognised and answered in Chinese, while the flows themselves run in English.

use super::super::action::{Action, Choice, Citation, HandOffReason};
use super::super::bank::BankError;
use super::super::flow::{Flow, TALK_TO_HUMAN};
use super::super::lexicon;
use super::super::state::Language;
use super::super::summary::excerpt;
use super::super::words::put;
use super::Exchange;
use super::consult::WELL;
use super::open::Wish;
use crate::understanding::Understanding;

impl Exchange<'_> {
    /// What the message is about is said in Chinese, with a short answer; a person or the flow in English is offered.
    /// `english`: the words that it was read as.
    pub(super) async fn answer_in_chinese(&mut self, english: &str) -> Result<(), BankError> {
        self.state.language = Language::Chinese;
        let (manager, text) = (self.manager, self.input.text);
        let understood = Understanding { text: english.to_owned(), ..self.input.understanding.clone() };
        let wish = self.wish(&understood);
        if matches!(&wish, Some(Wish::Flow(flow)) if flow.name == TALK_TO_HUMAN) {
            self.hand_off(HandOffReason::Asked, manager.chinese.handed.clone());
            return Ok(());
        }
        let flow = match wish {
            Some(Wish::Flow(flow)) => Some(flow),
            Some(Wish::Question) | None => None,
        };
        // As in English: what answers an impersonal question well comes before the flow of the same matter.
        let least = if flow.is_some() { WELL } else { 0.0 };
        let asks = flow.is_none() || lexicon::asks_impersonally(english);
        if asks && self.cite_in_chinese(english, &understood.embedding, least).await? {
            return Ok(());
        }
        // A general question that no article answers may still be about what a flow does.
        match flow.or_else(|| self.likely_flow(&understood)) {
            Some(flow) => self.offer_in_chinese(flow),
            None => {
                let words = &manager.chinese;
                let greeted = understood.intent == "greeting" && understood.in_scope;
                let person = Choice::new(words.person.clone(), "human");
                if greeted {
                    self.say_with(format!("{}{}{}", words.intro, words.hello, words.limits), vec![person]);
                    return Ok(());
                }
                self.note_open(format!("Asked in {}: “{}”", words.name, excerpt(text)));
                self.say_with(format!("{}{}", words.intro, words.unknown), vec![person]);
            }
        }
        Ok(())
    }

    /// Says what a flow does, offers it in English and a person in Chinese.
    fn offer_in_chinese(&mut self, flow: &Flow) {
        let words = &self.manager.chinese;
        let person = Choice::new(words.person.clone(), "human");
        let (text, title) = match words.flow(&flow.name) {
            Some(entry) => {
                (put(&put(&words.understood, "wish", &entry.wish), "answer", &entry.answer), entry.title.clone())
            }
            // A flow that the bank wrote itself.
            None => (put(&put(&words.understood, "wish", &flow.title), "answer", ""), flow.title.clone()),
        };
        let start = Choice::new(put(&words.continue_english, "title", &title), format!("start:{}", flow.name));
        self.note_open(format!("Asked in {}: {title}", words.name));
        self.say_with(format!("{}{text}{}", words.intro, words.limits), vec![person, start]);
    }

    /// Answers with the short of an article in Chinese, if one fits. Says whether it did.
    async fn cite_in_chinese(&mut self, english: &str, embedding: &[f32], least: f32) -> Result<bool, BankError> {
        let words = &self.manager.chinese;
        let Some(passage) = self.find_passage(english, embedding, least).await? else { return Ok(false) };
        let Some(article) = words.article(&passage.article_slug) else { return Ok(false) };
        let citation = Citation {
            article_slug: article.slug.clone(),
            title: article.title.clone(),
            passage: article.answer.clone(),
        };
        let text = format!("{}{}", words.intro, article.answer);
        let choices = vec![Choice::new(words.person.clone(), "human")];
        self.actions.push(Action::Say { text, citations: vec![citation], choices });
        Ok(true)
    }
}
