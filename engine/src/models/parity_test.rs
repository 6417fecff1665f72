//! Checkpoints that `transformers` wrote, against what `transformers` computes (`engine/recipes/parity/make.py`).

use std::path::PathBuf;

use safetensors::SafeTensors;

use super::causal::{AdapterId, BLOCK, Batch, CausalModel, ForwardError, Sequence};
use super::load::{Device, LoadOptions, load};

pub(crate) const FOLDERS: [&str; 6] =
    ["qwen3-moe", "deepseek-v2", "deepseek-v3", "deepseek-v3-direct", "deepseek-v3-fp8", "qwen3-moe-awq"];

pub(crate) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generative").join(name)
}

pub(crate) struct Reference {
    pub(crate) tokens: Vec<u32>,
    /// `[tokens, vocabulary]`.
    pub(crate) logits: Vec<Vec<f32>>,
    pub(crate) greedy: Vec<u32>,
}

pub(crate) fn reference(name: &str, file: &str) -> Reference {
    let bytes = std::fs::read(folder(name).join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| tensors.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
    let numbers = |name: &str| words(name).into_iter().map(u32::from_le_bytes).collect();
    let width = tensors.tensor("logits").unwrap().shape()[1];
    let logits: Vec<f32> = words("logits").into_iter().map(f32::from_le_bytes).collect();
    Reference {
        tokens: numbers("tokens"),
        logits: logits.chunks(width).map(<[f32]>::to_vec).collect(),
        greedy: numbers("greedy"),
    }
}

fn model(name: &str, threads: usize, rounding: bool) -> Box<dyn CausalModel> {
    let mut model = load(&folder(name), LoadOptions { threads, rounding, device: Device::Cpu }, &mut |_| ()).unwrap();
    model.allocate_cache(64).unwrap();
    model
}

/// A sequence in blocks that do not follow one another: sequence `number` has blocks `number`, `number + 4`, …
pub(crate) struct Running {
    pub(crate) number: u32,
    pub(crate) length: usize,
    pub(crate) adapter: Option<AdapterId>,
}

impl Running {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, length: 0, adapter: None }
    }

    pub(crate) fn add(&mut self, tokens: &[u32], batch: &mut Batch) {
        let first = batch.tokens.len();
        for (position, token) in (self.length..).zip(tokens) {
            let block = self.number as usize + 4 * (position / BLOCK);
            batch.tokens.push(*token);
            batch.positions.push(u32::try_from(position).unwrap());
            batch.slots.push(u32::try_from(block * BLOCK + position % BLOCK).unwrap());
        }
        self.length += tokens.len();
        let blocks = (0..self.length.div_ceil(BLOCK)).map(|i| self.number + 4 * u32::try_from(i).unwrap()).collect();
        batch.sequences.push(Sequence {
            tokens: first..batch.tokens.len(),
            context: self.length,
            blocks,
            wants_logits: true,
            adapter: self.adapter,
        });
    }

    pub(crate) fn step(&mut self, model: &mut dyn CausalModel, tokens: &[u32]) -> Vec<f32> {
        let (mut batch, mut logits) = (Batch::default(), Vec::new());
        self.add(tokens, &mut batch);
        model.forward(&batch, &mut logits).unwrap();
        logits
    }
}

pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    u32::try_from(best).unwrap()
}

