//! Whole checkpoints of random weights, of both kinds, quantised and read again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::groups::Kind;
use super::layer::fold_with;
use super::write::Writer;
use super::*;
use crate::models::causal::{BLOCK, Batch, Sequence};
use crate::models::complete;

const WIDTH: usize = 128;

/// Tensors by name with their shapes.
fn attention(latent: bool, layer: usize) -> Vec<(String, Vec<usize>)> {
    let of = |(name, shape): (&str, Vec<usize>)| (format!("model.layers.{layer}.{name}"), shape);
    let mut tensors = vec![("input_layernorm.weight", vec![WIDTH]), ("post_attention_layernorm.weight", vec![WIDTH])];
    if latent {
        tensors.extend([
            ("self_attn.q_a_proj.weight", vec![128, WIDTH]),
            ("self_attn.q_a_layernorm.weight", vec![128]),
            ("self_attn.q_b_proj.weight", vec![4 * 32, 128]),
            ("self_attn.kv_a_proj_with_mqa.weight", vec![128 + 16, WIDTH]),
            ("self_attn.kv_a_layernorm.weight", vec![128]),
            ("self_attn.kv_b_proj.weight", vec![4 * (16 + 32), 128]),
            ("self_attn.o_proj.weight", vec![WIDTH, 4 * 32]),
        ]);
    } else {
        tensors.extend([
            ("self_attn.q_proj.weight", vec![4 * 32, WIDTH]),
            ("self_attn.k_proj.weight", vec![4 * 32, WIDTH]),
            ("self_attn.v_proj.weight", vec![4 * 32, WIDTH]),
            ("self_attn.o_proj.weight", vec![WIDTH, 4 * 32]),
            ("self_attn.q_norm.weight", vec![32]),
            ("self_attn.k_norm.weight", vec![32]),
        ]);
    }
    tensors.into_iter().map(of).collect()
}

