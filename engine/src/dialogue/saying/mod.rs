//! Said, then checked: what the manager decided, in a generator's words.
//!
//! The typed action decides what happens; a model only chooses how it is said. Values are taken out before it is asked
//! and put back afterwards ([`places`]), and nothing it says is shown before it has been checked ([`check`]): what fails is
//! said in the flow's own wording. The same holds for summaries.

pub mod check;
pub mod evaluate;
pub mod places;
mod prompt;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use prompt::{Spoken, Tone};

use self::check::{Fault, Grounds, check, supported};
use self::prompt::Prompt;
use super::action::Action;
use super::manager::{Manager, Turn};
use super::state::Language;
use super::summary::{Line, Summary};
use crate::generation::{Chat, Finish, Generator, Prompt as Asked, Request, Sampling};

/// Tokens of a reply at most.
const REPLY_TOKENS: usize = 160;
/// Tokens of a summary at most.
const SUMMARY_TOKENS: usize = 320;
/// How long a customer waits for other words.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why something was not said in the generator's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSaid {
    /// The check refused it.
    #[error("the reply was refused: {0}")]
    Refused(#[from] Fault),
    /// The generator failed, was too slow or ran out of tokens.
    #[error("the generator did not answer: {0}")]
    Silent(String),
    /// The prompt holds more values than a model has places for, or what is said is the bank's own record.
    #[error("this is not for a generator")]
    NotAsked,
}

/// What was said so far, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Replies, or summaries, that were asked for.
    pub asked: u64,
    /// Of these, said in the generator's words.
    pub said: u64,
    /// Of these, word for word the flow's own.
    pub alike: u64,
    /// Those refused or not made, by cause.
    pub fallbacks: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Share of what was asked that the flow's own wording had to say.
    #[must_use]
    pub fn fallback_rate(&self) -> f64 {
        let count = |of: u64| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
        if self.asked == 0 { 0.0 } else { count(self.asked.saturating_sub(self.said)) / count(self.asked) }
    }
}

/// A generator that words what the dialogue manager decides.
pub struct Saying {
    generator: Arc<dyn Generator>,
    tone: Tone,
    patience: Duration,
    replies: Mutex<Figures>,
    summaries: Mutex<Figures>,
}

impl Saying {
    /// Says things with this generator, in the bank's tone.
    #[must_use]
    pub fn new(generator: Arc<dyn Generator>, tone: Tone) -> Self {
        Self { generator, tone, patience: PATIENCE, replies: Mutex::default(), summaries: Mutex::default() }
    }

    /// The same with another patience: evaluation has more than a customer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Words a whole turn: what passes the check takes the place of the flow's wording, in the actions and in what the
    /// conversation remembers. All of it together takes no longer than the patience.
    pub async fn word(&self, manager: &Manager, unhappy: bool, turn: &mut Turn) {
        if turn.state.language != Language::English {
            return;
        }
        let until = Instant::now() + self.patience;
        let flow = turn.state.flow().and_then(|name| manager.flow(name)).map(|flow| flow.title.as_str());
        let mut worded: Vec<String> = Vec::with_capacity(turn.actions.len());
        for action in &turn.actions {
            let mut said = turn.state.said();
            said.extend(worded.iter().map(|text| Spoken { by_customer: false, text }));
            let left = until.saturating_duration_since(Instant::now());
            let text = match self.reply_within(&said, action, flow, unhappy, left).await {
                Ok(text) => text,
                Err(problem) => {
                    tracing::debug!(%problem, "said in the flow's own words");
                    action.text().to_owned()
                }
            };
            worded.push(text);
        }
        for (action, words) in turn.actions.iter_mut().zip(&worded) {
            match action {
                Action::Say { text, .. } | Action::Ask { text, .. } | Action::HandOff { text, .. } => {
                    text.clone_from(words)
                }
                Action::Act { .. } => {}
            }
        }
        turn.state.reword(worded);
    }

