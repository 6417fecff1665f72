//! Models of other libraries whose files are broken: read or refused, never a crash. `examples/fuzz_import.rs` does the same for as
//! long as one wants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]

mod broken_models;

use broken_models::{fixtures, mutate, use_up};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Inputs of a format; what is still a model must be so often enough for its trees to have been reached.
const INPUTS: u64 = 3000;

fn feed(format: &str) {
    let seeds = fixtures(format).unwrap();
    let mut read = 0;
    for seed in 0..INPUTS {
        let input = mutate(&mut ChaCha8Rng::seed_from_u64(seed), &seeds, format);
        let outcome = std::panic::catch_unwind(|| use_up(&input));
        match outcome {
            Ok(Ok(is_model)) => read += u32::from(is_model),
            Ok(Err(fault)) => panic!("{format}, seed {seed}: {fault}"),
            Err(_) => panic!("{format}, seed {seed} panics"),
        }
    }
    assert!(read >= 30, "{format}: {read} of {INPUTS} were still models");
}

#[test]
fn broken_xgboost_json_is_read_or_refused() {
    feed("xgboost-json");
}

#[test]
fn broken_xgboost_ubjson_is_read_or_refused() {
    feed("xgboost-ubjson");
}

#[test]
fn broken_lightgbm_text_is_read_or_refused() {
    feed("lightgbm");
}

#[test]
fn broken_onnx_is_read_or_refused() {
    feed("onnx");
}