/// Two layers; of DeepSeek the first is dense and the experts stand one by one, of Qwen they are stacked.
fn write(folder: &Path, latent: bool) {
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![256, WIDTH]),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
        ("lm_head.weight".to_owned(), vec![256, WIDTH]),
    ];
    for layer in 0..2 {
        tensors.extend(attention(latent, layer));
        let mut add = |name: &str, shape: Vec<usize>| tensors.push((format!("model.layers.{layer}.mlp.{name}"), shape));
        let mut gated = |block: &str, inner: usize| {
            for name in ["gate_proj", "up_proj"] {
                add(&format!("{block}{name}.weight"), vec![inner, WIDTH]);
            }
            add(&format!("{block}down_proj.weight"), vec![WIDTH, inner]);
        };
        if latent && layer == 0 {
            gated("", 256);
        } else if latent {
            (0..4).for_each(|expert| gated(&format!("experts.{expert}."), 128));
            gated("shared_experts.", 128);
            add("gate.weight", vec![4, WIDTH]);
            add("gate.e_score_correction_bias", vec![4]);
        } else {
            add("gate.weight", vec![4, WIDTH]);
            add("experts.gate_up_proj", vec![4, 256, WIDTH]);
            add("experts.down_proj", vec![4, WIDTH, 128]);
        }
    }
    let mut draws = ChaCha8Rng::seed_from_u64(11);
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape)| {
            let size = if name.contains("embed") { 1.0 } else { (3.0 / *shape.last().unwrap() as f32).sqrt() };
            let values = (0..shape.iter().product()).map(|i: usize| {
                let draw: f32 = draws.random_range(-1.0..1.0);
                match name.contains("norm") {
                    // A few inputs are far larger than the others, as in large models.
                    true if i % 40 == 7 => 8.0,
                    true => 1.0 + 0.3 * draw,
                    false => draw * size,
                }
            });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = stored.iter().map(|(n, s, b)| (n.as_str(), TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    safetensors::serialize_to_file(views.collect::<HashMap<_, _>>(), None, &folder.join("model.safetensors")).unwrap();
    let mut config = json!({
        "vocab_size": 256, "hidden_size": WIDTH, "intermediate_size": 256, "moe_intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "num_experts_per_tok": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 10000.0,
        "norm_topk_prob": true, "eos_token_id": 1,
    });
    let own = if latent {
        json!({ "model_type": "deepseek_v3", "n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
                "first_k_dense_replace": 1, "q_lora_rank": 128, "kv_lora_rank": 128, "qk_nope_head_dim": 16,
                "qk_rope_head_dim": 16, "v_head_dim": 32, "routed_scaling_factor": 1.0 })
    } else {
        json!({ "model_type": "qwen3_moe", "num_experts": 4, "head_dim": 32 })
    };
    config.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let letter = |number: u32| char::from_u32(0x4e00 + number).unwrap().to_string();
    let vocabulary: serde_json::Map<String, Value> = (0..256).map(|n| (letter(n), n.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false},
        "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": letter(0)},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

fn tokens(count: u32, seed: u32) -> Vec<u32> {
    (0..count).map(|i| 2 + (i * i * 31 + i * 17 + seed * 101) % 253).collect()
}

fn text(count: u32, seed: u32) -> String {
    tokens(count, seed).into_iter().map(|token| char::from_u32(0x4e00 + token).unwrap()).collect()
}

fn last_logits(folder: &Path, tokens: &[u32]) -> Vec<f32> {
    let options = LoadOptions { threads: 1, rounding: false, device: Device::Cpu };
    let mut model = load(folder, options, &mut |_| ()).unwrap();
    let blocks = tokens.len().div_ceil(BLOCK);
    model.allocate_cache(blocks).unwrap();
    let positions: Vec<u32> = (0..u32::try_from(tokens.len()).unwrap()).collect();
    let mut logits = Vec::new();
    let sequence = Sequence {
        tokens: 0..tokens.len(),
        context: tokens.len(),
        blocks: (0..u32::try_from(blocks).unwrap()).collect(),
        wants_logits: true,
        adapter: None,
    };
    let batch = Batch { tokens: tokens.to_vec(), slots: positions.clone(), positions, sequences: vec![sequence] };
    model.forward(&batch, &mut logits).unwrap();
    logits
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    let apart = squares(&mut one.iter().zip(other).map(|(a, b)| a - b));
    (apart / squares(&mut one.iter().copied())).sqrt()
}

#[test]
fn scales_change_the_weights_and_not_the_function() {
    for latent in [true, false] {
        let (model, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(model.path(), latent);
        let folder = Folder::Disk(model.path().to_owned());
        let config: Value = folder.read_json("config.json").unwrap();
        let nothing = &mut |_| ();
        let checkpoint = Checkpoint::open(&folder, nothing).unwrap();
        let kind = Kind::of(&config, &checkpoint).unwrap();
        let mut writer = Writer::new(out.path()).unwrap();
        let mut draws = ChaCha8Rng::seed_from_u64(3);
        let mut changed = 0;
        for layer in 0..2 {
            changed += fold_with(&kind, &checkpoint, layer, &mut writer, &mut || draws.random_range(0.2..5.0)).unwrap();
        }
        // Latent: four groups of attention; a dense block has two, a mixture one and one of each expert.
        assert_eq!(changed, if latent { 2 * 4 + 2 + 1 + 5 } else { 2 * (2 + 1 + 4) });
        layer::rest(&kind, &checkpoint, &mut writer).unwrap();
        writer.finish(&folder, config).unwrap();
        let (before, after) = (last_logits(model.path(), &tokens(40, 1)), last_logits(out.path(), &tokens(40, 1)));
        // Embedding and head lose a little: they are written with 16 bits.
        let apart = difference(&before, &after);
        assert!(apart < 3e-3, "latent {latent}: {apart}");
    }
}

#[test]
fn the_folder_loads_generates_and_loses_little() {
    for latent in [true, false] {
        let (model, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(model.path(), latent);
        let mut work = Quantise {
            model: model.path().to_owned(),
            calibration: (0..8).map(|seed| text(60, seed)).collect(),
            test: vec![text(80, 50), text(30, 51)],
            out: out.path().join("new"),
            samples: 400,
            threads: 2,
        };
        let mut told = Vec::new();
        let done = quantise(&work, &mut |line| told.push(line.to_owned())).unwrap();
        assert_eq!((done.test_tokens, done.calibration_tokens), (79 + 29, 400));
        assert_eq!(done.maps, if latent { 2 * 5 + 3 + 5 * 3 } else { 2 * (4 + 4 * 3) });
        assert!(done.perplexity_before > 10.0 && done.perplexity_after != done.perplexity_before);
        assert!(told.iter().any(|line| line.starts_with("layer 2 of 2")), "{told:?}");

        let (before, after) = (last_logits(&work.model, &tokens(40, 1)), last_logits(&work.out, &tokens(40, 1)));
        let apart = difference(&before, &after);
        assert!(apart > 1e-4 && apart < 0.4, "latent {latent}: {apart}");
        let mut written = String::new();
        let options = LoadOptions { threads: 1, rounding: true, device: Device::Cpu };
        let completion = complete(&work.out, options, &mut |_| (), (&text(12, 3), 16), &mut |piece| {
            written.push_str(piece);
            ControlFlow::Continue(())
        });
        let completion = completion.unwrap();
        assert!(completion.ended || completion.tokens == 16, "{completion:?}");
        assert_eq!(written.chars().count(), completion.tokens);

        let config: Value = serde_json::from_slice(&std::fs::read(work.out.join("config.json")).unwrap()).unwrap();
        let how = &config["quantization_config"];
        assert_eq!((&how["quant_method"], &how["bits"], &how["group_size"]), (&json!("awq"), &json!(4), &json!(128)));
        assert_eq!(how["modules_to_not_convert"], json!(["lm_head", "mlp.gate"]));
        let size = |folder: &Path| std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
        assert!(size(&work.out) < size(&work.model) / 3);

        // It can not be done again, nor in place.
        (work.model, work.out) = (work.out.clone(), work.model);
        assert!(quantise(&work, &mut |_| ()).unwrap_err().to_string().contains("4 bits already"));
        work.model.clone_from(&work.out);
        assert!(quantise(&work, &mut |_| ()).unwrap_err().to_string().contains("another one"));
    }
}
