//! Who applies and what they say of themselves, checked at the door.

use candor_engine::risk::Catalogue;
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::error::FieldError;

use super::reasons::Language;

/// Fewest years of age at which somebody may conclude a contract.
const ADULT_YEARS: i32 = 18;
/// No months of living anywhere are more.
const MOST_MONTHS: u32 = 1200;
/// No yearly income is more, in cents.
const MOST_INCOME_MINOR: i64 = 100_000_000_000;

/// The applicant's particulars as given. Codes of work, home and repayment are the ones of the catalogue of factors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Applicant {
    /// Full name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// Mobile number.
    pub phone: String,
    /// Landline number; `None` when it was not asked for or not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landline: Option<String>,
    /// Date of birth. Used to tell people apart and to check legal capacity, never to score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_of_birth: Option<NaiveDate>,
    /// Street and house number.
    pub street: String,
    /// Town.
    pub city: String,
    /// Postcode.
    pub postcode: String,
    /// Months at the present address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub months_at_address: Option<u32>,
    /// Months at the address before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub months_at_previous_address: Option<u32>,
    /// Work, such as `employed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub employment: Option<String>,
    /// Home, such as `tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub housing: Option<String>,
    /// Yearly income in cents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly_income_minor: Option<i64>,
    /// Who the applicant works for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub employer: Option<String>,
    /// The account to which the loan is paid: an IBAN or another account number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The language in which letters are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// How the loan is to be paid back, such as `direct_debit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repayment: Option<String>,
}

impl Applicant {
    /// What can not be right, field by field, with the day on which the application is made.
    #[must_use]
    pub fn faults(&self, today: NaiveDate) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut refuse = |wrong: bool, field: &str, message: &str| {
            if wrong {
                faults.push(FieldError::new(field, message));
            }
        };
        refuse(!(2..=120).contains(&self.name.trim().chars().count()), "name", "Write your full name.");
        refuse(!is_email(&self.email), "email", "Write a mail address such as ada@example.org.");
        refuse(
            !is_phone(&self.phone),
            "phone",
            "Write a telephone number with 6 to 15 digits, such as +49 151 23456789.",
        );
        refuse(
            self.landline.as_deref().is_some_and(|phone| !is_phone(phone)),
            "landline",
            "Write a telephone number with 6 to 15 digits, or leave it empty.",
        );
        for (field, value, most) in
            [("street", &self.street, 120), ("city", &self.city, 80), ("postcode", &self.postcode, 12)]
        {
            let length = value.trim().chars().count();
            refuse(
                length == 0,
                field,
                &format!("Write your {}.", if field == "street" { "street and house number" } else { field }),
            );
            refuse(length > most, field, &format!("Write at most {most} characters."));
        }
        match self.date_of_birth {
            None => refuse(true, "date_of_birth", "Write your date of birth, such as 27 3 1985."),
            Some(birth) => {
                let age = years_between(birth, today);
                refuse(age > 120 || birth >= today, "date_of_birth", "Check the year of your date of birth.");
                refuse(
                    birth < today && age < ADULT_YEARS,
                    "date_of_birth",
                    "You must be at least 18 years old to take out a loan.",
                );
            }
        }
        for (field, months) in [
            ("months_at_address", self.months_at_address),
            ("months_at_previous_address", self.months_at_previous_address),
        ] {
            refuse(months.is_some_and(|months| months > MOST_MONTHS), field, "Write at most 100 years.");
        }
        refuse(
            self.yearly_income_minor.is_some_and(|income| !(0..=MOST_INCOME_MINOR).contains(&income)),
            "yearly_income",
            "Write an amount of 0 or more.",
        );
        refuse(
            self.employer.as_deref().is_some_and(|name| !(2..=120).contains(&name.trim().chars().count())),
            "employer",
            "Write 2 to 120 characters, or leave it empty.",
        );
        refuse(
            self.account.as_deref().is_some_and(|account| !is_account(account)),
            "account",
            "Write an account number with 6 to 34 letters and digits, such as DE02 1203 0000 0000 2020 51.",
        );
        for (field, factor, code) in [
            ("employment", "employment_status", &self.employment),
            ("housing", "housing_status", &self.housing),
            ("repayment", "payment_type", &self.repayment),
        ] {
            let known: Vec<&str> = choices(factor).map(|(code, _)| code).collect();
            refuse(
                code.as_deref().is_some_and(|code| !known.contains(&code)),
                field,
                &format!("Choose one of {}.", known.join(", ")),
            );
        }
        faults
    }
}

/// The codes and words of a factor that takes one of a list.
pub fn choices(factor: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    Catalogue::shipped()
        .get(factor)
        .into_iter()
        .flat_map(|factor| factor.categories.iter().map(|(code, words)| (code.as_str(), words.as_str())))
}

/// Whole years from `birth` to `today`.
#[must_use]
pub(super) fn years_between(birth: NaiveDate, today: NaiveDate) -> i32 {
    let had_birthday = (today.month(), today.day()) >= (birth.month(), birth.day());
    today.year() - birth.year() - i32::from(!had_birthday)
}

fn is_account(text: &str) -> bool {
    let signs = text.chars().filter(|sign| !sign.is_whitespace());
    signs.clone().all(|sign| sign.is_ascii_alphanumeric()) && (6..=34).contains(&signs.count())
}

fn is_email(email: &str) -> bool {
    let email = email.trim();
    let Some((name, domain)) = email.split_once('@') else { return false };
    email.len() <= 254
        && !name.is_empty()
        && !domain.contains('@')
        && !email.chars().any(|sign| sign.is_whitespace() || sign.is_control())
        && domain.contains('.')
        && domain.split('.').all(|part| !part.is_empty())
}

fn is_phone(phone: &str) -> bool {
    let digits = phone.chars().filter(char::is_ascii_digit).count();
    (6..=15).contains(&digits) && phone.trim().chars().all(|sign| sign.is_ascii_digit() || "+ -/().".contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Applicant {
        Applicant {
            name: "Ada Byron".to_owned(),
            email: "ada@post.example".to_owned(),
            phone: "+49 151 2345678".to_owned(),
            date_of_birth: NaiveDate::from_ymd_opt(1985, 3, 27),
            street: "Kai 3".to_owned(),
            city: "Hamburg".to_owned(),
            postcode: "20457".to_owned(),
            ..Applicant::default()
        }
    }

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
    }

    #[test]
    fn what_is_not_known_may_be_left_out_and_what_is_wrong_is_named() {
        assert_eq!(ada().faults(today()), []);
        let wrong = Applicant {
            email: "ada".to_owned(),
            date_of_birth: NaiveDate::from_ymd_opt(2008, 11, 24),
            employment: Some("astronaut".to_owned()),
            postcode: String::new(),
            ..ada()
        };
        let fields: Vec<String> = wrong.faults(today()).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["email", "postcode", "date_of_birth", "employment"]);
    }

    #[test]
    fn somebody_is_of_age_on_the_birthday() {
        let born = |day| NaiveDate::from_ymd_opt(2008, 11, day).unwrap();
        assert_eq!(years_between(born(23), today()), 18);
        assert_eq!(years_between(born(24), today()), 17);
    }
}
