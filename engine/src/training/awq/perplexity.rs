//! How well a model predicts texts.

use super::AwqError;
use crate::models::causal::{BLOCK, Batch, CausalModel, Sequence};

/// Tokens whose logits are asked for in one step.
const PIECE: usize = 64;

/// Perplexity of every text's tokens after its first, and how many they are.
pub(super) fn perplexity(model: &mut dyn CausalModel, texts: &[Vec<u32>]) -> Result<(f64, usize), AwqError> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    model.allocate_cache(longest.div_ceil(BLOCK))?;
    let (mut logits, mut sum, mut count) = (Vec::new(), 0.0, 0usize);
    for text in texts {
        let read = text.len().saturating_sub(1);
        for first in (0..read).step_by(PIECE) {
            let batch = step(text, first..read.min(first + PIECE)).map_err(AwqError::Texts)?;
            model.forward(&batch, &mut logits)?;
            let vocabulary = model.shape().vocabulary;
            for (logits, next) in logits.chunks_exact(vocabulary).zip(text.iter().skip(first + 1)) {
                sum += surprise(logits, *next);
                count += 1;
            }
        }
    }
    Ok(((sum / count.max(1) as f64).exp(), count))
}

/// The tokens `range` of a text, each as a sequence of its own over the same cache, so that each has logits.
fn step(text: &[u32], range: std::ops::Range<usize>) -> Result<Batch, String> {
    let small = |number: usize| u32::try_from(number).map_err(|error| error.to_string());
    let mut batch = Batch { tokens: text.get(range.clone()).unwrap_or_default().to_vec(), ..Batch::default() };
    for (number, position) in range.enumerate() {
        batch.positions.push(small(position)?);
        batch.slots.push(small(position)?);
        batch.sequences.push(Sequence {
            tokens: number..number + 1,
            context: position + 1,
            blocks: (0..=position / BLOCK).map(small).collect::<Result<_, _>>()?,
            wants_logits: true,
            adapter: None,
        });
    }
    Ok(batch)
}

/// `-ln p(next)`, in nats.
fn surprise(logits: &[f32], next: u32) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
    let own = usize::try_from(next).ok().and_then(|next| logits.get(next)).map_or(f32::NEG_INFINITY, |own| *own);
    total.ln() - f64::from(own - highest)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::models::{Device, LoadOptions, load};

    /// Against the logits that `transformers` computed for the same text.
    #[test]
    fn perplexity_is_that_of_the_references_logits() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generative/deepseek-v3");
        let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let words = |name: &str| tensors.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
        let text: Vec<u32> = words("tokens").into_iter().map(u32::from_le_bytes).collect();
        let logits: Vec<f32> = words("logits").into_iter().map(f32::from_le_bytes).collect();
        let rows = logits.chunks(logits.len() / text.len());
        let sum: f64 = rows.zip(&text[1..]).map(|(row, next)| surprise(row, *next)).sum();
        let options = LoadOptions { threads: 1, rounding: false, device: Device::Cpu };
        let mut model = load(&folder, options, &mut |_| ()).unwrap();
        // Two texts, so that the second one overwrites the first one's cache; pieces cut both.
        let (found, count) = perplexity(&mut *model, &[text.clone(), text.clone()]).unwrap();
        assert_eq!(count, 2 * (text.len() - 1));
        let wanted = (sum / (text.len() - 1) as f64).exp();
        assert!((found / wanted - 1.0).abs() < 1e-4, "{found} {wanted}");
    }
}
