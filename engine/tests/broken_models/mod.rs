//! Broken model files: every fixture of a format is changed at random places, cut, and spliced with others.

use std::path::Path;

use candor_engine::risk::Explainer;
use candor_engine::risk::import::Imported;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// What readers of numbers and of structure may stumble over.
const SPECIAL: [&[u8]; 8] = [b"-1", b"0", b"1e308", b"nan", b"4294967295", b"\xff\xff\xff\xff", b"{", b"["];

/// Why a run ended early.
pub(crate) type Fault = Box<dyn std::error::Error>;

/// The fixtures of a format, in the order of their bytes.
pub(crate) fn fixtures(format: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let ending = match format {
        "xgboost-json" => ".model.json",
        "xgboost-ubjson" => ".model.ubj",
        "lightgbm" => ".model.txt",
        "onnx" => ".model.onnx",
        _ => return Err("FORMAT is xgboost-json, xgboost-ubjson, lightgbm or onnx".into()),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/risk");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(std::fs::read(path)?);
        }
    }
    found.sort();
    if found.is_empty() { Err("there are no fixtures".into()) } else { Ok(found) }
}

/// One to eight changes to a fixture.
pub(crate) fn mutate(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>], format: &str) -> Vec<u8> {
    let pick = |rng: &mut ChaCha8Rng| seeds.get(rng.random_range(0..seeds.len())).cloned().unwrap_or_default();
    let mut input = pick(rng);
    let text = matches!(format, "xgboost-json" | "lightgbm");
    for _ in 0..rng.random_range(1..=8) {
        if input.is_empty() {
            break;
        }
        let at = rng.random_range(0..input.len());
        match rng.random_range(0..8) {
            // In texts a digit becomes another, so that most inputs still parse and reach the trees.
            0..=2 if text => {
                let digit = input.iter().skip(at).position(u8::is_ascii_digit).map(|step| at + step);
                if let Some(byte) = digit.and_then(|at| input.get_mut(at)) {
                    *byte = rng.random_range(b'0'..=b'9');
                }
            }
            0..=3 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = if rng.random_bool(0.5) { rng.random() } else { *byte ^ 1 << rng.random_range(0..8) };
                }
            }
            4 => {
                let end = (at + rng.random_range(0..16)).min(input.len());
                input.drain(at..end);
            }
            5 => {
                let part: Vec<u8> = input.iter().skip(at).take(rng.random_range(1..64)).copied().collect();
                let to = rng.random_range(0..=input.len());
                input.splice(to..to, part);
            }
            6 => {
                let other = pick(rng);
                let from = rng.random_range(0..other.len().max(1));
                let part: Vec<u8> = other.iter().skip(from).take(rng.random_range(1..256)).copied().collect();
                let end = (at + part.len()).min(input.len());
                input.splice(at..end, part);
            }
            _ if rng.random_range(0..4) == 0 => input.truncate(at),
            _ => {
                let special = SPECIAL.choose(rng).copied().unwrap_or_default();
                let end = (at + special.len()).min(input.len());
                input.splice(at..end, special.iter().copied());
            }
        }
    }
    input
}

/// Reads, and uses what was read; answers whether there was a model.
pub(crate) fn use_up(input: &[u8]) -> Result<bool, String> {
    let Ok(model) = Imported::read(input) else { return Ok(false) };
    for output in &model.outputs {
        let explainer = Explainer::new(&output.ensemble);
        let features = output.ensemble.features();
        if features > 10_000 {
            continue;
        }
        let (mut scratch, mut parts) = (explainer.scratch(), vec![0.0; features]);
        for fill in [f64::NAN, 0.0, 1.5, -3.0] {
            let row = vec![fill; features];
            let margin = explainer.margin(&row);
            if margin.to_bits() != output.ensemble.margin(&row).to_bits() {
                return Err("two ways to score differ".to_owned());
            }
            explainer.explain(&row, &mut scratch, &mut parts);
            let sum = output.ensemble.baseline() + parts.iter().sum::<f64>();
            // What may be added up at most: rounding is a share of that, also where terms cancel.
            let largest = |values: &[f64]| values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
            let trees: f64 = output.ensemble.trees().iter().map(|tree| largest(&tree.value)).sum();
            let size = 1.0 + output.ensemble.base().abs() + trees;
            // Leaves near the largest number may overflow when they are added.
            if size < 1e100 && (sum - margin).abs() > 1e-9 * size {
                return Err(format!("{sum} is not {margin}"));
            }
        }
    }
    Ok(true)
}
