//! Conditions of steps: `card is known and reason is lost|stolen`, `payment.status is pending`,
//! `months_at_address < 24`, `identified`.

use serde::Serialize;

/// Tests that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// As written in the file.
    pub text: String,
    /// The tests.
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub enum Test {
    /// The customer is (or is not) identified.
    Identified {
        /// What is wanted.
        wanted: bool,
    },
    /// A slot is filled (or not).
    Known {
        /// The slot.
        slot: String,
        /// What is wanted.
        wanted: bool,
    },
    /// A slot's value, or a field of its record, is one of several.
    Is {
        /// The slot.
        slot: String,
        /// A field of the record, or the value itself.
        field: Option<String>,
        /// The values.
        values: Vec<String>,
        /// Whether it must be one of them, or must not.
        wanted: bool,
    },
    /// A slot's number is less than a bound (or at least as much).
    Less {
        /// The slot.
        slot: String,
        /// The bound.
        bound: i64,
        /// Whether it must be less, or must not.
        wanted: bool,
    },
}

/// What a condition is tested against.
pub(in crate::dialogue) trait Values {
    /// Whether the customer is identified.
    fn identified(&self) -> bool;
    /// A slot's value, or a field of it.
    fn value(&self, slot: &str, field: Option<&str>) -> Option<&str>;
}

impl Condition {
    /// Reads a condition; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tests = text.split(" and ").map(|part| Test::parse(part.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tests })
    }

    /// Whether every test holds. A test about an empty slot fails, whatever it asks, except `is unknown`.
    pub(in crate::dialogue) fn holds(&self, values: &dyn Values) -> bool {
        self.tests.iter().all(|test| test.holds(values))
    }

    /// Slots and fields it names.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.tests.iter().filter_map(|test| match test {
            Test::Identified { .. } => None,
            Test::Known { slot, .. } | Test::Less { slot, .. } => Some((slot.as_str(), None)),
            Test::Is { slot, field, .. } => Some((slot.as_str(), field.as_deref())),
        })
    }
}

impl Test {
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let path = |name: &str| match name.split_once('.') {
            Some((slot, field)) => (slot.to_owned(), Some(field.to_owned())),
            None => (name.to_owned(), None),
        };
        match words.as_slice() {
            ["identified"] => Ok(Self::Identified { wanted: true }),
            ["not", "identified"] => Ok(Self::Identified { wanted: false }),
            [slot, "is", "known"] => Ok(Self::Known { slot: (*slot).to_owned(), wanted: true }),
            [slot, "is", "unknown"] => Ok(Self::Known { slot: (*slot).to_owned(), wanted: false }),
            [name, "is", rest @ ..] if !rest.is_empty() => {
                let (wanted, rest) = match rest {
                    ["not", rest @ ..] => (false, rest),
                    rest => (true, rest),
                };
                let (slot, field) = path(name);
                let [values] = rest else {
                    return Err(format!("'{text}' needs one value, or several joined by '|'"));
                };
                Ok(Self::Is { slot, field, values: values.split('|').map(str::to_owned).collect(), wanted })
            }
            [slot, comparison @ ("<" | ">="), bound] => Ok(Self::Less {
                slot: (*slot).to_owned(),
                bound: bound.parse().map_err(|_| format!("'{bound}' is not a whole number"))?,
                wanted: *comparison == "<",
            }),
            _ => Err(format!(
                "'{text}' is not a condition: write 'slot is value', 'slot is not value', 'slot is known', \
                 'slot < 24' or 'identified'"
            )),
        }
    }

    fn holds(&self, values: &dyn Values) -> bool {
        match self {
            Self::Identified { wanted } => values.identified() == *wanted,
            Self::Known { slot, wanted } => values.value(slot, None).is_some() == *wanted,
            Self::Is { slot, field, values: among, wanted } => values
                .value(slot, field.as_deref())
                .is_some_and(|value| among.iter().any(|one| one == value) == *wanted),
            Self::Less { slot, bound, wanted } => values
                .value(slot, None)
                .and_then(|value| value.parse::<i64>().ok())
                .is_some_and(|value| (value < *bound) == *wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, &'static str);

    impl Values for One {
        fn identified(&self) -> bool {
            false
        }
        fn value(&self, slot: &str, field: Option<&str>) -> Option<&str> {
            (slot == self.0 && field.is_none()).then_some(self.1)
        }
    }

    #[test]
    fn tests_are_read_and_hold() {
        let holds = |text: &str, slot, value| Condition::parse(text).unwrap().holds(&One(slot, value));
        assert!(holds("reason is lost|stolen", "reason", "stolen"));
        assert!(!holds("reason is not lost|stolen", "reason", "stolen"));
        assert!(!holds("reason is not lost", "other", "stolen"), "an empty slot fulfils nothing");
        assert!(holds("months < 24 and not identified", "months", "23"));
        assert!(holds("months >= 24", "months", "24"));
        assert!(holds("reason is unknown", "other", "x"));
        assert!(Condition::parse("reason equals lost").is_err());
        assert!(Condition::parse("months < many").is_err());
    }
}
