//! Messages with several requests: "block my card and tell me my balance".

/// The clauses of a text that may hold requests of their own; empty when there is only one.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut clauses: Vec<&str> = Vec::new();
    let mut start = 0;
    let mut cut = |from: usize, to: usize, after: usize| {
        if let Some(clause) = text.get(from..to).map(|clause| clause.trim_matches([' ', ',', ';', '\n', '\t']))
            && !clause.is_empty()
        {
            clauses.push(clause);
        }
        after
    };
    let lower = text.to_ascii_lowercase();
    for (at, c) in text.char_indices() {
        if at < start {
            continue;
        }
        let after = at + c.len_utf8();
        let rest = text.get(after..).unwrap_or_default();
        let sentence_ends =
            matches!(c, '?' | '!' | ';' | '\n') || (c == '.' && (rest.starts_with(char::is_whitespace)));
        if sentence_ends {
            start = cut(start, after, after);
            continue;
        }
        if c != ' ' && c != ',' {
            continue;
        }
        let following = lower.get(after..).unwrap_or_default().trim_start();
        let skipped = lower.get(after..).map_or(0, str::len) - following.len();
        let joiner = ["and also ", "and then ", "and ", "also ", "plus ", "then ", "but "]
            .into_iter()
            .find(|joiner| following.starts_with(joiner));
        if let Some(joiner) = joiner
            && following.get(joiner.len()..).is_some_and(begins_clause)
        {
            start = cut(start, at, after + skipped + joiner.len());
        }
    }
    cut(start, text.len(), text.len());
    if clauses.len() < 2 { Vec::new() } else { clauses }
}

/// Whether a text begins as a request of its own may.
fn begins_clause(text: &str) -> bool {
    const STARTS: &[&str] = &[
        "i", "i'd", "i've", "i'm", "can", "could", "what", "what's", "how", "where", "when", "why", "who", "is", "are",
        "do", "does", "did", "will", "would", "please", "tell", "show", "give", "send", "block", "order", "check",
        "change", "update", "let", "need", "want", "see", "get", "know", "also", "there", "dispute", "report", "apply",
        "open", "freeze", "my", "look", "find", "have", "talk", "speak", "file", "make",
    ];
    let first = text.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default().replace('’', "'");
    STARTS.contains(&first.as_str())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn requests_are_separated() {
        assert_eq!(split("I lost my card and what's my balance?"), ["I lost my card", "what's my balance?"]);
        assert_eq!(
            split("Hi. My card was stolen. Also can you change my address?"),
            ["Hi.", "My card was stolen.", "can you change my address?"]
        );
        assert_eq!(
            split("block my card, then tell me my balance please"),
            ["block my card", "tell me my balance please"]
        );
    }

    #[test]
    fn what_belongs_together_stays_together() {
        assert!(split("I paid 20.50 for bread and butter").is_empty());
        assert!(split("my card ending 4821 is gone").is_empty());
        assert!(split("anna.weber@example.com").is_empty());
    }
}
