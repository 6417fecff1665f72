//! Questions outside the flows: answered with a passage that is cited, or honestly not answered.

use super::super::action::{Action, Choice, Citation, HandOffReason};
use super::super::answer::{Word, similar, words};
use super::super::bank::BankError;
use super::super::knowledge::{Passage, Phrasing};
use super::super::lexicon;
use super::super::state::{Asked, Heard};
use super::super::summary::{Line, Note, excerpt};
use super::{Exchange, FAILURES};
use crate::dialogue::answer::stem;

/// Similarity from which a passage may answer, if it also shares most of the question's words. Measured with the shipped
/// encoder on the demonstration's articles: of 45 questions with an answer 42 lie above 0.5, of 18 without one all below.
const NEAR: f32 = 0.45;
/// Similarity from which sharing more than a third of the question's words is enough.
const VERY_NEAR: f32 = 0.55;
/// Similarity from which a passage answers with a single word in common.
const SURELY: f32 = 0.7;
/// Similarity to a known way of asking from which its passage answers, whatever the words.
const AS_ASKED: f32 = 0.8;
/// Similarity to a known way of asking from which sharing more than a third of the question's words is enough.
const NEARLY_AS_ASKED: f32 = 0.65;
/// Similarity to a known way of asking from which its passage answers, if it also shares most of the question's words.
const LIKE_ASKED: f32 = 0.55;
/// How much nearer than every other article a known way of asking must be, unless it is nearly the same words. With these, of
/// 150 questions that no rule was made after one in fifty is answered wrongly; see `tests/dialogue/README.md`.
const CLEARLY: f32 = 0.1;
/// Nearness from which a passage is offered where none answers for certain.
const MAYBE: f32 = 0.5;
/// Passages offered.
const OFFERED: usize = 3;
/// The value of a button that offers a passage by its heading.
pub(super) const PASSAGE: &str = "passage";
/// Rank from which a passage comes before the flow of the same matter.
pub(super) const WELL: f32 = 0.7;
/// What sharing all of the question's words is worth beside the similarity, where several passages would do.
const IN_WORDS: f32 = 0.3;
/// Passages looked at.
const LOOKED_AT: usize = 5;

