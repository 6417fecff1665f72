//! What both kinds of completion answer with.

use candor_engine::generation::{Finish, ToolCall, Usage};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

/// What every piece of one answer carries.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    id: String,
    created: i64,
    model: String,
}

impl Envelope {
    pub(super) fn new(prefix: &str, model: &str) -> Self {
        Self {
            id: format!("{prefix}-{}", Uuid::now_v7().simple()),
            created: Utc::now().timestamp(),
            model: model.to_owned(),
        }
    }

    /// A whole answer or a piece of one.
    pub(super) fn wrap(&self, object: &str, choices: Vec<Value>, usage: Option<Usage>) -> Value {
        let mut answer = json!({ "id": self.id, "object": object, "created": self.created, "model": self.model,
                                 "choices": choices });
        if let (Some(usage), Some(fields)) = (usage, answer.as_object_mut()) {
            fields.insert("usage".to_owned(), usage_json(usage));
        }
        answer
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}

/// Usage of several prompts together.
pub(super) fn sum(usages: impl Iterator<Item = Usage>) -> Usage {
    usages.fold(Usage::default(), |sum, one| Usage {
        prompt_tokens: sum.prompt_tokens + one.prompt_tokens,
        cached_tokens: sum.cached_tokens + one.cached_tokens,
        completion_tokens: sum.completion_tokens + one.completion_tokens,
    })
}

pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

pub(super) fn tool_call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}
