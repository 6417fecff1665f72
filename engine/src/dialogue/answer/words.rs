//! A text as words: lower case, with their places, tolerant of small slips.

use std::ops::Range;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dialogue) struct Word {
    /// In lower case, without punctuation around it, with a straight apostrophe.
    pub(in crate::dialogue) text: String,
    /// Where it stands, in bytes.
    pub(in crate::dialogue) span: Range<usize>,
}

/// The words of a text, in order.
pub(in crate::dialogue) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    let mut push = |range: Range<usize>| {
        let Some(raw) = text.get(range.clone()) else { return };
        let kept = |c: char| c.is_alphanumeric() || matches!(c, '€' | '$' | '£' | '+' | '%');
        let left = raw.find(kept).unwrap_or(raw.len());
        let right = raw
            .rfind(kept)
            .map_or(left, |at| at + raw.get(at..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8));
        if let Some(core) = raw.get(left..right)
            && !core.is_empty()
        {
            words.push(Word {
                text: core.to_lowercase().replace(['’', '`', '´'], "'"),
                span: range.start + left..range.start + right,
            });
        }
    };
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || matches!(c, '/' | '(' | ')' | '"') && !within_digits(text, at) {
            if let Some(start) = start.take() {
                push(start..at);
            }
        } else if start.is_none() {
            start = Some(at);
        }
    }
    if let Some(start) = start {
        push(start..text.len());
    }
    words
}

/// Whether a mark stands between two digits, as in `14/03/1988`.
fn within_digits(text: &str, at: usize) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    digit(text.get(..at).and_then(|before| before.chars().next_back()))
        && digit(text.get(at + 1..).and_then(|after| after.chars().next()))
}

/// Where a phrase stands: its words in a row, each at most one slip away.
pub(in crate::dialogue) fn find_phrase(among: &[Word], phrase: &str) -> Option<Range<usize>> {
    find(among, phrase, similar)
}

/// Where a phrase stands, letter by letter.
pub(in crate::dialogue) fn find_exactly(among: &[Word], phrase: &str) -> Option<Range<usize>> {
    find(among, phrase, |have, want| have == want)
}

fn find(among: &[Word], phrase: &str, same: fn(&str, &str) -> bool) -> Option<Range<usize>> {
    let wanted = words(phrase);
    if wanted.is_empty() {
        return None;
    }
    among.windows(wanted.len()).find_map(|window| {
        let fits = window.iter().zip(&wanted).all(|(have, want)| same(&have.text, &want.text));
        match (window.first(), window.last()) {
            (Some(first), Some(last)) if fits => Some(first.span.start..last.span.end),
            _ => None,
        }
    })
}

/// Whether every word of a cue occurs, in any order and form: `lost card` in "I've lost both my cards".
pub(in crate::dialogue) fn has_cue(among: &[Word], cue: &str) -> bool {
    let wanted = words(cue);
    !wanted.is_empty() && wanted.iter().all(|want| among.iter().any(|have| similar(stem(&have.text), stem(&want.text))))
}

/// Same word, or one slip away where the word is long enough for that to be no other word.
pub(in crate::dialogue) fn similar(have: &str, want: &str) -> bool {
    if have == want {
        return true;
    }
    // Words of their own that are one slip away from others that matter here.
    const WORDS: &[&str] = &[
        "change",
        "charge",
        "changed",
        "charged",
        "changes",
        "charges",
        "employee",
        "statement",
        "there",
        "three",
        "quite",
        "quiet",
        "trial",
        "trail",
        "angel",
        "angle",
    ];
    let letters = want.chars().filter(|c| c.is_alphabetic()).count();
    if WORDS.contains(&have) || have.chars().next() != want.chars().next() {
        return false;
    }
    match letters {
        // Of five letters, one that is another makes another word too often: "house" and "horse".
        // And "take" is no slip of "taken".
        5 => {
            one_slip(have, want)
                && !one_letter_changed(have, want)
                && !have.starts_with(want)
                && !want.starts_with(have)
        }
        0..5 => false,
        _ => one_slip(have, want),
    }
}

/// Whether the two differ in exactly one letter of the same place.
fn one_letter_changed(a: &str, b: &str) -> bool {
    a.chars().count() == b.chars().count() && a.chars().zip(b.chars()).filter(|(x, y)| x != y).count() == 1
}

/// Whether one letter was changed, left out, doubled, or two neighbours were swapped.
fn one_slip(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let common = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = |chars: &[char], skip: usize| chars.get(common + skip..).map(<[char]>::to_vec);
    match a.len().abs_diff(b.len()) {
        0 => {
            let swapped = a.get(common) == b.get(common + 1) && a.get(common + 1) == b.get(common);
            rest(&a, 1) == rest(&b, 1) || (swapped && rest(&a, 2) == rest(&b, 2))
        }
        1 if a.len() > b.len() => rest(&a, 1) == rest(&b, 0),
        1 => rest(&a, 0) == rest(&b, 1),
        _ => false,
    }
}

/// A word without the commonest English endings.
pub(in crate::dialogue) fn stem(word: &str) -> &str {
    ["'s", "ing", "ed", "es", "s"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.chars().count() >= 4))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_keep_their_places() {
        assert_eq!(texts("No, the OTHER card!"), ["no", "the", "other", "card"]);
        assert_eq!(texts("it wasn’t me (14/03/1988)"), ["it", "wasn't", "me", "14/03/1988"]);
        assert_eq!(texts("€1,250.50, ok?"), ["€1,250.50", "ok"]);
        let text = "pay €5 now";
        let word = &words(text)[1];
        assert_eq!(&text[word.span.clone()], "€5");
    }

    #[test]
    fn slips_are_forgiven_in_long_words_only() {
        assert!(similar("emial", "email") && similar("twicce", "twice") && similar("phne", "phone"));
        assert!(!similar("take", "taken") && !similar("horse", "house") && !similar("there", "three"));
        assert!(similar("recieved", "received"));
        assert!(similar("stollen", "stolen"));
        assert!(similar("adress", "address"));
        assert!(similar("airtravell24", "airtravel24"));
        assert!(!similar("lose", "lost"));
        assert!(!similar("change", "charge"));
        assert!(!similar("deposit", "dispute"));
    }

    #[test]
    fn cues_are_found_in_any_order() {
        let among = words("I've lost both of my cards yesterday");
        assert!(has_cue(&among, "lost card"));
        assert!(!has_cue(&among, "stolen card"));
        assert!(find_phrase(&among, "both of my").is_some());
        assert!(find_phrase(&among, "my both").is_none());
    }
}
