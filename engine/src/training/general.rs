//! Texts that keep the encoder's general skill while it learns a bank's own intents.
//!
//! What the shipped encoder learned from is not in the program. So its own answers are the teacher (Li and Hoiem 2016,
//! learning without forgetting): on the patterns of customers' requests and feelings that it was taught with, on what the
//! caller adds, and on the bank's examples themselves, the adapted encoder must say what it said before.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// The recipe's patterns: one a line, `[a|b]` takes one of the alternatives.
const PATTERNS: [&str; 2] = [
    include_str!("../../recipes/encoder/desk_templates.txt"),
    include_str!("../../recipes/encoder/sentiment_templates.txt"),
];

/// Texts drawn from each pattern.
const EACH: usize = 4;

/// Texts of the compiled-in patterns, without repetition.
#[must_use]
pub(super) fn texts(rng: &mut ChaCha8Rng) -> Vec<String> {
    let lines = PATTERNS.iter().flat_map(|file| file.lines());
    let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '@']));
    let mut out: Vec<String> =
        patterns.flat_map(|pattern| (0..EACH).map(|_| expand(pattern, rng)).collect::<Vec<_>>()).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// One of the texts that a pattern stands for.
fn expand(pattern: &str, rng: &mut ChaCha8Rng) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((plain, choice)) = rest.split_once('[') {
        out.push_str(plain);
        let (alternatives, after) = choice.split_once(']').unwrap_or((choice, ""));
        let alternatives: Vec<&str> = alternatives.split('|').collect();
        out.push_str(alternatives.choose(rng).copied().unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn patterns_become_sentences() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<String> = (0..50).map(|_| expand("[|hi ]I lost my [card|purse][!|]", &mut rng)).collect();
        assert!(
            drawn.iter().any(|text| text == "hi I lost my card!") && drawn.iter().any(|text| text == "I lost my purse")
        );
        let all = texts(&mut rng);
        assert!(all.len() > 500 && all.iter().all(|text| !text.contains(['[', ']', '|'])), "{}", all.len());
    }
}
