//! Nothing is running: what does the customer want?

use super::super::action::{Choice, HandOffReason};
use super::super::answer::{find_exactly, has_cue, words};
use super::super::bank::BankError;
use super::super::flow::{Flow, IDENTIFY, TALK_TO_HUMAN};
use super::super::lexicon;
use super::super::state::Asked;
use super::consult::{PASSAGE, content};
use super::{CERTAIN, Exchange, FAILURES, START};
use crate::understanding::Understanding;

/// Confidence below which an intent is not even asked about.
const GUESS: f32 = 0.25;

/// A wish found in a message.
pub(super) enum Wish<'m> {
    /// Something a flow does.
    Flow(&'m Flow),
    /// A question for the articles.
    Question,
}

impl<'m> Exchange<'m> {
    /// Finds and starts what the customer wants.
    pub(super) async fn open(&mut self) -> Result<(), BankError> {
        let text = self.input.text;
        if self.regrets(text) {
            return Ok(());
        }
        let wishes = self.wishes();
        let else_asked = self.state.asked == Some(Asked::Else);
        if wishes.is_empty() || else_asked {
            let ends = lexicon::says_goodbye(text) || (else_asked && (lexicon::denies(text) && words(text).len() <= 5));
            if ends {
                self.state.finished = true;
                self.state.asked = None;
                self.say(self.manager.words.goodbye.clone());
                return Ok(());
            }
        }
        if wishes.iter().all(|(wish, _)| matches!(wish, Wish::Question)) {
            if lexicon::thanks(text) {
                self.say(self.manager.words.welcome.clone());
                self.state.asked = Some(Asked::Else);
                return Ok(());
            }
            if lexicon::greets(text) || (else_asked && lexicon::affirms(text)) {
                self.offer_wishes(self.manager.words.hello.clone());
                self.state.asked = None;
                return Ok(());
            }
            if lexicon::cancels(text) {
                self.offer_wishes(self.manager.words.nothing_to_cancel.clone());
                return Ok(());
            }
        }
        self.state.asked = None;
        // Said about a flow's matter and not about the customer's own: what answers it well comes first, with the flow offered.
        if let [(Wish::Flow(_), question)] = wishes.as_slice()
            && lexicon::asks_impersonally(question)
            && self.consult_well(question).await?
        {
            self.state.asked = Some(Asked::Else);
            return Ok(());
        }
        let mut started = false;
        let serves = wishes.iter().any(|(wish, _)| matches!(wish, Wish::Flow(_)));
        for (wish, words) in wishes {
            match wish {
                Wish::Flow(flow) if !started => {
                    started = true;
                    let request = self.request(flow, &words);
                    self.start(request);
                }
                Wish::Flow(flow) => {
                    let request = self.request(flow, &words);
                    self.state.queue.push_back(request);
                }
                // A question beside a wish that is served: "My card is lost! What can I do?"
                Wish::Question if serves => {
                    if !self.consult(&words).await? && content(&words).len() >= 2 {
                        let text = self.manager.words.no_answer_here.clone();
                        self.say_with(text, vec![Choice::new("Talk to a person", "human")]);
                    }
                }
                Wish::Question => {
                    if self.answer_foreign(&words) {
                        return Ok(());
                    }
                    if !self.consult(&words).await? {
                        let passages = self.maybe_meant(&words).await?;
                        if self.guess_wish(&words, passages) {
                            return Ok(());
                        }
                        self.decline(&words);
                        if self.state.handed_off {
                            return Ok(());
                        }
                    } else {
                        self.state.asked = Some(Asked::Else);
                    }
                }
            }
        }
        Ok(())
    }

