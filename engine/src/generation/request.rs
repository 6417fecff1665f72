//! What can be asked of a generator.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most alternatives that are answered beside each token.
pub const TOP_LOGPROBS: usize = 20;

/// One generation.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is continued.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Tokens generated at most; `None` takes what the context holds.
    pub max_tokens: Option<usize>,
    /// Texts that end the generation; they are not part of it.
    pub stop: Vec<String>,
    /// How many alternatives are answered beside each token, at most [`TOP_LOGPROBS`]; `None` answers no logarithms.
    pub logprobs: Option<usize>,
    /// What the text must be.
    pub format: Format,
    /// Whose request it is: the queue is fair between callers.
    pub caller: String,
    /// Name of an adapter that was loaded for the model.
    pub adapter: Option<String>,
}

/// What is continued.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// A text, as it is.
    Text(String),
    /// Tokens, as they are.
    Tokens(Vec<u32>),
    /// A conversation, put into the model's own form.
    Chat(Chat),
}

/// A conversation and the tools the model may call.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// What was said, first to last.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must, or must not.
    pub tool_choice: ToolChoice,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The answer of a tool.
    Tool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Tools that the model called in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's turn answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A turn of this role.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// What a person says.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// Instructions.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }
}

/// Something the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// Whether tools are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Never.
    None,
    /// One of them, always.
    Required,
    /// This one, always.
    Named(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Identifier, for the answer.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Its arguments as JSON text.
    pub arguments: String,
}

/// What the text must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Format {
    /// Anything.
    #[default]
    Text,
    /// One JSON object.
    JsonObject,
    /// A JSON value of this schema.
    JsonSchema(Value),
}

/// How the next token is drawn, in this order: penalties and biases, mask, temperature, min-p, top-k, top-p.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Only the k most likely; 0 is all.
    pub top_k: usize,
    /// Only the most likely that together have this probability (Holtzman et al. 2020); 1 is all.
    pub top_p: f32,
    /// Only those at least this many times as likely as the most likely one (Nguyen et al. 2025); 0 is all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens in prompt or text (Keskar et al. 2019); 1 is off.
    pub repetition_penalty: f32,
    /// Taken once from the logit of each token in the text.
    pub presence_penalty: f32,
    /// Taken from the logit of each token in the text as often as it is there.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Same seed, same prompt, same text, whatever else is generated meanwhile. `None` draws one.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl Sampling {
    /// Always the most likely token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Says which number is out of its range.
    ///
    /// # Errors
    /// [`super::Error::Invalid`] with the number's name.
    pub fn check(&self) -> Result<(), super::Error> {
        let checks = [
            ("temperature", self.temperature, 0.0..=100.0),
            ("top_p", self.top_p, 0.0..=1.0),
            ("min_p", self.min_p, 0.0..=1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01..=100.0),
            ("presence_penalty", self.presence_penalty, -100.0..=100.0),
            ("frequency_penalty", self.frequency_penalty, -100.0..=100.0),
        ];
        for (name, value, range) in checks {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(super::Error::Invalid(format!("{name} must be between {least} and {most}")));
            }
        }
        if self.logit_bias.iter().any(|(_, bias)| bias.is_nan()) {
            return Err(super::Error::Invalid("logit_bias must be numbers".to_owned()));
        }
        Ok(())
    }
}

impl Request {
    /// A text to continue.
    #[must_use]
    pub fn text(prompt: impl Into<String>) -> Self {
        Self::new(Prompt::Text(prompt.into()))
    }

    /// A conversation to continue.
    #[must_use]
    pub fn chat(messages: Vec<Message>) -> Self {
        Self::new(Prompt::Chat(Chat { messages, ..Chat::default() }))
    }

    /// A prompt with everything else as usual.
    #[must_use]
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            sampling: Sampling::default(),
            max_tokens: None,
            stop: Vec::new(),
            logprobs: None,
            format: Format::Text,
            caller: "candor".to_owned(),
            adapter: None,
        }
    }
}
