//! Chinese, read word by word in English: a small second vocabulary before the encoder, which knows English alone.
//!
//! A message's words are looked up, the longest first, and what they mean is understood as an English message is. The order of
//! words stays Chinese, which the encoder, trained on customers' broken English too, mostly forgives; how well is measured
//! in `engine/src/understanding/README.md`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What each Chinese word means, and the length of the longest in characters.
static WORDS: LazyLock<(HashMap<&'static str, &'static str>, usize)> = LazyLock::new(|| {
    let lines = include_str!("chinese/words.txt").lines().filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| line.split_once('='));
    let words: HashMap<_, _> =
        entries.flat_map(|(chinese, english)| chinese.split_whitespace().map(|word| (word, english.trim()))).collect();
    let longest = words.keys().map(|word| word.chars().count()).max().unwrap_or(0);
    (words, longest)
});

/// Characters of Taiwan and Hong Kong in the form that the words are written in.
static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let pairs = include_str!("chinese/traditional.txt").split_whitespace();
    pairs.filter_map(|pair| pair.chars().next().zip(pair.chars().nth(1))).collect()
});

/// What makes a Chinese sentence a question.
const QUESTIONS: &[&str] = &[
    "?",
    "？",
    "吗",
    "呢",
    "什么",
    "多少",
    "怎么",
    "怎样",
    "如何",
    "几",
    "哪",
    "多久",
    "能不能",
    "可不可以",
    "是不是",
    "有没有",
];

/// Whether the text is mostly Chinese. Mail addresses count as no language.
#[must_use]
pub fn is_chinese(text: &str) -> bool {
    let latin = |c: char| c.is_ascii_alphanumeric() || "@._%+-".contains(c);
    let addresses = text.split(|c| !latin(c)).filter(|run| run.contains('@'));
    let in_addresses: usize = addresses.map(|run| run.chars().filter(char::is_ascii_alphabetic).count()).sum();
    let han = text.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    han >= 2 && han * 2 >= letters - in_addresses
}

/// A Chinese text in English words, as far as they are known; `None` for a text that is not mostly Chinese.
pub(crate) fn in_english(text: &str) -> Option<String> {
    if !is_chinese(text) {
        return None;
    }
    let (words, longest) = &*WORDS;
    let text: String =
        text.to_lowercase().chars().map(|c| SIMPLIFIED.get(&c).copied().unwrap_or(c)).filter(|c| *c != ' ').collect();
    let mut english: Vec<&str> = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        // Numbers and words in Latin letters stay whole.
        let latin = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let starts =
            rest.char_indices().map(|(at, c)| rest.get(..at + c.len_utf8()).unwrap_or_default()).take(*longest);
        let known = starts.filter_map(|word| Some((*words.get(word)?, word.len()))).last();
        let (meaning, after) = match known {
            Some((meaning, length)) if length >= latin => (meaning, length),
            _ if latin > 0 => (rest.get(..latin).unwrap_or_default(), latin),
            _ => ("", first.len_utf8()),
        };
        // The same word a second time says nothing more.
        if !meaning.is_empty() && !english.contains(&meaning) {
            english.push(meaning);
        }
        rest = rest.get(after..).unwrap_or_default();
    }
    let asks = QUESTIONS.iter().any(|word| text.contains(word));
    Some(format!("{}{}", english.join(" "), if asks && !english.is_empty() { "?" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_the_longest_first_in_either_script() {
        assert_eq!(in_english("我的卡丢了").as_deref(), Some("my card lost"));
        assert_eq!(in_english("我的卡丟了"), in_english("我的卡丢了"), "as written in Taiwan");
        assert_eq!(in_english("我的卡在哪里？").as_deref(), Some("my card where is?"));
        assert_eq!(in_english("转账 500 欧").as_deref(), Some("transfer 500 euro"));
        assert_eq!(in_english("my card 丢"), None);
        assert_eq!(in_english("龘龘").as_deref(), Some(""), "nothing known");
    }

    #[test]
    fn a_mail_address_does_not_make_a_chinese_text_english() {
        assert!(is_chinese("电话：+49 30 555 0100，每天8:00至20:00。邮箱：help@harbourbank.example。"));
        assert!(!is_chinese("please write to help@harbourbank.example 丢了"));
    }

    #[test]
    fn no_word_is_given_two_meanings() {
        let lines = include_str!("chinese/words.txt").lines().filter(|line| !line.starts_with('#'));
        let listed: Vec<&str> =
            lines.filter_map(|line| line.split_once('=')).flat_map(|(left, _)| left.split_whitespace()).collect();
        assert_eq!(listed.len(), WORDS.0.len());
        assert!(listed.len() > 1_000);
        assert!(listed.iter().all(|word| *word == word.to_lowercase()), "texts are looked up in lower case");
    }
}
