//! What chat and text completions have in common: how tokens are drawn and when to stop.

use std::collections::HashMap;

use candor_engine::generation::{Format, Request, Sampling, TOP_LOGPROBS};
use serde::Deserialize;
use serde_json::Value;

use crate::{AppError, Result};

/// Stop strings at most.
const STOPS: usize = 16;

#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    /// The model's name.
    pub model: String,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Option<HashMap<String, f32>>,
    seed: Option<i64>,
    stop: Option<OneOrMore>,
    n: Option<u32>,
    response_format: Option<ResponseFormat>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

#[derive(Debug, Deserialize)]
struct NamedSchema {
    schema: Option<Value>,
}

impl Settings {
    /// Whether the usage is sent after a stream.
    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// Puts the settings into a request.
    ///
    /// # Errors
    /// The first field that can not be served, by name.
    pub(super) fn apply(&self, request: &mut Request) -> Result<()> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(AppError::field("n", "Only one choice is made: n must be 1."));
        }
        let defaults = Sampling::default();
        let mut bias = Vec::new();
        for (token, value) in self.logit_bias.iter().flatten() {
            let token = token.parse().map_err(|_| AppError::field("logit_bias", format!("{token} is not a token.")))?;
            bias.push((token, *value));
        }
        bias.sort_unstable_by_key(|(token, _)| *token);
        request.sampling = Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: usize::try_from(self.top_k.unwrap_or(0)).unwrap_or(0),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            logit_bias: bias,
            seed: self.seed.map(i64::cast_unsigned),
        };
        request.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        if request.max_tokens == Some(0) {
            return Err(AppError::field("max_tokens", "Must be at least 1."));
        }
        request.stop = match &self.stop {
            None => Vec::new(),
            Some(OneOrMore::One(stop)) => vec![stop.clone()],
            Some(OneOrMore::More(stops)) => stops.clone(),
        };
        if request.stop.len() > STOPS || request.stop.iter().any(|stop| stop.is_empty() || stop.len() > 1000) {
            return Err(AppError::field("stop", format!("At most {STOPS} texts of 1 to 1,000 bytes.")));
        }
        request.format = match &self.response_format {
            None | Some(ResponseFormat::Text) => Format::Text,
            Some(ResponseFormat::JsonObject) => Format::JsonObject,
            Some(ResponseFormat::JsonSchema { json_schema }) => match &json_schema.schema {
                Some(schema) => Format::JsonSchema(schema.clone()),
                None => return Err(AppError::field("response_format", "The schema is missing.")),
            },
        };
        Ok(())
    }
}

/// How many alternatives are asked for.
///
/// # Errors
/// A number above what is answered.
pub(super) fn alternatives(field: &str, number: u64) -> Result<usize> {
    match usize::try_from(number) {
        Ok(number) if number <= TOP_LOGPROBS => Ok(number),
        _ => Err(AppError::field(field, format!("At most {TOP_LOGPROBS}."))),
    }
}