    /// The wishes of the message, in order, each with the words it was said in.
    pub(super) fn wishes(&self) -> Vec<(Wish<'m>, String)> {
        let whole = self.input.understanding;
        let mut wishes: Vec<(Wish<'m>, String)> = Vec::new();
        let mut context = String::new();
        for part in self.input.parts {
            let of_its_own = wishes.is_empty() || !lexicon::refers_back(&part.text);
            let Some(wish) = self.wish(part).filter(|wish| of_its_own || self.is_explicit(wish, part)) else {
                // What is no wish of its own belongs to the wish beside it.
                match wishes.last_mut() {
                    Some((_, words)) => append(words, &part.text),
                    None => append(&mut context, &part.text),
                }
                continue;
            };
            let same = wishes.iter_mut().find(|(before, _)| match (before, &wish) {
                (Wish::Flow(before), Wish::Flow(now)) => before.name == now.name,
                _ => false,
            });
            match same {
                Some((_, words)) => append(words, &part.text),
                None => {
                    let mut words = std::mem::take(&mut context);
                    append(&mut words, &part.text);
                    wishes.push((wish, words));
                }
            }
        }
        // Anger beside a wish is no complaint that somebody wants to make.
        let angry = |wish: &Wish<'m>| matches!(wish, Wish::Flow(flow) if !flow.settles.is_empty());
        let explicit = |(wish, words): &(Wish<'m>, String)| match wish {
            Wish::Flow(flow) => says(flow, words),
            Wish::Question => false,
        };
        if wishes.iter().any(|(wish, _)| matches!(wish, Wish::Flow(_)) && !angry(wish)) {
            let before = wishes.len();
            wishes.retain(|one| !angry(&one.0) || explicit(one));
            if wishes.len() < before && wishes.len() == 1 {
                return wishes.pop().map(|(wish, _)| (wish, self.input.text.to_owned())).into_iter().collect();
            }
        }
        if wishes.len() >= 2 {
            return wishes;
        }
        match self.wish(whole).or(wishes.pop().map(|(wish, _)| wish)) {
            Some(wish) => vec![(wish, self.input.text.to_owned())],
            None => vec![(Wish::Question, self.input.text.to_owned())],
        }
    }

    /// The wish of one clause, if the encoder is sure enough or the words leave no doubt.
    pub(super) fn wish(&self, understanding: &Understanding) -> Option<Wish<'m>> {
        let among = words(&understanding.text);
        let settled = |flow: &&Flow| flow.settles.iter().any(|words| find_exactly(&among, words).is_some());
        if let Some(flow) = self.manager.flows().iter().find(settled) {
            return Some(Wish::Flow(flow));
        }
        // Said about the flow's own matter, but in general: the articles know, and the flow is offered with the answer.
        if lexicon::asks_generally(&understanding.text) {
            return Some(Wish::Question);
        }
        if let Some(flow) = self.likely_flow(understanding) {
            return Some(Wish::Flow(flow));
        }
        let asks = understanding.intent == "general_question" && understanding.confidence >= START;
        let question = lexicon::is_question(&understanding.text);
        if asks {
            return (question || understanding.confidence >= CERTAIN).then_some(Wish::Question);
        }
        let cued = self
            .manager
            .flows()
            .iter()
            .find(|flow| flow.name != IDENTIFY && flow.cues.iter().any(|cue| has_cue(&among, cue)));
        match cued {
            Some(flow) => Some(Wish::Flow(flow)),
            None if question && among.len() >= 3 => Some(Wish::Question),
            None => None,
        }
    }

    /// Whether a clause names its wish in so many words.
    fn is_explicit(&self, wish: &Wish<'m>, part: &Understanding) -> bool {
        matches!(wish, Wish::Flow(flow) if says(flow, &part.text))
    }