    /// An action in the generator's words.
    ///
    /// # Errors
    /// [`NotSaid`]; say [`Action::text`] then.
    pub async fn reply(
        &self,
        said: &[Spoken<'_>],
        action: &Action,
        flow: Option<&str>,
        unhappy: bool,
    ) -> Result<String, NotSaid> {
        self.reply_within(said, action, flow, unhappy, self.patience).await
    }

    async fn reply_within(
        &self,
        said: &[Spoken<'_>],
        action: &Action,
        flow: Option<&str>,
        unhappy: bool,
        patience: Duration,
    ) -> Result<String, NotSaid> {
        let tone = if unhappy { Tone::Sorry } else { self.tone };
        let prompt = Prompt::reply(said, action, flow, tone).ok_or(NotSaid::NotAsked)?;
        let title = match action {
            Action::Say { citations, .. } => citations.first().map_or("", |citation| citation.title.as_str()),
            _ => "",
        };
        let grounds = Grounds { words: action.text(), also: &[title, flow.unwrap_or_default()] };
        let done = match self.generate(prompt, REPLY_TOKENS, patience).await {
            Ok(text) => check(&text, &grounds).map(|()| text).map_err(NotSaid::from),
            Err(problem) => Err(problem),
        };
        count(&self.replies, done.as_deref(), action.text());
        done
    }

    /// The running summary in the generator's words: what `said` amounts to. `notes` is the manager's own summary, which
    /// alone knows what was done; it is what to show when this fails.
    ///
    /// # Errors
    /// [`NotSaid`].
    pub async fn summary(&self, said: &[Spoken<'_>], notes: &Summary) -> Result<Summary, NotSaid> {
        let known = notes.facts.iter().find(|line| line.about == "identity");
        let known = known.and_then(|line| line.text.strip_prefix("Identified as "));
        let done = match self.generate(Prompt::summary(said, known), SUMMARY_TOKENS, self.patience).await {
            Ok(text) => checked_summary(&text, said, notes),
            Err(problem) => Err(problem),
        };
        count(&self.summaries, done.as_ref().map(|_| ""), "-");
        done
    }

    async fn generate(&self, prompt: Prompt, tokens: usize, patience: Duration) -> Result<String, NotSaid> {
        if prompt.places.overflow() {
            return Err(NotSaid::NotAsked);
        }
        let request = Request {
            prompt: Asked::Chat(Chat { messages: prompt.messages, ..Chat::default() }),
            sampling: Sampling::greedy(),
            max_tokens: Some(tokens),
            ..Request::chat(Vec::new())
        };
        let work = async {
            let generation = self.generator.generate(request).await?;
            generation.collect().await
        };
        let made = match tokio::time::timeout(patience, work).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(NotSaid::Silent(error.to_string())),
            Err(_) => return Err(NotSaid::Silent("too slow".to_owned())),
        };
        if made.finish == Finish::Length {
            return Err(Fault::TooMuch.into());
        }
        let text = prompt.places.put_back(made.text.trim());
        text.map_err(|place| Fault::Value(place.to_string()).into())
    }

    /// Replies counted since the program started.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Summaries counted since the program started.
    #[must_use]
    pub fn summary_figures(&self) -> Figures {
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts what was said, `own` being the flow's wording, or why it was not.
fn count(figures: &Mutex<Figures>, done: Result<&str, &NotSaid>, own: &str) {
    let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
    let cause = match done {
        Ok(text) => {
            figures.asked += 1;
            figures.said += 1;
            figures.alike += u64::from(text == own);
            return;
        }
        Err(NotSaid::NotAsked) => return,
        Err(NotSaid::Silent(_)) => "silent",
        Err(NotSaid::Refused(fault)) => fault.name(),
    };
    figures.asked += 1;
    *figures.fallbacks.entry(cause).or_default() += 1;
}

/// Reads a summary and checks each line: problem, facts and open against the conversation and the manager's notes, done
/// against the notes alone, because only an operation that was performed is done.
fn checked_summary(text: &str, said: &[Spoken<'_>], notes: &Summary) -> Result<Summary, NotSaid> {
    let lines = |lines: &[Line]| -> Vec<String> { lines.iter().map(|line| line.text.clone()).collect() };
    let done = lines(&notes.done);
    let mut sources: Vec<String> = said.iter().map(|spoken| spoken.text.to_owned()).collect();
    for part in [&notes.problem, &notes.facts, &notes.open] {
        sources.extend(lines(part));
    }
    sources.extend(done.iter().cloned());
    let mut summary = Summary::default();
    for (name, from, to, of) in [
        ("problem", &sources, &mut summary.problem, &notes.problem),
        ("facts", &sources, &mut summary.facts, &notes.facts),
        ("done", &done, &mut summary.done, &notes.done),
        ("open", &sources, &mut summary.open, &notes.open),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or(Fault::TooLittle)?;
        for note in line.split("; ").map(str::trim).filter(|note| !note.is_empty() && *note != "none") {
            supported(note, from)?;
            let near = of.iter().find(|line| line.text.starts_with(note)).or_else(|| of.last());
            let (seq, about) = near.map_or((0, String::new()), |line| (line.seq, line.about.clone()));
            to.push(Line { text: note.to_owned(), seq, about });
        }
    }
    // What was done is never left out.
    if summary.done.len() < notes.done.len() || (summary.problem.is_empty() && !notes.problem.is_empty()) {
        return Err(Fault::TooLittle.into());
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::dialogue::{Choice, Citation, State};
    use crate::generation::{Error, Event, Generation, Message, Usage, channel};

    /// Answers each prompt by a function of what it is asked to say.
    struct Scripted(Answer);

    type Answer = fn(&[Message]) -> Result<String, Error>;

    #[async_trait]
    impl Generator for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        async fn generate(&self, request: Request) -> Result<Generation, Error> {
            let Asked::Chat(chat) = request.prompt else { return Err(Error::Invalid("no chat".into())) };
            let (sender, generation) = channel();
            match (self.0)(&chat.messages) {
                Ok(text) => {
                    sender.send(Event::Text { text, logprobs: Vec::new() }).unwrap();
                    sender.send(Event::Done { finish: Finish::Stop, usage: Usage::default() }).unwrap();
                }
                Err(error) => sender.send(Event::Failed(error)).unwrap(),
            }
            Ok(generation)
        }
    }

    fn saying(answer: Answer) -> Saying {
        Saying::new(Arc::new(Scripted(answer)), Tone::Warm)
    }

    fn ask(text: &str) -> Action {
        Action::Ask {
            slot: "confirm".into(),
            text: text.into(),
            choices: vec![Choice::new("Yes", "yes")],
            summary: None,
        }
    }

    const SAID: [Spoken<'static>; 1] = [Spoken { by_customer: true, text: "I lost my card 4821" }];

    #[tokio::test]
    async fn places_are_filled_with_the_values_of_the_action() {
        let saying = saying(|asked| {
            let last = asked.last().unwrap();
            assert!(
                last.content.ends_with("words Block the debit card ending <code1>? This can not be undone."),
                "{last:?}"
            );
            assert!(!asked.iter().any(|message| message.content.contains("4821")));
            Ok("I am sorry to hear that. Shall I block the debit card ending <code1>? This can not be undone.".into())
        });
        let text =
            saying.reply(&SAID, &ask("Block the debit card ending 4821? This can not be undone."), None, false).await;
        assert_eq!(
            text.as_deref(),
            Ok("I am sorry to hear that. Shall I block the debit card ending 4821? This can not be undone.")
        );
        let figures = saying.figures();
        assert_eq!((figures.asked, figures.said, figures.alike), (1, 1, 0));
    }

    #[tokio::test]
    async fn what_fails_is_said_in_the_flows_own_words() {
        let words = "Block the debit card ending 4821? This can not be undone.";
        let answers: [(Answer, &str); 4] = [
            (|_| Ok("Shall I block the debit card ending <code2>? This can not be undone.".into()), "value"),
            (|_| Ok("I have blocked the debit card ending <code1>. This can not be undone. Right?".into()), "claim"),
            (|_| Ok("Shall I block the debit card ending <code1>? This can be undone.".into()), "denial"),
            (|_| Err(Error::Stopped), "silent"),
        ];
        for (answer, cause) in answers {
            let saying = saying(answer);
            let mut turn = Turn { state: State::default(), actions: vec![ask(words)] };
            saying.word(&Manager::shipped().unwrap(), false, &mut turn).await;
            assert_eq!(turn.actions, [ask(words)]);
            assert_eq!(saying.figures().fallbacks, BTreeMap::from([(cause, 1)]));
            assert!((saying.figures().fallback_rate() - 1.0).abs() < 1e-9);
        }
    }

    #[tokio::test]
    async fn receipts_and_citations_stay_as_they_are() {
        let saying = saying(|_| Ok("Of course. It opens at <time1>.".into()));
        let citation = Citation {
            article_slug: "hours".into(),
            title: "Opening hours".into(),
            passage: "It opens at 9:00.".into(),
        };
        let say =
            |text: &str| Action::Say { text: text.into(), citations: vec![citation.clone()], choices: Vec::new() };
        let mut turn = Turn { state: State::default(), actions: vec![say("It opens at 9:00.")] };
        saying.word(&Manager::shipped().unwrap(), false, &mut turn).await;
        assert_eq!(turn.actions, [say("Of course. It opens at 9:00.")]);
    }

    #[tokio::test]
    async fn a_summary_is_checked_line_by_line() {
        let line = |text: &str, about: &str| Line { text: text.into(), seq: 3, about: about.into() };
        let notes = Summary {
            problem: vec![line("Block a lost or stolen card: “I lost my card 4821”", "")],
            facts: vec![line("Identified as Anna Weber (C-10023)", "identity")],
            done: vec![line("Your card ending 4821 is blocked.", "")],
            open: Vec::new(),
        };
        let good = saying(|_| {
            Ok("problem: Block a lost or stolen card\nfacts: Identified as <name1> (<code2>)\ndone: Your card ending <code1> \
                is blocked.\nopen: none"
                .into())
        });
        let summary = good.summary(&SAID, &notes).await.unwrap();
        assert_eq!(summary.done, notes.done);
        assert_eq!(summary.facts, [line("Identified as Anna Weber (C-10023)", "identity")]);
        let bad = saying(|_| {
            Ok("problem: Block a lost or stolen card\nfacts: none\ndone: Your card ending <code1> is blocked.; A new card has \
                been ordered\nopen: none"
                .into())
        });
        assert!(matches!(bad.summary(&SAID, &notes).await, Err(NotSaid::Refused(Fault::Word(_)))));
        let short = saying(|_| Ok("problem: Block a lost or stolen card\nfacts: none\ndone: none\nopen: none".into()));
        assert_eq!(short.summary(&SAID, &notes).await, Err(NotSaid::Refused(Fault::TooLittle)));
    }
}