impl Exchange<'_> {
    /// Answers a question with a passage, if one fits. Says whether it did.
    pub(super) async fn consult(&mut self, question: &str) -> Result<bool, BankError> {
        self.consult_from(question, 0.0).await
    }

    /// Answers only with a passage that fits well. Says whether there was one.
    pub(super) async fn consult_well(&mut self, question: &str) -> Result<bool, BankError> {
        self.consult_from(question, WELL).await
    }

    async fn consult_from(&mut self, question: &str, least: f32) -> Result<bool, BankError> {
        let whole = question == self.input.text;
        let part = self.input.parts.iter().find(|part| part.text.trim() == question.trim());
        let embedding = match part {
            Some(part) => part.embedding.as_slice(),
            None if whole => self.input.understanding.embedding.as_slice(),
            None => &[],
        };
        let Some(passage) = self.find_passage(question, embedding, least).await? else { return Ok(false) };
        // What the question is about may be done here as well.
        let understanding = part.unwrap_or(self.input.understanding);
        let offered = self
            .likely_flow(understanding)
            .filter(|flow| !self.state.stack.iter().any(|run| run.flow == flow.name))
            .map(|flow| Choice::new(flow.title.clone(), format!("start:{}", flow.name)));
        self.ground.add(&passage.text);
        self.ground.add(&passage.title);
        self.state.failures = 0;
        self.notes.push(Note::Fact(Line {
            text: format!("Asked “{}”, answered from “{}”", excerpt(question), passage.title),
            seq: self.input.seq,
            about: String::new(),
        }));
        self.actions.push(Action::Say {
            text: passage.text.clone(),
            citations: vec![Citation {
                article_slug: passage.article_slug,
                title: passage.title,
                passage: passage.text,
            }],
            choices: offered.into_iter().collect(),
        });
        Ok(true)
    }

    /// The passage that answers a question best, with at least this rank.
    pub(super) async fn find_passage(
        &self,
        question: &str,
        embedding: &[f32],
        least: f32,
    ) -> Result<Option<Passage>, BankError> {
        let found = self.knowledge.search(question, embedding, LOOKED_AT).await?;
        let of_others = |slug: &str| {
            found.iter().filter(|other| other.article_slug != slug).map(nearness).max_by(f32::total_cmp).unwrap_or(0.0)
        };
        let ranked: Vec<(f32, Passage)> = found
            .iter()
            .filter_map(|passage| Some((rank(question, passage, of_others(&passage.article_slug))?, passage.clone())))
            .collect();
        let best = ranked.into_iter().filter(|(rank, _)| *rank >= least).max_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.map(|(_, passage)| passage))
    }

    /// The headings of passages that may be meant, where none answers for certain; none that stands for two.
    pub(super) async fn maybe_meant(&self, question: &str) -> Result<Vec<String>, BankError> {
        let embedding = self.input.understanding.embedding.as_slice();
        if question != self.input.text || embedding.is_empty() {
            return Ok(Vec::new());
        }
        let mut headings: Vec<String> = Vec::new();
        for passage in self.knowledge.search(question, embedding, LOOKED_AT).await? {
            let known = headings.contains(&passage.heading) || passage.heading.is_empty();
            if !known && nearness(&passage) >= MAYBE && headings.len() < OFFERED {
                headings.push(passage.heading);
            }
        }
        Ok(headings)
    }

    /// Says honestly that there is no answer, and offers a person.
    pub(super) fn decline(&mut self, question: &str) {
        self.note_open(format!("Question without an answer: “{}”", excerpt(question)));
        self.state.failures = self.state.failures.saturating_add(1);
        if self.state.failures >= FAILURES {
            let text = self.manager.words.hand_off_out_of_scope.clone();
            self.hand_off(HandOffReason::OutOfScope, text);
            return;
        }
        let choices = vec![Choice::new("Talk to a person", "human"), Choice::new("No, thank you", "no")];
        let text = self.manager.words.no_answer.clone();
        let asked = Asked::Offer { yes: "human".to_owned() };
        self.ask(asked, format!("{text} Shall I pass you to one?"), choices, None);
    }

    /// A side question while a flow waits for an answer. Says whether it was one and has been dealt with.
    pub(super) async fn digress(&mut self, text: &str) -> Result<bool, BankError> {
        let question = without_lead(text);
        if self.consult(question).await? {
            return Ok(true);
        }
        if lexicon::digresses(text) {
            self.note_open(format!("Question without an answer: “{}”", excerpt(question)));
            let text = self.manager.words.no_answer_here.clone();
            self.say_with(text, vec![Choice::new("Talk to a person", "human")]);
            return Ok(true);
        }
        Ok(false)
    }

    /// What the customer wrote, to be looked through when a flow asks its first questions.
    pub(super) fn heard(&self, text: &str) -> Heard {
        Heard { text: text.to_owned(), seq: self.input.seq, used: Vec::new() }
    }
}

/// The question without "by the way" before it.
fn without_lead(text: &str) -> &str {
    let lower = text.to_lowercase();
    ["by the way", "btw", "quick question", "one more question", "another question", "before that", "before i answer"]
        .iter()
        .find_map(|lead| {
            let at = lower.find(lead)? + lead.len();
            text.get(at..).map(|rest| rest.trim_start_matches([',', ':', ' ', '-', '.']))
        })
        .filter(|rest| rest.split_whitespace().count() >= 2)
        .unwrap_or(text)
}

/// How near a passage is to a question, by itself or by a known way of asking for it.
fn nearness(passage: &Passage) -> f32 {
    passage.asked_as.as_ref().map_or(passage.score, |asked| asked.score.max(passage.score))
}

/// How well a passage answers a question: near in meaning, and about the same things in words. `None` if it does not.
/// `of_others`: how near the nearest passage of another article is.
fn rank(question: &str, passage: &Passage, of_others: f32) -> Option<f32> {
    let question = content(question);
    let itself = words(&format!("{} {} {}", passage.title, passage.heading, passage.text));
    let shared = shared(&question, &itself);
    let fits = match passage.score {
        score if score >= SURELY => shared >= 1,
        score if score >= VERY_NEAR => shared * 3 > question.len(),
        score if score >= NEAR => shared * 2 > question.len(),
        _ => false,
    };
    let rank = fits.then(|| passage.score + IN_WORDS * share(shared, question.len()));
    let asked_as =
        passage.asked_as.as_ref().and_then(|phrasing| rank_phrasing(&question, &itself, phrasing, of_others));
    [rank, asked_as].into_iter().flatten().max_by(f32::total_cmp)
}

