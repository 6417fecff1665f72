//! From drawn tokens to events: bytes, characters, stop strings, calls of tools.

use std::sync::Arc;

use crate::generation::tools::{Listening, ToolListener};
use crate::generation::{Error, Event, Finish, Sender, TokenLogprob, Usage};
use crate::tokens::text::{TextTokens, Utf8};

use super::sampling::Thought;
use super::stop::StopStrings;

/// One generation's way to whoever listens.
pub(crate) struct Voice {
    tokens: Arc<TextTokens>,
    characters: Utf8,
    stops: StopStrings,
    tools: ToolListener,
    events: Sender,
    /// Text of one step; kept for its memory.
    fresh: String,
}

impl Voice {
    pub(crate) fn new(tokens: Arc<TextTokens>, stop: Vec<String>, tools: Listening, events: Sender) -> Self {
        Self {
            tokens,
            characters: Utf8::default(),
            stops: StopStrings::new(stop),
            tools: ToolListener::new(tools),
            events,
            fresh: String::new(),
        }
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_unheard(&self) -> bool {
        self.events.is_closed()
    }

    /// Says a token; marks are not said. Answers whether a stop string was met.
    pub(crate) fn say(&mut self, token: u32, thought: Option<Thought>, ends: bool) -> bool {
        self.fresh.clear();
        if !ends && !self.tokens.is_special(token) {
            self.characters.push(self.tokens.bytes(token), &mut self.fresh);
        }
        let logprobs: Vec<_> = thought.into_iter().map(|thought| self.describe(token, &thought)).collect();
        let mut certain = String::new();
        let stopped = self.stops.push(&self.fresh, &mut certain);
        self.send(&certain, logprobs);
        stopped
    }

    /// The end.
    pub(crate) fn finish(mut self, finish: Finish, usage: Usage) {
        // What was held back is text, unless a stop was met: then nothing is held back.
        self.fresh.clear();
        self.characters.finish(&mut self.fresh);
        let mut rest = String::new();
        let met = self.stops.push(&self.fresh, &mut rest);
        self.stops.finish(&mut rest);
        self.send(&rest, Vec::new());
        let (text, calls) = self.tools.finish();
        let called = self.tools.called() || !calls.is_empty();
        self.emit(text, Vec::new());
        for call in calls {
            // Nobody may listen any more; then nothing is lost.
            let _ = self.events.send(Event::ToolCall(call));
        }
        let finish = if called {
            Finish::ToolCalls
        } else if met {
            Finish::Stop
        } else {
            finish
        };
        let _ = self.events.send(Event::Done { finish, usage });
    }

    /// The end without a result.
    pub(crate) fn fail(self, error: Error) {
        let _ = self.events.send(Event::Failed(error));
    }

    fn send(&mut self, text: &str, logprobs: Vec<TokenLogprob>) {
        let (text, calls) = self.tools.push(text);
        self.emit(text, logprobs);
        for call in calls {
            let _ = self.events.send(Event::ToolCall(call));
        }
    }

    fn emit(&self, text: String, logprobs: Vec<TokenLogprob>) {
        if !text.is_empty() || !logprobs.is_empty() {
            let _ = self.events.send(Event::Text { text, logprobs });
        }
    }

    fn describe(&self, token: u32, thought: &Thought) -> TokenLogprob {
        let spelt = |token: u32| {
            let bytes = self.tokens.bytes(token);
            (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
        };
        let (text, bytes) = spelt(token);
        let top = thought.top.iter().map(|&(token, logprob)| {
            let (text, bytes) = spelt(token);
            (text, bytes, logprob)
        });
        TokenLogprob { token: text, bytes, logprob: thought.logprob, top: top.collect() }
    }
}
