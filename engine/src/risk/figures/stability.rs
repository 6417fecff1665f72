//! Whether what comes in still looks like what was learned from: the population stability index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::application::Value;
use super::count;

/// From which index on something is said. The usual bands of credit scoring are 0.10 and 0.25 (Siddiqi 2006).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StabilityBands {
    /// From here on, keep watch.
    pub watch: f64,
    /// From here on, act.
    pub act: f64,
}

impl Default for StabilityBands {
    fn default() -> StabilityBands {
        StabilityBands { watch: 0.10, act: 0.25 }
    }
}

/// What an index means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StabilityLevel {
    /// As before.
    Stable,
    /// Something moves.
    Watch,
    /// It has moved.
    Act,
}

impl StabilityBands {
    /// The band of an index.
    pub fn level(&self, psi: f64) -> StabilityLevel {
        match psi {
            _ if psi >= self.act => StabilityLevel::Act,
            _ if psi >= self.watch => StabilityLevel::Watch,
            _ => StabilityLevel::Stable,
        }
    }
}

/// How values were spread in the period that later ones are compared with. Can be stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Upper ends of the bins of numbers, the last one open.
    ends: Vec<f64>,
    /// Words with a bin each.
    words: Vec<String>,
    /// Rows in every bin: numbers, then words, then other words, then missing.
    counts: Vec<usize>,
}

/// One bin of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StabilityBin {
    /// The bin, such as `10 to 20`, `web` or `missing`.
    pub bin: String,
    /// Its share before.
    pub expected: f64,
    /// Its share now.
    pub actual: f64,
    /// Its part in the index.
    pub part: f64,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// The population stability index: `Σ (actual - expected) ln (actual / expected)`.
    pub psi: f64,
    /// What the index would be by chance alone, for as many rows as these, if nothing had moved.
    pub by_chance: f64,
    /// The bins that hold rows before or now.
    pub bins: Vec<StabilityBin>,
    /// Rows before.
    pub before: usize,
    /// Rows now.
    pub now: usize,
}

