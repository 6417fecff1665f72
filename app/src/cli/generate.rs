//! `candor generate`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use candor_engine::models::{Device, LoadOptions, Progress, complete, lack};
use clap::Args;

use super::Failure;

/// Continue a text with a checkpoint folder: DeepSeek-V2, DeepSeek-V3 or Qwen3-MoE.
///
/// The folder holds config.json, tokenizer.json and safetensors shards (bf16, f16, f32, FP8, int8 or AWQ). The
/// likeliest continuation goes to standard output as it is written, progress and figures to standard error.
#[derive(Debug, Args)]
pub(super) struct Generate {
    /// Checkpoint folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Text to continue.
    #[arg(long)]
    prompt: String,
    /// Tokens to write at most.
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// What computes: auto (the GPU where one can be used), cpu or cuda.
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Threads; 0 takes what the machine has.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Compute with unrounded activations, as a reference does: slower for weights of 8 and 4 bits.
    #[arg(long)]
    exact: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = LoadOptions { threads: self.threads, rounding: !self.exact, device: self.device };
        if let (Device::Auto, Some(lack)) = (self.device, lack()) {
            eprintln!("{lack}: the processor computes");
        }
        let mut shown = 0;
        let mut progress = |progress: Progress| {
            let percent = 100 * progress.tensors.min(progress.of) / progress.of.max(1);
            if percent > shown {
                shown = percent;
                eprint!("\rloading: {percent} %, {} MB", progress.bytes / 1_000_000);
            }
        };
        let mut output = std::io::stdout().lock();
        let mut written = Ok(());
        let mut first = true;
        let mut text = |piece: &str| {
            if std::mem::take(&mut first) {
                eprintln!();
            }
            written = write!(output, "{piece}").and_then(|()| output.flush());
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let limits = (self.prompt.as_str(), self.max_tokens);
        let done = complete(&self.model, options, &mut progress, limits, &mut text)?;
        written?;
        writeln!(output)?;
        let speed = |tokens: usize, time: std::time::Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
        eprintln!(
            "{}: {} tokens read at {:.0} a second, {} written at {:.1} a second",
            done.device.as_deref().unwrap_or("processor"),
            done.prompt_tokens,
            speed(done.prompt_tokens, done.prefill),
            done.tokens,
            speed(done.tokens, done.decode)
        );
        Ok(())
    }
}