#[test]
fn logits_are_those_of_transformers_at_every_position() {
    for name in FOLDERS {
        let (reference, mut model) = (reference(name, "reference.safetensors"), model(name, 2, false));
        let mut sequence = Running::new(1);
        let mut worst = 0.0f32;
        for (token, logits) in reference.tokens.iter().zip(&reference.logits) {
            worst = worst.max(distance(&sequence.step(&mut *model, &[*token]), logits));
        }
        println!("{name}: logits within {worst:.1e}");
        assert!(worst < 1e-3, "{name}: {worst}");
    }
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    for name in FOLDERS {
        let (reference, mut model) = (reference(name, "reference.safetensors"), model(name, 2, false));
        let mut sequence = Running::new(2);
        let mut logits = sequence.step(&mut *model, &reference.tokens);
        let mut text = Vec::new();
        for _ in 0..reference.greedy.len() {
            text.push(likeliest(&logits));
            logits = sequence.step(&mut *model, &text[text.len() - 1..]);
        }
        assert_eq!(text, reference.greedy, "{name}");
        let load = model.expert_load();
        let steps = u64::try_from(sequence.length).unwrap();
        assert!(load.iter().any(|layer| layer.iter().sum::<u64>() >= 2 * steps), "{name}: tokens are counted");
    }
}

/// To the bit: what a customer is told must not depend on who else is served, nor on how a prompt was cut.
#[test]
fn pieces_batches_and_threads_do_not_change_a_bit() {
    for (name, rounding) in FOLDERS.map(|name| (name, false)).into_iter().chain([("qwen3-moe-awq", true)]) {
        let tokens = reference(name, "reference.safetensors").tokens;
        let mut model = model(name, 2, rounding);
        let whole = Running::new(0).step(&mut *model, &tokens);

        let mut pieces = Running::new(1);
        let mut last = Vec::new();
        for piece in tokens.chunks(7) {
            last = pieces.step(&mut *model, piece);
        }
        assert_eq!(distance(&whole, &last), 0.0, "{name}: in pieces");

        let mut single = Running::new(2);
        tokens.iter().for_each(|token| last = single.step(&mut *model, &[*token]));
        assert_eq!(distance(&whole, &last), 0.0, "{name}: token by token");

        let others: Vec<u32> = tokens.iter().rev().copied().collect();
        let mut batch = Batch::default();
        Running::new(3).add(&others[..20], &mut batch);
        Running::new(2).add(&tokens, &mut batch);
        Running::new(1).add(&others[..1], &mut batch);
        batch.sequences[2].wants_logits = false;
        let mut logits = Vec::new();
        model.forward(&batch, &mut logits).unwrap();
        assert_eq!(logits.len(), 2 * whole.len());
        assert_eq!(distance(&whole, &logits[whole.len()..]), 0.0, "{name}: in company");

        let alone = Running::new(0).step(&mut *self::model(name, 1, rounding), &tokens);
        assert_eq!(distance(&whole, &alone), 0.0, "{name}: on one thread");
    }
}

#[test]
fn rounding_moves_logits_little() {
    let name = "qwen3-moe-awq";
    let reference = reference(name, "reference.safetensors");
    let logits = Running::new(0).step(&mut *model(name, 2, true), &reference.tokens);
    let exact = reference.logits.last().unwrap();
    let size = (exact.iter().map(|x| x * x).sum::<f32>() / exact.len() as f32).sqrt();
    let worst = distance(&logits, exact);
    assert!(worst > 0.0 && worst < 0.15 * size, "{worst} of {size}");
}

/// What the shipped generator answered to a prompt where it was trained, with the int8 weights in float32.
#[derive(serde::Deserialize)]
struct Recorded {
    ids: Vec<u32>,
    reply: Vec<u32>,
    /// The likeliest first tokens with their logits.
    top: Vec<(u32, f32)>,
}

#[test]
fn the_shipped_generator_answers_as_recorded() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights/generator");
    let recorded: Vec<Recorded> = serde_json::from_slice(&std::fs::read(folder.join("fixture.json")).unwrap()).unwrap();
    for rounding in [false, true] {
        let mut model = load(&folder, LoadOptions { threads: 2, rounding, device: Device::Cpu }, &mut |_| ()).unwrap();
        model.allocate_cache(256).unwrap();
        let (mut worst, mut same, mut all) = (0.0f32, 0, 0);
        for Recorded { ids, reply, top } in &recorded {
            let mut sequence = Running::new(0);
            let mut found = sequence.step(&mut *model, ids);
            worst = top.iter().map(|(token, logit)| (found[*token as usize] - logit).abs()).fold(worst, f32::max);
            for token in reply {
                same += usize::from(likeliest(&found) == *token);
                all += 1;
                found = sequence.step(&mut *model, &[*token]);
            }
        }
        println!("rounding {rounding}: logits within {worst:.1e}, {same} of {all} tokens the same");
        assert!(all > 50 && worst < if rounding { 1.0 } else { 5e-3 }, "{worst}");
        assert!(if rounding { same * 100 >= all * 97 } else { same == all }, "{same} of {all}");
    }
}

