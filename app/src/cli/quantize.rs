//! `candor quantize`.

use std::io::Read;
use std::path::{Path, PathBuf};

use candor_engine::training::awq::{Quantise, quantise, read_texts};
use clap::Args;

use super::Failure;
use super::lines::{JsonLines, open};

/// Turn a checkpoint folder into one of 4-bit weights: DeepSeek-V2, DeepSeek-V3 or Qwen3-MoE.
///
/// The scales of inputs and the limits of weights are searched on texts of the kind that the model will read (AWQ, Lin et
/// al. 2023). The new folder is packed as AutoAWQ does, so that other engines read it too. Perplexity before and after is
/// measured on texts that the search did not see.
#[derive(Debug, Args)]
pub(super) struct Quantize {
    /// Activation-aware quantisation, the only kind there is.
    #[arg(long)]
    awq: bool,
    /// Checkpoint folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Texts to look at: a text a line, or JSON lines with "text". `-` is standard input.
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,
    /// Texts to measure perplexity on; without them every fourth of the texts is kept for that.
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens to look at.
    #[arg(long, default_value_t = 4096)]
    samples: usize,
    /// Threads; 0 takes what the machine has.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Of texts that serve both, every so-manieth is kept for measuring.
const KEPT: usize = 4;

impl Quantize {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.awq {
            return Err(Failure::new("say how: --awq"));
        }
        let texts = |path: &Path| -> Result<Vec<String>, Failure> {
            let mut text = String::new();
            open(Some(path))?.read_to_string(&mut text)?;
            read_texts(&text).map_err(|error| Failure::from(error).at(path.display()))
        };
        let (mut calibration, mut test) = (texts(&self.texts)?, Vec::new());
        match &self.test {
            Some(path) => test = texts(path)?,
            None => {
                let mut number = 0_usize;
                calibration.retain_mut(|text| {
                    number += 1;
                    let kept = number.is_multiple_of(KEPT);
                    if kept {
                        test.push(std::mem::take(text));
                    }
                    !kept
                });
            }
        }
        let work = Quantise {
            model: self.model,
            calibration,
            test,
            out: self.out,
            samples: self.samples.max(1),
            threads: self.threads,
        };
        let done = quantise(&work, &mut |line| eprintln!("{line}"))?;
        let mut output = JsonLines::new();
        output.write(&done)?;
        output.finish()
    }
}
