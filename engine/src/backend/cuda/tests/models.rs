//! Whole models on the GPU, against what `transformers` computes and against the processor.

use std::path::Path;

use super::super::Cuda;
use crate::models::causal::{Batch, CausalModel};
use crate::models::parity_test::{FOLDERS, Running, adapted, distance, folder, likeliest, reference};
use crate::models::{Device, LoadOptions, load};

fn there() -> bool {
    if let Some(lack) = Cuda::lack() {
        assert!(std::env::var_os("CANDOR_GPU_TESTS").is_none(), "{lack}");
        println!("skipped: {lack}");
        return false;
    }
    true
}

fn on(device: Device, folder: &Path) -> Box<dyn CausalModel> {
    let options = LoadOptions { threads: 2, rounding: false, device };
    let mut model = load(folder, options, &mut |_| ()).unwrap();
    model.allocate_cache(64).unwrap();
    model
}

/// How far `found` is from `wanted`, over the size of `wanted`.
fn off(found: &[f32], wanted: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    (square(&mut found.iter().zip(wanted).map(|(f, w)| f - w)) / square(&mut wanted.iter().copied())).sqrt()
}

/// For prompts read token by token (which is recorded and replayed), in pieces, and in one. Weights of 16 and 8 bits other than
/// bfloat16 are rounded to it, in prompts of more than 128 tokens those of 4 bits too.
#[test]
fn logits_are_those_of_transformers() {
    if !there() {
        return;
    }
    let mut all = Vec::new();
    for name in FOLDERS {
        let (reference, mut model) = (reference(name, "reference.safetensors"), on(Device::Cuda, &folder(name)));
        for (number, size) in [(1, 1), (2, 7), (3, reference.tokens.len())] {
            let (mut sequence, mut found, mut wanted) = (Running::new(number), Vec::new(), Vec::new());
            for tokens in reference.tokens.chunks(size) {
                found.extend(sequence.step(&mut *model, tokens));
                wanted.extend_from_slice(&reference.logits[sequence.length - 1]);
            }
            let (off, furthest) = (off(&found, &wanted), distance(&found, &wanted));
            println!("{name}: {size} at once: off by {off:.1e} of their size, at most by {furthest:.1e}");
            all.push(off);
        }
    }
    // Three for each folder.
    let rounded = |name: &str| matches!(name, "deepseek-v2" | "deepseek-v3-fp8");
    let bounds = FOLDERS.iter().flat_map(|name| [if rounded(name) { 2e-2 } else { 2e-4 }; 3]);
    assert!(all.iter().zip(bounds).all(|(off, bound)| *off < bound), "{all:?}");
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    if !there() {
        return;
    }
    for name in FOLDERS {
        let (reference, mut model) = (reference(name, "reference.safetensors"), on(Device::Cuda, &folder(name)));
        let mut sequence = Running::new(2);
        let mut logits = sequence.step(&mut *model, &reference.tokens);
        let mut same = 0;
        for wanted in &reference.greedy {
            same += usize::from(likeliest(&logits) == *wanted);
            logits = sequence.step(&mut *model, &[*wanted]);
        }
        println!("{name}: {same} of {} tokens the same", reference.greedy.len());
        // Weights in FP8 become bfloat16 with their scales, which may turn what is nearly a tie the other way.
        let least = reference.greedy.len() - if name == "deepseek-v3-fp8" { 2 } else { 0 };
        assert!(same >= least, "{name}: {same}");
        let load = model.expert_load();
        let steps = u64::try_from(sequence.length).unwrap();
        assert!(
            load.iter().filter(|layer| !layer.is_empty()).all(|layer| layer.iter().sum::<u64>() % steps == 0),
            "{load:?}"
        );
    }
}

