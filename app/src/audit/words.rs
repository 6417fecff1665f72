//! Actions and numbers as people read them.

/// `decision.made` as "Decision made": every action is a noun and a verb, so the words are in its name.
pub(super) fn action(action: &str) -> String {
    let words = action.replace(['.', '_'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A whole number with its thousands set apart: 48,211.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        grouped.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_actions_read_as_words() {
        assert_eq!(grouped(48_211), "48,211");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(-1_000_000), "-1,000,000");
        assert_eq!(action("person.role_changed"), "Person role changed");
    }
}
