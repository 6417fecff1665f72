//! Feeds broken model files to the importers for a while: `cargo run --release --example fuzz_import -- FORMAT SECONDS [SEED]`
//! with FORMAT one of xgboost-json, xgboost-ubjson, lightgbm, onnx. Every fixture of the format is changed at random places, cut, and
//! spliced with others; whatever is still read is scored and explained. It ends with a line of figures; a panic, an abort or a sum
//! that does not add up ends it with an error and the seed of the input.

#[path = "../tests/broken_models/mod.rs"]
mod broken_models;

use std::time::{Duration, Instant};

use broken_models::{Fault, fixtures, mutate, use_up};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let format = arguments.next().ok_or("which format?")?;
    let seconds: u64 = arguments.next().ok_or("how many seconds?")?.parse()?;
    let seed: u64 = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    let seeds = fixtures(&format)?;
    let start = Instant::now();
    let (mut runs, mut read) = (0_u64, 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(runs));
        let input = mutate(&mut rng, &seeds, &format);
        let outcome = std::panic::catch_unwind(|| use_up(&input));
        match outcome {
            Ok(Ok(done)) => read += u64::from(done),
            Ok(Err(fault)) => return Err(format!("seed {}: {fault}", seed.wrapping_add(runs)).into()),
            Err(_) => return Err(format!("seed {} panics", seed.wrapping_add(runs)).into()),
        }
        runs += 1;
    }
    println!(
        "{{\"format\":\"{format}\",\"seconds\":{},\"inputs\":{runs},\"read\":{read},\"crashes\":0}}",
        start.elapsed().as_secs()
    );
    Ok(())
}
