//! Generating text: one trait, served by the model in this process or by another server.
//!
//! [`Generator`] is what the rest of the program sees. [`Local`] runs a checkpoint folder on this machine through the
//! runtime; the web application implements the same trait over the OpenAI protocol, for models that need many GPUs.
//!
//! ```no_run
//! # async fn example(generator: &dyn candor_engine::generation::Generator) -> Result<(), candor_engine::generation::Error> {
//! use candor_engine::generation::{Event, Message, Request};
//! let mut generation = generator.generate(Request::chat(vec![Message::user("Hello")])).await?;
//! while let Some(event) = generation.next().await {
//!     if let Event::Text { text, .. } = event {
//!         print!("{text}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod event;
mod json;
mod local;
mod metrics;
mod request;
mod template;
pub(crate) mod tools;

use async_trait::async_trait;

pub use error::Error;
pub use event::{Event, Finish, Generation, Sender, Text, TokenLogprob, Usage, channel};
pub use local::{Local, LocalOptions};
pub use metrics::{GenerationMetrics, Histogram};
pub use request::{Chat, Format, Message, Prompt, Request, Role, Sampling, TOP_LOGPROBS, Tool, ToolCall, ToolChoice};
pub use template::{ChatTemplate, TemplateError};

/// Something that continues prompts.
#[async_trait]
pub trait Generator: Send + Sync {
    /// The model's name, as the API names it.
    fn name(&self) -> &str;

    /// Starts a generation. What it makes arrives as a stream of [`Event`]s; dropping the stream ends the work.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many requests wait, [`Error::TooLong`] and [`Error::Invalid`] for requests that can
    /// never be served.
    async fn generate(&self, request: Request) -> Result<Generation, Error>;

    /// Names of adapters that requests may ask for.
    fn adapters(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the runtime counted, where it runs in this process.
    fn metrics(&self) -> Option<GenerationMetrics> {
        None
    }
}
