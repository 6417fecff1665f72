//! What was typed, what it means, and what about it needs another look.

use std::collections::BTreeMap;

use candor_engine::dialogue::Money;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::error::FieldError;

use super::super::reasons::Language;
use super::super::{Applicant, purpose_in_words};
use super::steps::{Kind, Question, STEPS, Step};

/// Smallest and largest loan, in cents, and fewest and most months: the product of the form and of the assistant.
const AMOUNT_MINOR: std::ops::RangeInclusive<i64> = 50_000..=5_000_000;
/// See [`AMOUNT_MINOR`].
const TERM_MONTHS: std::ops::RangeInclusive<u32> = 6..=84;
/// Letters kept of one answer.
const MOST_LETTERS: usize = 200;
/// The part of the names of a question with several inputs.
const PARTS: [&str; 5] = ["day", "month", "year", "years", "months"];

/// Answers as typed, by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Answers(BTreeMap<String, String>);

/// One line of the check page.
pub(super) struct Said {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) answer: String,
}

impl Answers {
    /// What was typed into a field, or nothing.
    pub(super) fn of(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What was typed into one input of a field with several.
    pub(super) fn part(&self, name: &str, part: &str) -> &str {
        self.of(&format!("{name}-{part}"))
    }

    /// Takes the fields of a step from a sent form; others are ignored.
    pub(super) fn take(&mut self, step: &Step, fields: &[(String, String)]) {
        for (name, value) in fields {
            let known = step.questions.iter().any(|question| {
                question.name == name
                    || name
                        .strip_prefix(question.name)
                        .and_then(|rest| rest.strip_prefix('-'))
                        .is_some_and(|part| PARTS.contains(&part))
            });
            if known {
                self.0.insert(name.clone(), value.trim().chars().take(MOST_LETTERS).collect());
            }
        }
    }

    /// The amount in cents, when it can be read.
    pub(super) fn amount_minor(&self) -> Option<i64> {
        cents(self.of("amount"))
    }

    /// The term in months, when it can be read.
    pub(super) fn term_months(&self) -> Option<u32> {
        self.of("term_months").parse().ok()
    }

    /// The applicant's particulars as far as they can be read.
    pub(super) fn applicant(&self) -> Applicant {
        let given = |name: &str| Some(self.of(name).to_owned()).filter(|text| !text.is_empty());
        Applicant {
            name: self.of("name").to_owned(),
            email: self.of("email").to_owned(),
            phone: self.of("phone").to_owned(),
            landline: given("landline"),
            date_of_birth: self.day("date_of_birth"),
            street: self.of("street").to_owned(),
            city: self.of("city").to_owned(),
            postcode: self.of("postcode").to_owned(),
            months_at_address: self.span("months_at_address"),
            months_at_previous_address: self.span("months_at_previous_address"),
            employment: given("employment"),
            housing: given("housing"),
            yearly_income_minor: cents(self.of("yearly_income")),
            employer: given("employer"),
            account: given("account"),
            language: given("language").map(|code| if code == "zh" { Language::Zh } else { Language::En }),
            repayment: given("repayment"),
        }
    }

    fn day(&self, name: &str) -> Option<NaiveDate> {
        let number = |part| self.part(name, part).parse::<u32>().ok();
        let year = self.part(name, "year").parse::<i32>().ok().filter(|year| *year > 1800)?;
        NaiveDate::from_ymd_opt(year, number("month")?, number("day")?)
    }

    /// Years and months as months; an empty part counts as none when the other is given.
    fn span(&self, name: &str) -> Option<u32> {
        let (years, months) = (self.part(name, "years"), self.part(name, "months"));
        if years.is_empty() && months.is_empty() {
            return None;
        }
        let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u32>().ok() };
        number(years)?.checked_mul(12)?.checked_add(number(months)?)
    }