impl Reference {
    /// Takes down how values are spread: numbers in `bins` bins with about equally many rows, a word a bin of its own.
    pub fn of<'v>(values: impl Iterator<Item = Option<&'v Value>> + Clone, bins: usize) -> Reference {
        let mut numbers: Vec<f64> = values
            .clone()
            .filter_map(|value| match value {
                Some(Value::Number(number)) if !number.is_nan() => Some(*number),
                _ => None,
            })
            .collect();
        numbers.sort_by(f64::total_cmp);
        let mut ends: Vec<f64> =
            (1..bins.max(1)).filter_map(|bin| numbers.get(numbers.len() * bin / bins).copied()).collect();
        ends.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        for value in values.clone() {
            if let Some(Value::Text(word)) = value {
                *words.entry(word).or_default() += 1;
            }
        }
        let words = words.into_keys().map(str::to_owned).collect();
        let mut reference = Reference { ends, words, counts: Vec::new() };
        reference.counts = reference.tally(values);
        reference
    }

    fn tally<'v>(&self, values: impl Iterator<Item = Option<&'v Value>>) -> Vec<usize> {
        let first_word = self.ends.len() + 1;
        let other = first_word + self.words.len();
        let mut counts = vec![0; other + 2];
        for value in values {
            let bin = match value {
                Some(Value::Number(number)) if !number.is_nan() => self.ends.partition_point(|end| end <= number),
                Some(Value::Text(word)) => {
                    self.words.binary_search(word).map_or(other, |position| first_word + position)
                }
                _ => other + 1,
            };
            if let Some(slot) = counts.get_mut(bin) {
                *slot += 1;
            }
        }
        counts
    }

    fn name(&self, bin: usize) -> String {
        let first_word = self.ends.len() + 1;
        if bin < first_word {
            let low = bin.checked_sub(1).and_then(|below| self.ends.get(below));
            return match (low, self.ends.get(bin)) {
                (Some(low), Some(high)) => format!("{low} to {high}"),
                (None, Some(high)) => format!("below {high}"),
                (Some(low), None) => format!("{low} and more"),
                (None, None) => "any number".to_owned(),
            };
        }
        let position = bin - first_word;
        match self.words.get(position) {
            Some(word) => word.clone(),
            None if position == self.words.len() => "other".to_owned(),
            None => "missing".to_owned(),
        }
    }

    /// Compares later values. Half a row is added to every bin, so that an empty one does not make the index infinite.
    pub fn compare<'v>(&self, values: impl Iterator<Item = Option<&'v Value>>) -> Stability {
        let now = self.tally(values);
        let used: Vec<(usize, usize, usize)> = self
            .counts
            .iter()
            .zip(&now)
            .enumerate()
            .map(|(bin, (&before, &now))| (bin, before, now))
            .filter(|(_, before, now)| before + now > 0)
            .collect();
        let (rows_before, rows_now): (usize, usize) = (self.counts.iter().sum(), now.iter().sum());
        let bins_used = count(used.len());
        let share = |rows: usize, of: usize| (count(rows) + 0.5) / (count(of) + 0.5 * bins_used);
        let bins: Vec<StabilityBin> = used
            .iter()
            .map(|&(bin, before, now)| {
                let (expected, actual) = (share(before, rows_before), share(now, rows_now));
                let part = (actual - expected) * libm::log(actual / expected);
                StabilityBin { bin: self.name(bin), expected, actual, part }
            })
            .collect();
        let chance = |rows: usize| if rows == 0 { 0.0 } else { count(rows).recip() };
        Stability {
            psi: bins.iter().map(|bin| bin.part).sum(),
            by_chance: (bins_used - 1.0).max(0.0) * (chance(rows_before) + chance(rows_now)),
            bins,
            before: rows_before,
            now: rows_now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::generator::Draws;

    fn numbers(shift: f64, seed: u64) -> Vec<Option<Value>> {
        let mut draws = Draws::new(seed);
        (0..4000).map(|row| if row % 10 == 0 { None } else { Some(Value::Number(draws.normal() + shift)) }).collect()
    }

    #[test]
    fn the_same_population_is_stable_and_a_moved_one_is_not() {
        let before = numbers(0.0, 1);
        let reference = Reference::of(before.iter().map(Option::as_ref), 10);
        let compare = |values: &[Option<Value>]| reference.compare(values.iter().map(Option::as_ref));
        assert!(compare(&before).psi.abs() < 1e-12);
        let bands = StabilityBands::default();
        let same = compare(&numbers(0.0, 2));
        assert!(same.psi < 3.0 * same.by_chance, "{same:?}");
        assert_eq!(bands.level(same.psi), StabilityLevel::Stable);
        // Deciles of a normal that moves by half its deviation: 0.2377, on the nine tenths that are not missing.
        let moved: Vec<f64> = (0..20).map(|seed| compare(&numbers(0.5, 100 + seed)).psi).collect();
        let mean = moved.iter().sum::<f64>() / 20.0;
        assert!((mean - 0.2139).abs() < 0.04, "{mean} {moved:?}");
        assert_eq!(bands.level(mean), StabilityLevel::Watch);
        assert_eq!(bands.level(compare(&numbers(1.0, 4)).psi), StabilityLevel::Act);
    }

    #[test]
    fn words_never_seen_and_missing_values_have_bins_of_their_own() {
        let word = |word: &str| Some(Value::Text(word.to_owned()));
        let before = [word("web"), word("web"), word("chat"), None];
        let reference = Reference::of(before.iter().map(Option::as_ref), 10);
        let now = [word("web"), word("telepathy"), None, None];
        let stability = reference.compare(now.iter().map(Option::as_ref));
        let names: Vec<&str> = stability.bins.iter().map(|bin| bin.bin.as_str()).collect();
        assert_eq!(names, ["chat", "web", "other", "missing"]);
        let text = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
    }
}