/// Two sequences in one step, of which the first asks for the fixture's adapter: the adapter, and what was found and what
/// `transformers` computes with it and without.
pub(crate) fn adapted(model: &mut dyn CausalModel) -> (AdapterId, [[Vec<f32>; 2]; 2]) {
    let name = "qwen3-moe";
    let (plain, adapted) = (reference(name, "reference.safetensors"), reference(name, "reference-adapter.safetensors"));
    let adapter = model.load_adapter(&folder(name).join("adapter")).unwrap();
    let mut batch = Batch::default();
    let mut with = Running { adapter: Some(adapter), ..Running::new(0) };
    with.add(&adapted.tokens, &mut batch);
    Running::new(1).add(&plain.tokens, &mut batch);
    let mut logits = Vec::new();
    model.forward(&batch, &mut logits).unwrap();
    let (first, second) = logits.split_at(plain.logits[0].len());
    assert!(distance(first, second) > 0.1, "the adapter does something");
    let wanted = |reference: &Reference| reference.logits.last().unwrap().clone();
    (adapter, [[first.to_vec(), wanted(&adapted)], [second.to_vec(), wanted(&plain)]])
}

#[test]
fn adapters_are_added_for_those_who_ask() {
    let mut model = model("qwen3-moe", 2, false);
    let (adapter, found) = adapted(&mut *model);
    assert!(found.iter().all(|[found, wanted]| distance(found, wanted) < 1e-3));

    let mut batch = Batch::default();
    Running { adapter: Some(adapter), ..Running::new(0) }.add(&[1, 2, 3], &mut batch);
    let mut logits = Vec::new();
    model.unload_adapter(adapter);
    assert!(matches!(model.forward(&batch, &mut logits), Err(ForwardError::Adapter(id)) if id == adapter));
    let error = self::model("deepseek-v3", 1, false).load_adapter(&folder("qwen3-moe").join("adapter")).unwrap_err();
    assert!(error.to_string().contains("o_proj") || error.to_string().contains("q_proj"), "{error}");
}

#[test]
fn a_folder_that_does_not_fit_is_refused_with_what_is_wrong() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(folder("deepseek-v2").join(file), copy.path().join(file)).unwrap();
    }
    let open = || load(copy.path(), LoadOptions::default(), &mut |_| ()).map(drop);
    open().unwrap();
    let config = std::fs::read_to_string(copy.path().join("config.json")).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        std::fs::write(copy.path().join("config.json"), config.replace(from, to)).unwrap();
        open().unwrap_err().to_string()
    };
    let error = refused("\"deepseek_v2\"", "\"llama\"");
    assert!(error.contains("config.json") && error.contains("llama") && error.contains("deepseek_v3"), "{error}");
    let error = refused("\"kv_lora_rank\": 32", "\"kv_lora_rank\": 33");
    assert!(
        error.contains("model.layers.0.self_attn.kv_a_proj_with_mqa.weight should be [41, 64], is [40, 64]"),
        "{error}"
    );
    let error = refused("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
    assert!(error.contains("model.layers.3.mlp.gate.weight is missing") || error.contains("model.layers.3"), "{error}");
    let error = refused("\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 5");
    assert!(error.contains("num_experts_per_tok"), "{error}");
    std::fs::remove_file(copy.path().join("model.safetensors")).unwrap();
    assert!(open().unwrap_err().to_string().contains("model.safetensors"));
}
