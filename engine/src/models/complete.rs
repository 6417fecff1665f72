//! The likeliest continuation of one text: a checkpoint at work without the runtime's queue, sampling and sharing.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::weights::{Folder, Progress};

use super::causal::{BLOCK, Batch, CausalModel, Sequence};
use super::load::{LoadError, LoadOptions, load_from};

/// Tokens of a prompt that are read in one step.
const PIECE: usize = 256;

/// What a continuation took.
#[derive(Debug, Clone, Serialize)]
pub struct Completion {
    /// What computed: the GPU's name, or nothing for the processor.
    pub device: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens written, without the one that ends the text.
    pub tokens: usize,
    /// Whether the model ended the text itself.
    pub ended: bool,
    /// Time to read the prompt.
    pub prefill: Duration,
    /// Time to write.
    pub decode: Duration,
}

/// Loads the checkpoint `folder` and continues `prompt` by at most `limit` tokens, always with the likeliest one. `text` is
/// called with each piece of text as soon as its characters are whole, and may stop it.
///
/// # Errors
/// [`LoadError`] naming the file or tensor that is wrong, or saying why the prompt can not be continued.
pub fn complete(
    folder: &Path,
    options: LoadOptions,
    progress: &mut dyn FnMut(Progress),
    (prompt, limit): (&str, usize),
    text: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Completion, LoadError> {
    let name = folder.display().to_string();
    let files = Folder::Disk(folder.to_owned());
    let failed = |reason: String| LoadError { folder: name.clone(), reason };
    let mut model = load_from(&files, options, progress).map_err(|error| failed(error.to_string()))?;
    let bytes = files.read("tokenizer.json").map_err(|error| failed(error.to_string()))?;
    let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| failed(format!("tokenizer.json: {error}")))?;
    run(&mut *model, &tokenizer, &ends(&files), (prompt, limit), text).map_err(failed)
}

/// The tokens that end a text: of `generation_config.json`, else of `config.json`.
fn ends(folder: &Folder) -> Vec<u32> {
    #[derive(Deserialize)]
    struct Config {
        eos_token_id: Ends,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ends {
        One(u32),
        Several(Vec<u32>),
    }
    let read = |file: &str| folder.read_json::<Config>(file).ok();
    match read("generation_config.json").or_else(|| read("config.json")).map(|config| config.eos_token_id) {
        Some(Ends::One(end)) => vec![end],
        Some(Ends::Several(ends)) => ends,
        None => Vec::new(),
    }
}

fn run(
    model: &mut dyn CausalModel,
    tokenizer: &Tokenizer,
    ends: &[u32],
    (prompt, limit): (&str, usize),
    text: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Completion, String> {
    let prompt = tokenizer.encode_fast(prompt, true).map_err(|error| format!("tokenizer.json: {error}"))?;
    let prompt = prompt.get_ids();
    let longest = model.shape().longest_context;
    if prompt.is_empty() || prompt.len() >= longest {
        return Err(format!("a prompt has 1 to {} tokens, this one has {}", longest.saturating_sub(1), prompt.len()));
    }
    let limit = limit.min(longest - prompt.len());
    model.allocate_cache((prompt.len() + limit).div_ceil(BLOCK)).map_err(|error| error.to_string())?;
    let (mut likeliest, start) = (Vec::new(), Instant::now());
    let mut read = 0;
    for piece in prompt.chunks(PIECE) {
        let batch = step(read, piece)?;
        model.likeliest(&batch, &mut likeliest).map_err(|error| error.to_string())?;
        read += piece.len();
    }
    let (prefill, start) = (start.elapsed(), Instant::now());
    let mut stream = tokenizer.decode_stream(true);
    let (mut tokens, mut ended) = (0, false);
    while tokens < limit {
        let token = likeliest.first().copied().unwrap_or_default();
        if ends.contains(&token) {
            ended = true;
            break;
        }
        tokens += 1;
        if let Some(piece) = stream.step(token).map_err(|error| format!("tokenizer.json: {error}"))?
            && text(&piece).is_break()
        {
            break;
        }
        if tokens < limit {
            model.likeliest(&step(read, &[token])?, &mut likeliest).map_err(|error| error.to_string())?;
            read += 1;
        }
    }
    let device = model.device().map(str::to_owned);
    Ok(Completion { device, prompt_tokens: prompt.len(), tokens, ended, prefill, decode: start.elapsed() })
}

/// The tokens of one sequence from position `first` on, in blocks from 0 on.
fn step(first: usize, tokens: &[u32]) -> Result<Batch, String> {
    let small = |number: usize| u32::try_from(number).map_err(|error| error.to_string());
    let end = first + tokens.len();
    let positions: Vec<u32> = (first..end).map(small).collect::<Result<_, _>>()?;
    Ok(Batch {
        tokens: tokens.to_vec(),
        slots: positions.clone(),
        positions,
        sequences: vec![Sequence {
            tokens: 0..tokens.len(),
            context: end,
            blocks: (0..end.div_ceil(BLOCK)).map(small).collect::<Result<_, _>>()?,
            wants_logits: true,
            adapter: None,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Device;

    /// A checkpoint with a token for each letter.
    fn letters() -> tempfile::TempDir {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generative/deepseek-v2");
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(source.join(file), folder.path().join(file)).unwrap();
        }
        let vocabulary: serde_json::Map<String, serde_json::Value> =
            (0..256u32).map(|number| (char::from_u32(0x4e00 + number).unwrap().to_string(), number.into())).collect();
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false},
            "post_processor": null, "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "\u{4e00}"},
        });
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        folder
    }

    #[test]
    fn the_continuation_is_that_of_transformers_and_streams() {
        let folder = letters();
        let bytes = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generative/deepseek-v2/reference.safetensors"),
        )
        .unwrap();
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let text_of = |name: &str| -> String {
            let words = reference.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
            words.into_iter().map(|word| char::from_u32(0x4e00 + u32::from_le_bytes(word)).unwrap()).collect()
        };
        let (mut written, mut pieces, mut tensors) = (String::new(), 0, 0);
        let options = LoadOptions { threads: 1, rounding: false, device: Device::Cpu };
        let completion = complete(
            folder.path(),
            options,
            &mut |progress| tensors = progress.tensors,
            (&text_of("tokens"), 64),
            &mut |piece| {
                written.push_str(piece);
                pieces += 1;
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        let wanted: String = text_of("greedy").chars().take_while(|c| *c != '\u{4e01}').collect();
        assert_eq!(written, wanted);
        assert_eq!((completion.tokens, completion.prompt_tokens), (wanted.chars().count(), 43));
        assert!(pieces > 5 && tensors > 30);
    }

    #[test]
    fn whoever_reads_may_stop_it() {
        let stop = &mut |_: &str| ControlFlow::Break(());
        let folder = letters();
        let completion = complete(folder.path(), LoadOptions::default(), &mut |_| (), ("\u{4e05}", 64), stop).unwrap();
        assert_eq!(completion.tokens, 1);
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let error = complete(folder.path(), LoadOptions::default(), &mut |_| (), ("\u{4e05}", 64), stop).unwrap_err();
        assert!(error.to_string().contains("tokenizer.json"));
    }
}
