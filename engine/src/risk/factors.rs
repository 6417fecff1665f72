//! The catalogue of factors: what each is called, how it is written, whether it may be used, and the
//! words that tell a customer that it counted against them. The data is `factors.toml`.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::application::Value;

/// What kind of values a factor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number.
    Number,
    /// 0 for no, 1 for yes.
    Flag,
    /// A word of a closed list.
    Category,
}

/// What a factor may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An input of the model.
    Input,
    /// Never an input and never in a rule: used only to measure fairness.
    Protected,
    /// Orders the applications in time; never an input.
    Time,
}

/// How a number is written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain number.
    #[default]
    Plain,
    /// Euros.
    Money,
    /// A share, 0 to 1, written as a percentage.
    Share,
    /// Months.
    Months,
    /// Days.
    Days,
    /// Minutes.
    Minutes,
    /// Years.
    Years,
    /// Per hour.
    PerHour,
}

/// How the score may move when the factor grows, where sense demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monotone {
    /// Either way.
    #[default]
    Free,
    /// A larger value never lowers the score.
    Increasing,
    /// A larger value never raises the score.
    Decreasing,
}

/// Which way an applicant could change a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up or down.
    #[default]
    Either,
    /// Only up.
    Higher,
    /// Only down.
    Lower,
}

/// How an applicant could change a changeable factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leeway {
    /// Which way.
    #[serde(default)]
    pub direction: Direction,
    /// Numbers are changed in multiples of this, in the factor's unit. Without it, in a round number that is about a
    /// hundredth of the usual range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
}

/// Of which values a factor's reason is true. Said of any other it would be a false statement to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Of numbers from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Of numbers up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Also where the value is not known: "or we could not confirm it".
    #[serde(default)]
    pub unknown: bool,
}

/// One factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// The field's name in an [`Application`](super::Application).
    pub name: String,
    /// What kind of values it takes.
    pub kind: Kind,
    /// In plain words, for officers and customers.
    pub label: String,
    /// How a number is written.
    #[serde(default)]
    pub unit: Unit,
    /// The smallest value that can be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The largest value that can be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// Numbers below zero mean "missing" in the benchmark's files.
    #[serde(default)]
    pub negative_is_missing: bool,
    /// Whether the applicant could change it.
    #[serde(default)]
    pub changeable: bool,
    /// How, where it is not either way and in any round step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Leeway>,
    /// What it may be used for.
    #[serde(default = "input")]
    pub role: Role,
    /// How the score may move with it.
    #[serde(default)]
    pub monotone: Monotone,
    /// Code of the reason, stable for ever.
    pub code: String,
    /// The reason in a customer's words.
    pub reason: String,
    /// Of which values the reason is true; of every known one where nothing stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// The categories in plain words, `code = "words"`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub categories: std::collections::BTreeMap<String, String>,
}

fn input() -> Role {
    Role::Input
}

impl Factor {
    /// Code and text of the reason that this factor is, with this value. Where the factor's own reason would not be true of
    /// it, another code says what is: `-U` that the value was not known, `-O` that another value raised the score
    /// (12 CFR 1002.9(b)(2) asks for the reasons that were used, and for no others).
    pub fn reason_for(&self, value: Option<&Value>, in_words: &str) -> (String, String) {
        let said = self.said.unwrap_or_default();
        let fits = match value {
            None => said.unknown,
            Some(Value::Text(_)) => true,
            Some(Value::Number(number)) => {
                said.at_least.is_none_or(|least| *number >= least) && said.at_most.is_none_or(|most| *number <= most)
            }
        };
        match value {
            _ if fits => (self.code.clone(), self.reason.clone()),
            None => self.not_known(),
            Some(_) => self.another(in_words),
        }
    }

    fn not_known(&self) -> (String, String) {
        let label = &self.label;
        (format!("{}-U", self.code), format!("We assessed your application without knowing this: {label}."))
    }

    fn another(&self, value: &str) -> (String, String) {
        let label = &self.label;
        let text = format!("{label}: {value}. Together with the rest of your application this is unusual.");
        (format!("{}-O", self.code), text)
    }

