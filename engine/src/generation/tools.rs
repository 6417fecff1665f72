//! Calls of tools in a model's text.
//!
//! Two forms are read: `<tool_call>{"name": …, "arguments": …}</tool_call>` (Hermes, Qwen) anywhere in the text, and a text
//! that is nothing but the JSON object, as it is forced by a schema where the caller requires a call.

use serde::Deserialize;
use serde_json::Value;

use super::ToolCall;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// What to listen for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Listening {
    /// No tools: all is text.
    #[default]
    No,
    /// Calls between marks.
    Marked,
    /// The whole text is one call.
    Whole,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default, alias = "parameters")]
    arguments: Value,
}

/// Separates calls from text as it comes.
#[derive(Debug)]
pub(crate) struct ToolListener {
    listening: Listening,
    /// Text that may be or is part of a call.
    held: String,
    within: bool,
    calls: usize,
}

impl ToolListener {
    pub(crate) fn new(listening: Listening) -> Self {
        Self { listening, held: String::new(), within: false, calls: 0 }
    }

    /// Whether a call was heard.
    pub(crate) fn called(&self) -> bool {
        self.calls > 0
    }

    /// Adds text; answers what is certainly text and whole calls.
    pub(crate) fn push(&mut self, text: &str) -> (String, Vec<ToolCall>) {
        let (mut out, mut calls) = (String::new(), Vec::new());
        match self.listening {
            Listening::No => out.push_str(text),
            Listening::Whole => self.held.push_str(text),
            Listening::Marked => {
                self.held.push_str(text);
                while self.advance(&mut out, &mut calls) {}
            }
        }
        (out, calls)
    }

    /// The end: a call that is whole but for its closing mark counts, anything else is text.
    pub(crate) fn finish(&mut self) -> (String, Vec<ToolCall>) {
        let held = std::mem::take(&mut self.held);
        let open = self.listening == Listening::Whole || self.within;
        match open.then(|| self.read(&held)).flatten() {
            Some(call) => (String::new(), vec![call]),
            None if self.within => (format!("{OPEN}{held}"), Vec::new()),
            None => (held, Vec::new()),
        }
    }

    /// Takes the next whole piece out of what is held. Answers whether there may be another.
    fn advance(&mut self, out: &mut String, calls: &mut Vec<ToolCall>) -> bool {
        let mark = if self.within { CLOSE } else { OPEN };
        let Some(at) = self.held.find(mark) else {
            if !self.within {
                let undecided = self.held.char_indices().map(|(at, _)| at);
                let certain = undecided
                    .into_iter()
                    .find(|&at| self.held.get(at..).is_some_and(|rest| mark.starts_with(rest)))
                    .unwrap_or(self.held.len());
                out.extend(self.held.drain(..certain));
            }
            return false;
        };
        let before: String = self.held.drain(..at).collect();
        self.held.drain(..mark.len());
        if self.within {
            match self.read(&before) {
                Some(call) => calls.push(call),
                None => out.push_str(&format!("{OPEN}{before}{CLOSE}")),
            }
        } else {
            // The line break before a call belongs to the call.
            out.push_str(before.trim_end());
        }
        self.within = !self.within;
        true
    }

    fn read(&mut self, text: &str) -> Option<ToolCall> {
        let written: Written = serde_json::from_str(text.trim()).ok()?;
        let arguments = match written.arguments {
            Value::Null => "{}".to_owned(),
            // Some models write the arguments as text already.
            Value::String(text) => text,
            arguments => arguments.to_string(),
        };
        self.calls += 1;
        let id = format!("call_{:016x}", rand::random::<u64>());
        Some(ToolCall { id, name: written.name, arguments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(listening: Listening, pieces: &[&str]) -> (String, Vec<(String, String)>) {
        let mut listener = ToolListener::new(listening);
        let (mut text, mut calls) = (String::new(), Vec::new());
        let mut add = |(said, called): (String, Vec<ToolCall>)| {
            text.push_str(&said);
            calls.extend(called.into_iter().map(|call| (call.name, call.arguments)));
        };
        pieces.iter().for_each(|piece| add(listener.push(piece)));
        add(listener.finish());
        (text, calls)
    }

    #[test]
    fn calls_are_found_wherever_the_pieces_break() {
        let whole = "Let me see.\n<tool_call>\n{\"name\": \"balance\", \"arguments\": {\"account\": 7}}\n</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>";
        let calls = vec![("balance".to_owned(), "{\"account\":7}".to_owned()), ("now".to_owned(), "{}".to_owned())];
        for size in 1..20 {
            let characters: Vec<char> = whole.chars().collect();
            let pieces: Vec<String> = characters.chunks(size).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (text, heard) = hear(Listening::Marked, &pieces);
            assert_eq!((text.trim_end(), heard), ("Let me see.", calls.clone()), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_call_stays_text() {
        assert_eq!(hear(Listening::Marked, &["a < b <tool", "s> c"]), ("a < b <tools> c".to_owned(), vec![]));
        let broken = "<tool_call>{oops</tool_call> sorry";
        assert_eq!(hear(Listening::Marked, &[broken]), (broken.to_owned(), vec![]));
        assert_eq!(hear(Listening::Marked, &["x<tool_call>{\"na"]), ("x<tool_call>{\"na".to_owned(), vec![]));
        assert_eq!(hear(Listening::No, &["<tool_call>"]), ("<tool_call>".to_owned(), vec![]));
    }

    #[test]
    fn a_forced_call_is_the_whole_text() {
        let (text, calls) = hear(Listening::Whole, &["{\"name\":\"pay\",", "\"arguments\":{\"to\":\"A\"}}"]);
        assert_eq!((text.as_str(), calls), ("", vec![("pay".to_owned(), "{\"to\":\"A\"}".to_owned())]));
    }
}
