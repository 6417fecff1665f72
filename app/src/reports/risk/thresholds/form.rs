//! The bank's own costs and the bands of a draft, as typed.

use candor_engine::risk::figures::Costs;
use serde::Deserialize;

use crate::error::FieldError;

use super::settings::Settings;

/// The costs as typed; a field that is not there keeps the bank's own value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    pub(super) days: Option<i32>,
    missed: Option<String>,
    review: Option<String>,
    declined: Option<String>,
    recognised: Option<String>,
    mistaken: Option<String>,
    reviews: Option<String>,
}

/// The form as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CostForm {
    /// Share of the amount lost with a missed fraud, in percent.
    pub(super) missed: String,
    /// One review, in euros.
    pub(super) review: String,
    /// One honest customer declined, in euros.
    pub(super) declined: String,
    /// Share of reviewed frauds that are recognised, in percent.
    pub(super) recognised: String,
    /// Share of reviewed honest applications that are declined by mistake, in percent.
    pub(super) mistaken: String,
    /// Reviews a week.
    pub(super) reviews: String,
}

/// What the figures are made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Basis {
    pub(super) costs: Costs,
    pub(super) reviews_a_week: u32,
}

impl Basis {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { costs: settings.costs, reviews_a_week: settings.reviews_a_week }
    }
}

/// A number without superfluous zeros.
pub(super) fn trimmed(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn number(text: &str) -> Option<f64> {
    text.trim().replace(',', ".").parse::<f64>().ok().filter(|number| number.is_finite())
}

impl Typed {
    /// The form: what was typed, else the bank's own.
    pub(super) fn form(&self, settings: &Settings) -> CostForm {
        let Costs { missed_share, review, declined_honest, recognised, mistaken } = settings.costs;
        let or = |typed: &Option<String>, own: f64| typed.clone().unwrap_or_else(|| trimmed(own));
        CostForm {
            missed: or(&self.missed, missed_share * 100.0),
            review: or(&self.review, review),
            declined: or(&self.declined, declined_honest),
            recognised: or(&self.recognised, recognised * 100.0),
            mistaken: or(&self.mistaken, mistaken * 100.0),
            reviews: self.reviews.clone().unwrap_or_else(|| settings.reviews_a_week.to_string()),
        }
    }

    /// The part of an address that repeats what was typed.
    pub(super) fn rest(&self) -> String {
        let mut rest = String::new();
        for (name, typed) in [
            ("missed", &self.missed),
            ("review", &self.review),
            ("declined", &self.declined),
            ("recognised", &self.recognised),
            ("mistaken", &self.mistaken),
            ("reviews", &self.reviews),
        ] {
            // What is no number was refused and is not repeated.
            if let Some(number) = typed.as_deref().and_then(number) {
                rest.push_str(&format!("&{name}={}", trimmed(number)));
            }
        }
        rest
    }
}

impl CostForm {
    /// What the form says.
    ///
    /// # Errors
    /// Every field that needs another look.
    pub(super) fn read(&self) -> Result<Basis, Vec<FieldError>> {
        let mut faults = Vec::new();
        let mut within = |field: &str, text: &str, most: f64, words: &str| {
            let found = number(text).filter(|number| (0.0..=most).contains(number));
            if found.is_none() {
                faults.push(FieldError::new(field, words));
            }
            found.unwrap_or(0.0)
        };
        let share = "Write a percentage from 0 to 100.";
        let amount = "Write an amount in euros from 0 to 1,000,000.";
        let costs = Costs {
            missed_share: within("missed", &self.missed, 100.0, share) / 100.0,
            review: within("review", &self.review, 1e6, amount),
            declined_honest: within("declined", &self.declined, 1e6, amount),
            recognised: within("recognised", &self.recognised, 100.0, share) / 100.0,
            mistaken: within("mistaken", &self.mistaken, 100.0, share) / 100.0,
        };
        let reviews = self.reviews.trim().parse::<u32>().ok().filter(|reviews| (1..=1_000_000).contains(reviews));
        if reviews.is_none() {
            faults.push(FieldError::new("reviews", "Write a whole number of 1 or more."));
        }
        match reviews {
            Some(reviews_a_week) if faults.is_empty() => Ok(Basis { costs, reviews_a_week }),
            _ => Err(faults),
        }
    }
}

/// The bands of a draft as typed, in percent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct BandForm {
    pub(super) medium: String,
    pub(super) high: String,
}

impl BandForm {
    /// Where medium and high begin, as probabilities.
    ///
    /// # Errors
    /// Every field that needs another look.
    pub(super) fn read(&self) -> Result<candor_engine::risk::Bands, Vec<FieldError>> {
        let mut faults = Vec::new();
        let share = |text: &str| number(text).filter(|number| *number > 0.0 && *number < 100.0);
        let (medium, high) = (share(&self.medium), share(&self.high));
        if medium.is_none() {
            faults.push(FieldError::new("medium", "Write a percentage above 0 and below 100, such as 3."));
        }
        match (medium, high) {
            (_, None) => faults.push(FieldError::new("high", "Write a percentage above 0 and below 100, such as 15.")),
            (Some(medium), Some(high)) if high <= medium => {
                faults.push(FieldError::new("high", "Write a percentage above the one where medium begins."));
            }
            _ => {}
        }
        match (medium, high) {
            (Some(medium), Some(high)) if faults.is_empty() => {
                Ok(candor_engine::risk::Bands { medium: medium / 100.0, high: high / 100.0 })
            }
            _ => Err(faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_goes_before_the_banks_own_and_is_repeated_in_addresses() {
        let settings = Settings::default();
        let typed = Typed { review: Some("12,5".to_owned()), missed: Some("all".to_owned()), ..Typed::default() };
        let form = typed.form(&settings);
        assert_eq!((form.review.as_str(), form.recognised.as_str(), form.reviews.as_str()), ("12,5", "90", "10"));
        assert_eq!(typed.rest(), "&review=12.5");
        let faults = form.read().unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["missed"]);
        let own = Typed::default().form(&settings).read().unwrap();
        assert_eq!(own, Basis::of(&settings));
    }

    #[test]
    fn bands_are_percentages_in_their_order() {
        let read = |medium: &str, high: &str| BandForm { medium: medium.to_owned(), high: high.to_owned() }.read();
        let bands = read("2,5", "20").unwrap();
        assert!((bands.medium - 0.025).abs() < 1e-12 && (bands.high - 0.2).abs() < 1e-12);
        let fields = |medium: &str, high: &str| -> Vec<String> {
            read(medium, high).unwrap_err().into_iter().map(|fault| fault.field).collect()
        };
        assert_eq!(fields("0", "x"), ["medium", "high"]);
        assert_eq!(fields("20", "20"), ["high"]);
    }
}