#[test]
fn together_is_as_alone() {
    if !there() {
        return;
    }
    for name in FOLDERS {
        let (reference, mut model) = (reference(name, "reference.safetensors"), on(Device::Cuda, &folder(name)));
        // Three sequences of different lengths write together, often enough that the step is recorded and replayed.
        let mut sequences: Vec<Running> = (0..3).map(Running::new).collect();
        let mut alone: Vec<Vec<f32>> = Vec::new();
        for (sequence, length) in sequences.iter_mut().zip([5, 11, 20]) {
            sequence.step(&mut *model, &reference.tokens[..length]);
        }
        let mut together = Vec::new();
        for step in 0..5 {
            let mut batch = Batch::default();
            for sequence in &mut sequences {
                let next = reference.tokens[sequence.length];
                sequence.add(&[next], &mut batch);
            }
            batch.sequences[1].wants_logits = step % 2 == 0;
            let mut logits = Vec::new();
            model.forward(&batch, &mut logits).unwrap();
            let width = reference.logits[0].len();
            let wanted: Vec<_> = sequences.iter().enumerate().filter(|(i, _)| *i != 1 || step % 2 == 0).collect();
            assert_eq!(logits.len(), wanted.len() * width);
            for ((_, sequence), found) in wanted.into_iter().zip(logits.chunks(width)) {
                alone.push(reference.logits[sequence.length - 1].clone());
                together.push(found.to_vec());
            }
        }
        let off = off(&together.concat(), &alone.concat());
        println!("{name}: together off by {off:.1e}");
        assert!(off < 2e-2, "{name}: {off}");
    }
}

#[test]
fn adapters_are_added_for_those_who_ask() {
    if !there() {
        return;
    }
    let (_, found) = adapted(&mut *on(Device::Cuda, &folder("qwen3-moe")));
    let off = found.map(|[found, wanted]| off(&found, &wanted));
    println!("with and without: {off:?}");
    assert!(off.iter().all(|off| *off < 2e-2), "{off:?}");
}

/// The shipped generator, whose weights are of 8 bits, writes on the GPU what it writes on the processor.
#[test]
fn the_shipped_generator_writes_as_on_the_processor() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/generator");
    if !there() || !folder.join("config.json").is_file() {
        return;
    }
    let (mut gpu, mut cpu) = (on(Device::Cuda, &folder), on(Device::Cpu, &folder));
    let prompt: Vec<u32> = (0..60).map(|i| 40 + i * 37 % 4000).collect();
    let (mut on_gpu, mut on_cpu) = (Running::new(0), Running::new(0));
    let mut logits = [on_gpu.step(&mut *gpu, &prompt), on_cpu.step(&mut *cpu, &prompt)];
    let mut worst = 0.0f32;
    for _ in 0..40 {
        let [found, wanted] = &logits;
        let size = (wanted.iter().map(|x| x * x).sum::<f32>() / wanted.len() as f32).sqrt();
        worst = worst.max(distance(found, wanted) / size);
        let next = likeliest(wanted);
        logits = [on_gpu.step(&mut *gpu, &[next]), on_cpu.step(&mut *cpu, &[next])];
    }
    println!("shipped generator: within {worst:.1e} of the size of logits");
    assert!(worst < 5e-2, "{worst}");
}

/// Figures rather than a test: `CANDOR_BENCH="SHAPE FORMAT CONTEXT BATCHES PROMPT SECONDS"`, with `--ignored --nocapture`, prints
/// what `candor bench decode --random-weights` prints, where only this program was brought to the machine.
#[test]
#[ignore = "takes figures"]
fn figures_of_this_machine() {
    let asked = std::env::var("CANDOR_BENCH").unwrap();
    let parts: Vec<&str> = asked.split(' ').collect();
    let [shape, format, context, batches, prompt, seconds] = parts[..] else { panic!("six values: {asked}") };
    let bench = crate::models::bench::DecodeBench {
        context: context.parse().unwrap(),
        batches: batches.split(',').map(|batch| batch.parse().unwrap()).collect(),
        prompt: prompt.parse().unwrap(),
        time: std::time::Duration::from_secs_f64(seconds.parse().unwrap()),
        options: LoadOptions { device: Device::Cuda, ..LoadOptions::default() },
    };
    for figures in bench.random(shape, format).unwrap() {
        println!("{}", serde_json::to_string(&figures).unwrap());
    }
}
