//! A model's own form of a conversation: the `chat_template` of its folder, a Jinja template.

use std::fmt::Write as _;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::ser::Formatter;

use crate::weights::Folder;

use super::request::{Chat, Message, ToolChoice};

const NAME: &str = "chat";

/// A template that is wrong, or refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("the chat template can not be used: {0}")]
pub struct TemplateError(String);

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        Self(error.detail().map_or_else(|| error.to_string(), str::to_owned))
    }
}

/// A compiled template, with the marks it may use.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    beginning: String,
    end: String,
}

/// What `tokenizer_config.json` says.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<Written>,
    #[serde(default)]
    bos_token: Option<Mark>,
    #[serde(default)]
    eos_token: Option<Mark>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Several(Vec<Named>),
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Mark {
    Text(String),
    Token { content: String },
}

impl Mark {
    fn text(self) -> String {
        match self {
            Self::Text(content) | Self::Token { content } => content,
        }
    }
}

impl ChatTemplate {
    /// Compiles a template in the dialect that checkpoints are published in: Python's methods on values, `raise_exception`,
    /// `strftime_now`, and `tojson` that writes as Python does.
    ///
    /// # Errors
    /// [`TemplateError`] with the line that does not parse.
    pub fn new(template: &str, beginning: &str, end: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| chrono::Local::now().format(&format).to_string());
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, template.to_owned())?;
        Ok(Self { environment, beginning: beginning.to_owned(), end: end.to_owned() })
    }

    /// Reads a model's template: `chat_template.jinja`, or what `tokenizer_config.json` holds. `None` where there is none.
    ///
    /// # Errors
    /// [`TemplateError`] when it does not parse.
    pub(crate) fn open(folder: &Folder) -> Result<Option<Self>, TemplateError> {
        let config: TokenizerConfig = folder.read_json("tokenizer_config.json").unwrap_or_default();
        let file = folder.read("chat_template.jinja").ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let inside = config.chat_template.and_then(|written| match written {
            Written::One(template) => Some(template),
            Written::Several(all) => {
                let place = all.iter().position(|one| one.name == "default").unwrap_or(0);
                all.into_iter().nth(place).map(|one| one.template)
            }
        });
        let text = |mark: Option<Mark>| mark.map(Mark::text).unwrap_or_default();
        let (beginning, end) = (text(config.bos_token), text(config.eos_token));
        file.or(inside).map(|template| Self::new(&template, &beginning, &end)).transpose()
    }

    /// The prompt of a conversation, up to where the model's turn begins.
    ///
    /// # Errors
    /// [`TemplateError`] when the template refuses the conversation, for instance two turns of one side.
    pub fn render(&self, chat: &Chat) -> Result<String, TemplateError> {
        let messages: Vec<_> = chat.messages.iter().map(message).collect();
        let tools: Vec<_> = chat.tools.iter().map(|tool| json!({ "type": "function", "function": tool })).collect();
        let tools = (!tools.is_empty() && chat.tool_choice != ToolChoice::None).then_some(tools);
        let values = minijinja::context! {
            messages => Serde(messages),
            tools => Serde(tools),
            bos_token => &self.beginning,
            eos_token => &self.end,
            add_generation_prompt => true,
        };
        Ok(self.environment.get_template(NAME)?.render(values)?)
    }

    /// A form that works where a model was never given one: each turn with its side's name.
    ///
    /// # Panics
    /// Never; the text is constant.
    #[must_use]
    pub fn plain(chat: &Chat) -> String {
        let mut text = String::new();
        for message in &chat.messages {
            let role = serde_json::to_value(message.role).ok();
            let role = role.as_ref().and_then(|role| role.as_str()).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{role}: {}", message.content);
        }
        text.push_str("assistant:");
        text
    }
}

fn message(message: &Message) -> serde_json::Value {
    let mut written = json!({ "role": message.role, "content": message.content });
    if let Some(fields) = written.as_object_mut() {
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(|call| {
                // Templates expect an object; what is none is passed on as it is.
                let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
                json!({ "id": call.id, "type": "function",
                        "function": { "name": call.name, "arguments": arguments } })
            });
            fields.insert("tool_calls".to_owned(), calls.collect());
        }
        if let Some(id) = &message.tool_call_id {
            fields.insert("tool_call_id".to_owned(), json!(id));
        }
    }
    written
}

/// `json.dumps(value, ensure_ascii=False)`, as `transformers` gives it to templates.
fn to_json(value: Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let failed = |error: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut bytes = Vec::new();
    match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            Serde(value)
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
                .map_err(failed)?;
        }
        None => {
            Serde(value).serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Python)).map_err(failed)?;
        }
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Python's separators.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Role, Tool, ToolCall};
    use super::*;

    const CHATML: &str = "{%- if tools %}\n<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}
{%- for message in messages %}
<|im_start|>{{ message.role }}
{%- if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>{{ call.function.arguments | tojson }}</tool_call>{% endfor %}{% endif %}
{{ message['content'].strip() }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}";

    #[test]
    fn a_conversation_with_tools_is_written_as_python_writes_it() {
        let template = ChatTemplate::new(CHATML, "<s>", "</s>").unwrap();
        let call = ToolCall { id: "c1".into(), name: "f".into(), arguments: "{\"b\": [1, \"<é>\"]}".into() };
        let mut assistant = Message::new(Role::Assistant, "");
        assistant.tool_calls.push(call);
        let mut chat = Chat {
            messages: vec![Message::user("  Hi "), assistant],
            tools: vec![Tool { name: "f".into(), description: "d".into(), parameters: json!({"type": "object"}) }],
            tool_choice: ToolChoice::Auto,
        };
        let text = template.render(&chat).unwrap();
        assert!(text.contains("{\"b\": [1, \"<é>\"]}"), "{text}");
        assert!(
            text.contains("\"parameters\": {\"type\": \"object\"}") && text.ends_with("<|im_start|>assistant\n"),
            "{text}"
        );
        // A mark with a minus takes the line's end before it away, as Jinja does.
        assert!(text.contains("<|im_start|>userHi<|im_end|>\n"), "{text}");
        chat.tool_choice = ToolChoice::None;
        assert!(!template.render(&chat).unwrap().contains("system"));
    }

    #[test]
    fn a_refusal_of_the_template_is_said_in_its_words() {
        let template = ChatTemplate::new("{{ raise_exception('Only one system turn') }}", "", "").unwrap();
        let error = template.render(&Chat::default()).unwrap_err();
        assert!(error.to_string().ends_with("Only one system turn"), "{error}");
        assert!(ChatTemplate::new("{% if %}", "", "").is_err());
    }
}