    /// The flow of the encoder's intent, if it is sure enough. A person is not called on a mere likelihood.
    pub(super) fn likely_flow(&self, understanding: &Understanding) -> Option<&'m Flow> {
        let enough = if understanding.intent == TALK_TO_HUMAN { CERTAIN } else { START };
        let sure = understanding.confidence >= enough && understanding.in_scope;
        let among = words(&understanding.text);
        let other = |flow: &&Flow| flow.unless.iter().any(|phrase| find_exactly(&among, phrase).is_some());
        self.manager.by_intent(&understanding.intent).filter(|flow| sure && !other(flow))
    }

    /// Asks whether the customer wants what the encoder holds for likely, or means one of some passages' headings. Says
    /// whether it did.
    fn guess_wish(&mut self, text: &str, passages: Vec<String>) -> bool {
        let whole = self.input.understanding;
        let likely = std::iter::once((whole.intent.as_str(), whole.confidence))
            .chain(whole.alternatives.iter().map(|(intent, confidence)| (intent.as_str(), *confidence)));
        let mut flows: Vec<&'m Flow> = Vec::new();
        for (intent, confidence) in likely {
            if let Some(flow) = self.manager.by_intent(intent)
                && confidence >= GUESS
                && flow.name != TALK_TO_HUMAN
                && !flows.iter().any(|other| other.name == flow.name)
            {
                flows.push(flow);
            }
        }
        let likely_best = flows.first().copied();
        if likely_best.is_none() && passages.is_empty() && lexicon::is_question(text) {
            return false;
        }
        self.state.failures = self.state.failures.saturating_add(1);
        if self.state.failures >= FAILURES {
            let text = self.manager.words.hand_off_misunderstood.clone();
            self.hand_off(HandOffReason::Misunderstood, text);
            return true;
        }
        let mut choices: Vec<Choice> =
            flows.iter().take(3).map(|flow| Choice::new(flow.title.clone(), format!("start:{}", flow.name))).collect();
        if !passages.is_empty() {
            let mut offered: Vec<Choice> =
                passages.into_iter().map(|heading| Choice::new(heading, PASSAGE.to_owned())).collect();
            offered.append(&mut choices);
            offered.push(Choice::new("Talk to a person", "human"));
            let text = self.manager.words.clarify_passages.clone();
            self.ask(Asked::Offer { yes: "wishes".to_owned() }, text, offered, None);
            return true;
        }
        match likely_best {
            Some(flow) => {
                choices.push(Choice::new("Something else", "no"));
                let text = self.with_wish(&self.manager.words.clarify, flow);
                let yes = format!("start:{}", flow.name);
                self.ask(Asked::Offer { yes }, text, choices, None);
            }
            None => {
                let mut choices = self.manager.wishes();
                choices.push(Choice::new("Talk to a person", "human"));
                let text = self.manager.words.clarify_open.clone();
                let yes = "wishes".to_owned();
                self.ask(Asked::Offer { yes }, text, choices, None);
            }
        }
        true
    }

    /// A change of mind about what was just done. Says whether it was one.
    fn regrets(&mut self, text: &str) -> bool {
        let recent = self.state.last_done.clone().filter(|done| done.age <= 2);
        let Some(done) = recent else { return false };
        let sure_of_other = self.input.understanding.confidence >= CERTAIN
            && self.input.understanding.in_scope
            && self.manager.by_intent(&self.input.understanding.intent).is_some_and(|flow| flow.name != done.flow);
        let plain_no = lexicon::denies(text) || lexicon::says_goodbye(text) || lexicon::thanks(text);
        let regret = lexicon::cancels(text)
            || lexicon::undoes(text)
            || (lexicon::corrects(text) && !plain_no && !lexicon::is_question(text));
        if !regret || sure_of_other {
            return false;
        }
        self.say_undo(&done);
        true
    }

    /// Says what can be done about something that was done, and offers a way.
    pub(super) fn say_undo(&mut self, done: &super::super::state::Done) {
        self.note_open(format!("Changed their mind about: {}", done.text));
        self.ground.add(&done.text);
        let text = done.undo.clone().unwrap_or_else(|| self.manager.words.hand_off_needs_person.clone());
        let again = self.manager.flow(&done.flow).filter(|flow| flow.repeat);
        let mut choices = Vec::new();
        if let Some(flow) = again {
            choices.push(Choice::new(flow.title.clone(), format!("start:{}", flow.name)));
        }
        choices.push(Choice::new("Talk to a person", "human"));
        choices.push(Choice::new("Leave it as it is", "no"));
        let yes = again.map_or_else(|| "human".to_owned(), |flow| format!("start:{}", flow.name));
        self.ask(Asked::Offer { yes }, text, choices, None);
    }

    /// Takes the next request of the queue, if there is one.
    pub(super) fn next_request(&mut self) -> bool {
        let Some(request) = self.state.queue.pop_front() else { return false };
        let Some(flow) = self.manager.flow(&request.flow) else { return true };
        let text = self.with_wish(&self.manager.words.next_wish, flow);
        self.say(text);
        // What the opening would say has just been said.
        self.start(request);
        if let Some(run) = self.run_mut() {
            run.opened = true;
        }
        true
    }
}

/// Whether a text holds words that stand for a flow.
pub(super) fn says(flow: &Flow, text: &str) -> bool {
    let among = words(text);
    flow.cues.iter().any(|cue| has_cue(&among, cue))
        || flow.settles.iter().any(|words| find_exactly(&among, words).is_some())
}

fn append(words: &mut String, more: &str) {
    if !words.is_empty() {
        words.push(' ');
    }
    words.push_str(more.trim());
}