    fn is_empty(&self, question: &Question) -> bool {
        match question.kind {
            Kind::Day | Kind::Span => PARTS.iter().all(|part| self.part(question.name, part).is_empty()),
            _ => self.of(question.name).is_empty(),
        }
    }

    /// What needs another look in one step.
    pub(super) fn faults(&self, step: &Step) -> Vec<FieldError> {
        let particulars = self.applicant().faults(Utc::now().date_naive());
        let mut faults = Vec::new();
        for question in step.questions {
            if self.is_empty(question) {
                if !question.optional {
                    faults.push(FieldError::new(question.name, missing(question)));
                }
            } else if let Some(unreadable) = self.unreadable(question) {
                faults.push(FieldError::new(question.name, unreadable));
            } else if let Some(fault) = particulars.iter().find(|fault| fault.field == question.name) {
                faults.push(fault.clone());
            }
        }
        faults
    }

    /// The first step that needs another look, if there is one.
    pub(super) fn first_open(&self) -> Option<&'static Step> {
        STEPS.iter().find(|step| !self.faults(step).is_empty())
    }

    fn unreadable(&self, question: &Question) -> Option<&'static str> {
        let wrong = match question.name {
            "amount" => !self.amount_minor().is_some_and(|minor| AMOUNT_MINOR.contains(&minor)),
            "term_months" => !self.term_months().is_some_and(|months| TERM_MONTHS.contains(&months)),
            name => match question.kind {
                Kind::Money => cents(self.of(name)).is_none(),
                Kind::Day => self.day(name).is_none(),
                Kind::Span => self.span(name).is_none(),
                Kind::Category(_) | Kind::Purpose | Kind::Language => {
                    !question.kind.choices().iter().any(|(code, _)| *code == self.of(name))
                }
                Kind::Text(..) | Kind::Whole(_) => false,
            },
        };
        wrong.then_some(match question.name {
            "amount" => "Write an amount between €500 and €50,000, for example 8000.",
            "term_months" => "Write a number of months between 6 and 84, for example 36.",
            _ => match question.kind {
                Kind::Money => "Write an amount, for example 32000.",
                Kind::Day => "Write a day that exists, for example 27 3 1985.",
                Kind::Span => "Write whole years and months, for example 3 and 6.",
                _ => "Choose one of the answers.",
            },
        })
    }

    /// The answers of a step as people read them.
    pub(super) fn said(&self, step: &Step) -> Vec<Said> {
        step.questions
            .iter()
            .map(|question| Said { name: question.name, label: question.label, answer: self.in_words(question) })
            .collect()
    }

    fn in_words(&self, question: &Question) -> String {
        let typed = self.of(question.name);
        if self.is_empty(question) {
            return "not given".to_owned();
        }
        match question.kind {
            Kind::Text(..) => typed.to_owned(),
            Kind::Money => cents(typed).map_or_else(|| typed.to_owned(), |minor| Money::new(minor, "EUR").to_string()),
            Kind::Whole(unit) => format!("{typed} {unit}"),
            Kind::Day => self.day(question.name).map(|day| day.format("%-d %B %Y").to_string()).unwrap_or_default(),
            Kind::Span => self.span(question.name).map(span_in_words).unwrap_or_default(),
            Kind::Purpose => purpose_in_words(typed).to_owned(),
            Kind::Category(_) | Kind::Language => {
                let choices = question.kind.choices();
                let words = choices.iter().find(|(code, _)| *code == typed).map_or(typed, |(_, words)| words);
                capital(words)
            }
        }
    }
}

fn missing(question: &Question) -> String {
    match question.kind {
        Kind::Category(_) | Kind::Purpose | Kind::Language => "Choose one of the answers.".to_owned(),
        Kind::Day => "Write your date of birth, for example 27 3 1985.".to_owned(),
        Kind::Span => "Write how long, in years and months. Write 0 months if you just moved in.".to_owned(),
        Kind::Money => "Write an amount.".to_owned(),
        Kind::Whole(unit) => format!("Write a number of {unit}."),
        Kind::Text(..) => format!("Write your {}.", question.label.to_lowercase()),
    }
}