    /// The codes besides its own that [`Factor::reason_for`] can give, with their texts; `{value}` stands where the
    /// applicant's value is named.
    pub fn other_reasons(&self) -> Vec<(String, String)> {
        let said = self.said.unwrap_or_default();
        let not_known = (!said.unknown).then(|| self.not_known());
        let another = (said.at_least.is_some() || said.at_most.is_some()).then(|| self.another("{value}"));
        not_known.into_iter().chain(another).collect()
    }

    /// A factor of a bank's own data that the catalogue does not know.
    pub fn unlisted(name: &str, kind: Kind) -> Factor {
        let words = name.replace(['_', '-', '.'], " ");
        Factor {
            name: name.to_owned(),
            kind,
            label: words.clone(),
            unit: Unit::Plain,
            minimum: None,
            maximum: None,
            negative_is_missing: false,
            changeable: false,
            leeway: None,
            role: Role::Input,
            monotone: Monotone::Free,
            code: format!("X-{}", name.to_uppercase()),
            reason: format!("What you told us, or what we found, about: {words}."),
            said: None,
            categories: std::collections::BTreeMap::new(),
        }
    }

    /// Whether a number can be right for this factor.
    pub fn holds(&self, number: f64) -> bool {
        number.is_finite()
            && self.minimum.is_none_or(|minimum| number >= minimum)
            && self.maximum.is_none_or(|maximum| number <= maximum)
            && (self.kind != Kind::Flag || number == 0.0 || number == 1.0)
    }

    /// The limits as the end of "must be …".
    pub fn limits_in_words(&self) -> String {
        match (self.kind, self.minimum, self.maximum) {
            (Kind::Flag, ..) => "0 or 1".to_owned(),
            (_, Some(minimum), Some(maximum)) => format!("a number from {minimum} to {maximum}"),
            (_, Some(minimum), None) => format!("a number of at least {minimum}"),
            (_, None, Some(maximum)) => format!("a number of at most {maximum}"),
            (_, None, None) => "a number".to_owned(),
        }
    }

    /// A number as people write it, with its unit.
    pub fn number_in_words(&self, number: f64) -> String {
        if self.kind == Kind::Flag {
            return if number == 0.0 { "no" } else { "yes" }.to_owned();
        }
        match self.unit {
            Unit::Plain => grouped(number, 1),
            Unit::Money if number < 0.0 => format!("-€{}", grouped(-number, 0)),
            Unit::Money => format!("€{}", grouped(number, 0)),
            Unit::Share => format!("{} %", grouped(number * 100.0, 0)),
            Unit::Months => counted(number, "month"),
            Unit::Days => counted(number, "day"),
            Unit::Minutes => counted(number, "minute"),
            Unit::Years => counted(number, "year"),
            Unit::PerHour => format!("{} an hour", grouped(number, 0)),
        }
    }

    /// Two numbers as people write a range: `8 to 221 months`.
    pub fn range_in_words(&self, low: f64, high: f64) -> String {
        let (from, to) = (self.number_in_words(low), self.number_in_words(high));
        match self.unit {
            _ if from == to => to,
            _ if self.kind == Kind::Flag => format!("{from} or {to}"),
            Unit::Plain | Unit::Money => format!("{from} to {to}"),
            // The unit is said once, after the second number.
            _ => format!("{} to {to}", from.split(' ').next().unwrap_or(&from)),
        }
    }

    /// A category as people say it.
    pub fn category_in_words(&self, category: &str) -> String {
        self.categories.get(category).cloned().unwrap_or_else(|| category.replace('_', " "))
    }
}

/// `1 month`, `2 months`, `0.5 months`.
fn counted(number: f64, unit: &str) -> String {
    let text = grouped(number, 1);
    if text == "1" { format!("{text} {unit}") } else { format!("{text} {unit}s") }
}

