//! Two policies side by side, line by line.

use candor_engine::risk::{Policy, Rule};

use super::words;

/// One line that both policies have, or only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Line {
    pub(super) fn is_change(&self) -> bool {
        self.before != self.after
    }
}

/// Every line of `after` with the one of `before`, then what only `before` has.
pub(super) fn lines(before: &Policy, after: &Policy) -> Vec<Line> {
    let (old, new) = (all(before), all(after));
    let find = |lines: &[(String, String)], label: &str| {
        lines.iter().find(|(known, _)| known == label).map(|(_, text)| text.clone())
    };
    let mut lines: Vec<Line> = new
        .iter()
        .map(|(label, text)| Line { label: label.clone(), before: find(&old, label), after: Some(text.clone()) })
        .collect();
    lines.extend(old.iter().filter(|(label, _)| find(&new, label).is_none()).map(|(label, text)| Line {
        label: label.clone(),
        before: Some(text.clone()),
        after: None,
    }));
    lines
}

fn all(policy: &Policy) -> Vec<(String, String)> {
    let percent = |share: f64| format!("{} %", trimmed(share * 100.0));
    let mut lines = vec![
        ("Medium band from".to_owned(), percent(policy.bands.medium)),
        ("High band from".to_owned(), percent(policy.bands.high)),
        ("Low band proposes".to_owned(), policy.proposals.low.as_str().to_owned()),
        ("Medium band proposes".to_owned(), policy.proposals.medium.as_str().to_owned()),
        ("High band proposes".to_owned(), policy.proposals.high.as_str().to_owned()),
        (
            "Override needs a second person from".to_owned(),
            candor_engine::dialogue::Money::new(policy.second_person_above_minor, "EUR").to_string(),
        ),
        ("Reasons given at most".to_owned(), policy.max_reasons.to_string()),
        ("A reason raises the log-odds by at least".to_owned(), trimmed(policy.min_contribution)),
        (
            "Letters of a decline say what would change the score".to_owned(),
            if policy.letters_name_changes { "yes" } else { "no" }.to_owned(),
        ),
    ];
    lines.extend(policy.rules.iter().map(|rule| (format!("Rule {}", rule.code), rule_in_words(rule))));
    lines
}

fn rule_in_words(rule: &Rule) -> String {
    format!(
        "{}{}: when {}, {}. “{}”",
        rule.name,
        if rule.active { "" } else { " (switched off)" },
        words::condition(&rule.when),
        rule.then.as_str(),
        rule.text
    )
}

/// A number without superfluous zeros.
pub(super) fn trimmed(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_additions_and_removals_are_told_apart() {
        let before = Policy::shipped().unwrap();
        let mut after = before.clone();
        after.bands.high = 0.2;
        let removed = after.rules.remove(0);
        let changes: Vec<Line> = lines(&before, &after).into_iter().filter(Line::is_change).collect();
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].before.as_deref(), Some("15 %"));
        assert_eq!(changes[0].after.as_deref(), Some("20 %"));
        assert_eq!((changes[1].label.as_str(), &changes[1].after), (format!("Rule {}", removed.code).as_str(), &None));
    }
}