fn span_in_words(months: u32) -> String {
    let unit = |count: u32, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    match (months / 12, months % 12) {
        (0, months) => unit(months, "month"),
        (years, 0) => unit(years, "year"),
        (years, months) => format!("{} and {}", unit(years, "year"), unit(months, "month")),
    }
}

/// The first letter in upper case.
pub(super) fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An amount as people write it, in cents: `8000`, `8,000`, `8.000,50`, `€ 8 000`. A single mark with three digits behind
/// it parts thousands; with one or two digits behind it, it parts cents.
fn cents(text: &str) -> Option<i64> {
    let text: String = text.chars().filter(|sign| !sign.is_whitespace() && *sign != '€').collect();
    let marks = text.chars().filter(|sign| ".,".contains(*sign)).count();
    let (whole, fraction) = match text.rsplit_once(['.', ',']) {
        Some((whole, fraction)) if fraction.len() < 3 => (whole, fraction),
        Some((_, fraction)) if fraction.len() > 3 => return None,
        _ => (text.as_str(), ""),
    };
    // Where both marks are used, the last one parts the cents; thousands come in threes.
    let mut groups = whole.split(['.', ',']);
    let first = groups.next()?;
    if marks > 0 && (first.is_empty() || groups.any(|group| group.len() != 3)) {
        return None;
    }
    let digits: String = whole.chars().filter(|sign| !".,".contains(*sign)).collect();
    if digits.is_empty()
        || digits.len() > 12
        || !digits.chars().chain(fraction.chars()).all(|sign| sign.is_ascii_digit())
    {
        return None;
    }
    let fraction: i64 = match fraction.len() {
        0 => 0,
        1 => fraction.parse::<i64>().ok()? * 10,
        _ => fraction.parse().ok()?,
    };
    digits.parse::<i64>().ok()?.checked_mul(100)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::super::steps::step;
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, minor) in [
            ("8000", Some(800_000)),
            ("8,000", Some(800_000)),
            ("€ 8.000,50", Some(800_050)),
            ("8 000.5", Some(800_050)),
            ("12,50", Some(1_250)),
            ("1.234.567", Some(123_456_700)),
            ("8,00,0", None),
            ("eight", None),
            ("-5", None),
            ("", None),
            (",5", None),
        ] {
            assert_eq!(cents(text), minor, "{text}");
        }
    }

    fn answered(pairs: &[(&str, &str)]) -> Answers {
        Answers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_step_names_what_is_missing_and_what_can_not_be() {
        let loan = step(1).unwrap();
        let faults = answered(&[("amount", "80"), ("purpose", "yacht")]).faults(loan);
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["amount", "term_months", "purpose"]);
        let right = answered(&[("amount", "8,000"), ("term_months", "36"), ("purpose", "car")]);
        assert_eq!(right.faults(loan), []);
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused_and_a_span_adds_up() {
        let you = step(2).unwrap();
        let typed = [
            ("name", "Ada Byron"),
            ("date_of_birth-day", "31"),
            ("date_of_birth-month", "2"),
            ("date_of_birth-year", "1985"),
        ];
        assert_eq!(answered(&typed).faults(you).len(), 1);
        let span = answered(&[("months_at_address-years", "3"), ("months_at_address-months", "")]);
        assert_eq!(span.applicant().months_at_address, Some(36));
        assert_eq!(span_in_words(43), "3 years and 7 months");
    }

    #[test]
    fn only_the_fields_of_the_step_are_taken() {
        let mut answers = Answers::default();
        let sent = [("amount", " 900 "), ("name", "x"), ("amount-hack", "1")];
        let sent: Vec<(String, String)> =
            sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        answers.take(step(1).unwrap(), &sent);
        assert_eq!(answers, answered(&[("amount", "900")]));
    }
}
