//! Amounts of money.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in the currency's smallest unit (cents).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Cents; negative for what is owed or left the account.
    pub minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

impl Money {
    /// So many cents of a currency.
    #[must_use]
    pub fn new(minor: i64, currency: impl Into<String>) -> Self {
        Self { minor, currency: currency.into() }
    }

    /// The same amount without its sign.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self::new(self.minor.saturating_abs(), self.currency.clone())
    }
}

/// As written in a letter: `€1,250.00`, `-£20.50`, `1,000.00 CHF`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.minor.unsigned_abs();
        let digits = (cents / 100).to_string();
        let mut whole = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                whole.push(',');
            }
            whole.push(digit);
        }
        let sign = if self.minor < 0 { "-" } else { "" };
        let rest = cents % 100;
        match self.currency.as_str() {
            "EUR" => write!(f, "{sign}€{whole}.{rest:02}"),
            "GBP" => write!(f, "{sign}£{whole}.{rest:02}"),
            "USD" => write!(f, "{sign}${whole}.{rest:02}"),
            other => write!(f, "{sign}{whole}.{rest:02} {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_groups_and_sign() {
        assert_eq!(Money::new(125_000, "EUR").to_string(), "€1,250.00");
        assert_eq!(Money::new(-2_050, "GBP").to_string(), "-£20.50");
        assert_eq!(Money::new(100_000_000, "CHF").to_string(), "1,000,000.00 CHF");
        assert_eq!(Money::new(5, "USD").to_string(), "$0.05");
    }
}
