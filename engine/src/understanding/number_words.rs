//! Numbers in English words: the one list that every reader of numbers shares.

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(&str, u32); 3] = [("hundred", 100), ("thousand", 1_000), ("million", 1_000_000)];

/// The number that one word in lower case says on its own, below a hundred: `seven`, `seventy`.
pub(crate) fn below_hundred(word: &str) -> Option<u32> {
    let place = |list: &[&str]| list.iter().position(|one| *one == word).and_then(|at| u32::try_from(at).ok());
    place(&UNITS).or_else(|| place(&TENS).map(|at| 10 * (at + 2)))
}

/// The same, with `hundred`, `thousand` and `million`.
pub(crate) fn value(word: &str) -> Option<u32> {
    let scale = || SCALES.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    below_hundred(word).or_else(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_one_number() {
        for (word, number) in [("zero", 0), ("twelve", 12), ("nineteen", 19), ("twenty", 20), ("ninety", 90)] {
            assert_eq!(below_hundred(word), Some(number), "{word}");
            assert_eq!(value(word), Some(number), "{word}");
        }
        assert_eq!((below_hundred("hundred"), value("hundred")), (None, Some(100)));
        assert_eq!(value("twenty-five"), None);
    }
}