/// How well a question is one of the known ways of asking for a passage. `None` if it is not.
fn rank_phrasing(question: &[Word], passage: &[Word], phrasing: &Phrasing, of_others: f32) -> Option<f32> {
    let mut within = words(&phrasing.text);
    within.extend_from_slice(passage);
    let shared = shared(question, &within);
    let fits = match phrasing.score {
        score if score >= AS_ASKED => true,
        score if score < of_others + CLEARLY => false,
        score if score >= NEARLY_AS_ASKED => shared * 3 > question.len(),
        score if score >= LIKE_ASKED => shared * 2 > question.len(),
        _ => false,
    };
    fits.then(|| phrasing.score + IN_WORDS * share(shared, question.len()))
}

/// How many of a question's words stand among others.
fn shared(question: &[Word], within: &[Word]) -> usize {
    let has = |word: &&Word| within.iter().any(|have| similar(stem(&have.text), stem(&word.text)));
    question.iter().filter(has).count()
}

fn share(of: usize, all: usize) -> f32 {
    let count = |of: usize| f32::from(u16::try_from(of).unwrap_or(u16::MAX));
    count(of) / count(all.max(1))
}

/// The words of a question that carry its subject.
pub(super) fn content(question: &str) -> Vec<Word> {
    const EMPTY: &[&str] = &[
        "a", "an", "the", "i", "i'm", "i've", "i'd", "me", "my", "you", "your", "we", "our", "it", "its", "is", "are",
        "am", "was", "be", "been", "do", "does", "did", "can", "could", "will", "would", "should", "may", "might",
        "have", "has", "had", "what", "what's", "whats", "when", "where", "which", "who", "how", "why", "if", "of",
        "to", "in", "on", "at", "for", "from", "with", "by", "and", "or", "but", "so", "that", "this", "these",
        "those", "there", "any", "some", "much", "many", "long", "please", "tell", "know", "want", "need", "get",
        "about", "way", "also", "just", "question", "harbour", "bank", "hi", "hello", "ok", "okay", "not", "no", "yes",
        "like", "take", "takes", "possible", "able", "let", "us", "go", "make", "there's", "out", "up", "then", "else",
        "more", "most", "does", "work", "works", "use", "using",
    ];
    let mut kept = words(question);
    kept.retain(|word| !EMPTY.contains(&word.text.as_str()));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, score: f32) -> Passage {
        Passage {
            article_slug: "opening-hours".into(),
            title: "Opening hours".into(),
            heading: String::new(),
            text: text.into(),
            score,
            asked_as: None,
        }
    }

    #[test]
    fn a_passage_must_be_near_and_about_the_same() {
        let hours = "Branches are open Monday to Friday from 9:00 to 17:00.";
        assert!(rank("what are your opening hours?", &passage(hours, 0.5), 0.0).is_some());
        assert!(rank("what are your opening hours?", &passage(hours, 0.2), 0.0).is_none());
        assert!(rank("do you sell pet insurance?", &passage(hours, 0.5), 0.0).is_none());
        assert!(rank("can I trade stocks when you open?", &passage(hours, 0.56), 0.0).is_none(), "one word of three");
        let mut asked = passage(hours, 0.3);
        asked.asked_as = Some(Phrasing { text: "may I visit you at noon".into(), score: 0.7 });
        assert!(rank("could I visit around noon", &asked, 0.5).is_some(), "nearly a known way of asking");
        assert!(rank("could I visit around noon", &asked, 0.65).is_none(), "another article is as near");
        assert_eq!(without_lead("By the way, what are your opening hours?"), "what are your opening hours?");
        assert_eq!(without_lead("btw"), "btw");
    }

    #[test]
    fn of_passages_that_are_as_near_the_one_with_more_of_the_words_answers() {
        let question = "until when are branches open on Friday";
        let (more, less) = ("Branches are open on Friday until 17:00.", "Branches have a letter box.");
        assert!(rank(question, &passage(more, 0.6), 0.0) > rank(question, &passage(less, 0.65), 0.0));
    }
}