/// A number with commas between thousands and at most `decimals` decimals, none where they are zero.
fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::from(if whole == "0" && fraction.is_none() { "" } else { sign });
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// The factors that Candor knows by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "factor")]
    factors: Vec<Factor>,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// What is wrong and where, in TOML's words.
    pub fn parse(text: &str) -> Result<Catalogue, toml::de::Error> {
        toml::from_str(text)
    }

    /// The catalogue compiled into the program.
    pub fn shipped() -> &'static Catalogue {
        static SHIPPED: OnceLock<Catalogue> = OnceLock::new();
        // The text is part of the program and a test reads it: an unreadable one never ships.
        SHIPPED
            .get_or_init(|| Catalogue::parse(include_str!("factors.toml")).unwrap_or(Catalogue { factors: Vec::new() }))
    }

    /// Every factor, in the order that forms and tables use.
    pub fn factors(&self) -> &[Factor] {
        &self.factors
    }

    /// The factor of that name.
    pub fn get(&self, name: &str) -> Option<&Factor> {
        self.factors.iter().find(|factor| factor.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_reads_and_is_complete() {
        let catalogue = Catalogue::parse(include_str!("factors.toml")).unwrap();
        let mut codes: Vec<&str> = catalogue.factors().iter().map(|factor| factor.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), catalogue.factors().len(), "codes are unique");
        assert_eq!(catalogue.get("customer_age").unwrap().role, Role::Protected);
        assert_eq!(catalogue.get("month").unwrap().role, Role::Time);
        for factor in catalogue.factors() {
            assert!(factor.reason.ends_with('.'), "{}", factor.name);
            assert_eq!(factor.kind == Kind::Category, !factor.categories.is_empty(), "{}", factor.name);
        }
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let catalogue = Catalogue::shipped();
        let written = |name: &str, number: f64| catalogue.get(name).unwrap().number_in_words(number);
        assert_eq!(written("income", 1_234_567.2), "€1,234,567");
        assert_eq!(written("intended_balcon_amount", -12.0), "-€12");
        assert_eq!(written("name_email_similarity", 0.834), "83 %");
        assert_eq!(written("current_address_months_count", 1.0), "1 month");
        assert_eq!(written("session_length_in_minutes", 4.25), "4.2 minutes");
        assert_eq!(written("email_is_free", 1.0), "yes");
        assert_eq!(written("credit_risk_score", -0.01), "0");
        let range = |name: &str, low: f64, high: f64| catalogue.get(name).unwrap().range_in_words(low, high);
        assert_eq!(range("current_address_months_count", 1.0, 221.0), "1 to 221 months");
        assert_eq!(range("income", 10_000.0, 68_500.0), "€10,000 to €68,500");
        assert_eq!(range("email_is_free", 0.0, 1.0), "no or yes");
        assert_eq!(range("velocity_6h", 3.0, 3.0), "3 an hour");
    }

    #[test]
    fn a_reason_is_only_said_of_values_that_it_is_true_of() {
        let catalogue = Catalogue::shipped();
        let abroad = catalogue.factors().iter().find(|factor| factor.name == "foreign_request").unwrap();
        assert_eq!(abroad.reason_for(Some(&Value::Number(1.0)), "yes"), ("SES-2".into(), abroad.reason.clone()));
        let (code, text) = abroad.reason_for(None, "not given");
        assert_eq!(code, "SES-2-U");
        assert!(text.contains("without knowing this: Request from abroad"), "{text}");
        let (code, text) = abroad.reason_for(Some(&Value::Number(0.0)), "no");
        assert_eq!(code, "SES-2-O");
        assert!(text.starts_with("Request from abroad: no."), "{text}");
        let others = abroad.other_reasons();
        assert_eq!(others[0], abroad.reason_for(None, "not given"));
        assert_eq!((others[1].0.as_str(), others[1].1.replace("{value}", "no")), ("SES-2-O", text));
        // "Or we could not confirm it" holds of what is not known.
        let address = catalogue.factors().iter().find(|factor| factor.name == "prev_address_months_count").unwrap();
        assert_eq!(address.reason_for(None, "not given").0, "ADR-1");
    }
}
