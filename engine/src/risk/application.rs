//! What is known of a loan application when it is scored.

use serde::{Deserialize, Serialize};

use super::factors::{Catalogue, Kind};

/// One factor's value as it was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A measured quantity, in the unit that the catalogue of factors names.
    Number(f64),
    /// One of a closed list of words.
    Text(String),
}

/// Why an application cannot be scored. The message names the field and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expected}")]
pub struct Invalid {
    /// The field at fault.
    pub field: String,
    /// What would be right, as the end of a sentence that starts with the field.
    pub expected: String,
}

macro_rules! application {
    (numbers { $($(#[$number_doc:meta])* $number:ident,)* } texts { $($(#[$text_doc:meta])* $text:ident,)* }) => {
        /// The factors of one application.
        ///
        /// Names and meaning follow the Bank Account Fraud benchmark (Jesus et al., NeurIPS 2022), so
        /// that a bank can run that benchmark with the same program; the words are adapted to loans.
        /// What is not known is left out: the model was trained to live with missing values.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Application {
            $($(#[$number_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $number: Option<f64>,)*
            $($(#[$text_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $text: Option<String>,)*
        }

        impl Application {
            /// Every field's name, numbers first.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($number),)* $(stringify!($text),)*];

            /// The number in a field; `None` when it is missing or is no number field.
            pub fn number(&self, field: &str) -> Option<f64> {
                match field {
                    $(stringify!($number) => self.$number,)*
                    _ => None,
                }
            }

            /// The word in a field; `None` when it is missing or is no word field.
            pub fn text(&self, field: &str) -> Option<&str> {
                match field {
                    $(stringify!($text) => self.$text.as_deref(),)*
                    _ => None,
                }
            }

            /// Sets one field by name.
            ///
            /// # Errors
            /// When there is no such field or it holds the other kind of value.
            pub fn set(&mut self, field: &str, value: Option<Value>) -> Result<(), Invalid> {
                let refuse = |expected: &str| Err(Invalid { field: field.to_owned(), expected: expected.to_owned() });
                match (field, value) {
                    $((stringify!($number), None) => self.$number = None,
                      (stringify!($number), Some(Value::Number(number))) => self.$number = Some(number),
                      (stringify!($number), Some(Value::Text(_))) => return refuse("must be a number"),)*
                    $((stringify!($text), None) => self.$text = None,
                      (stringify!($text), Some(Value::Text(text))) => self.$text = Some(text),
                      (stringify!($text), Some(Value::Number(_))) => return refuse("must be a word"),)*
                    _ => return refuse("is not a field of an application"),
                }
                Ok(())
            }
        }
    };
}

application! {
    numbers {
        /// Yearly income before tax, in the account's currency.
        income,
        /// How far the e-mail address resembles the applicant's name, 0 to 1.
        name_email_similarity,
        /// Months at the address before the present one.
        prev_address_months_count,
        /// Months at the present address.
        current_address_months_count,
        /// Age in years. Protected: never a model input, kept only to measure fairness.
        customer_age,
        /// Days between the request and this application (an application that was started and left).
        days_since_request,
        /// Money to be moved in with the first payment, in the account's currency.
        intended_balcon_amount,
        /// Applications from the same postcode area in the last four weeks.
        zip_count_4w,
        /// Applications received in the last 6 hours, per hour.
        velocity_6h,
        /// Applications received in the last 24 hours, per hour.
        velocity_24h,
        /// Applications received in the last 4 weeks, per hour.
        velocity_4w,
        /// Applications at the same branch in the last 8 weeks.
        bank_branch_count_8w,
        /// Different e-mail addresses that applied with the same date of birth in the last 4 weeks.
        date_of_birth_distinct_emails_4w,
        /// The bank's own credit score; higher is safer.
        credit_risk_score,
        /// 1 when the e-mail address is with a free provider, else 0.
        email_is_free,
        /// 1 when the landline number is valid, else 0.
        phone_home_valid,
        /// 1 when the mobile number is valid, else 0.
        phone_mobile_valid,
        /// Months since the applicant's account with the bank was opened.
        bank_months_count,
        /// 1 when the applicant holds other cards of the bank, else 0.
        has_other_cards,
        /// The amount applied for, in the account's currency.
        proposed_credit_limit,
        /// 1 when the request comes from another country than the bank's, else 0.
        foreign_request,
        /// Minutes spent on the application's pages.
        session_length_in_minutes,
        /// 1 when the applicant asked to stay signed in, else 0.
        keep_alive_session,
        /// Different e-mail addresses that used the same device in the last 8 weeks.
        device_distinct_emails_8w,
        /// Confirmed frauds from the same device.
        device_fraud_count,
        /// Applications in the ring of shared devices, addresses, telephones, accounts and employers, this one included.
        ring_size,
        /// Confirmed frauds in that ring.
        ring_fraud_count,
        /// Month of the application, counted from the start of the data. Time, never a model input.
        month,
    }
    texts {
        /// How the loan is to be paid back.
        payment_type,
        /// Work.
        employment_status,
        /// Home.
        housing_status,
        /// Where the application came from.
        source,
        /// The device's operating system.
        device_os,
    }
}

impl Application {
    /// A field's value, `None` when it is missing.
    pub fn value(&self, field: &str) -> Option<Value> {
        self.number(field).map(Value::Number).or_else(|| self.text(field).map(|text| Value::Text(text.to_owned())))
    }

    /// Checks every given value against the catalogue's limits.
    ///
    /// # Errors
    /// The first field whose value cannot be right.
    pub fn validate(&self) -> Result<(), Invalid> {
        for factor in Catalogue::shipped().factors() {
            let refuse = |expected: String| Err(Invalid { field: factor.name.clone(), expected });
            match factor.kind {
                Kind::Number | Kind::Flag => {
                    let Some(number) = self.number(&factor.name) else { continue };
                    if !factor.holds(number) {
                        return refuse(format!(
                            "must be {}; leave it out when it is not known",
                            factor.limits_in_words()
                        ));
                    }
                }
                Kind::Category => {
                    let Some(text) = self.text(&factor.name) else { continue };
                    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
                        return refuse(
                            "must be a word of 1 to 64 characters; leave it out when it is not known".to_owned(),
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let error = serde_json::from_str::<Application>(r#"{"incom": 3}"#).unwrap_err();
        assert!(error.to_string().contains("incom"), "{error}");
    }

    #[test]
    fn impossible_values_name_the_field_and_what_would_be_right() {
        let broken = Application { name_email_similarity: Some(1.5), ..Application::default() };
        let error = broken.validate().unwrap_err();
        assert_eq!(error.field, "name_email_similarity");
        assert_eq!(error.expected, "must be a number from 0 to 1; leave it out when it is not known");
        let broken = Application { foreign_request: Some(0.5), ..Application::default() };
        assert_eq!(broken.validate().unwrap_err().expected, "must be 0 or 1; leave it out when it is not known");
        let broken = Application { income: Some(f64::NAN), ..Application::default() };
        assert_eq!(broken.validate().unwrap_err().field, "income");
        assert_eq!(Application::default().validate(), Ok(()));
    }

    #[test]
    fn fields_can_be_set_and_read_by_name() {
        let mut application = Application::default();
        for &field in Application::FIELDS {
            let number = application.set(field, Some(Value::Number(1.0)));
            if number.is_err() {
                application.set(field, Some(Value::Text("web".to_owned()))).unwrap();
            }
            assert!(application.value(field).is_some(), "{field}");
        }
        assert!(application.set("shoe_size", None).is_err());
    }

    #[test]
    fn every_field_is_in_the_catalogue_and_the_other_way_round() {
        let names: Vec<&str> = Catalogue::shipped().factors().iter().map(|factor| factor.name.as_str()).collect();
        for field in Application::FIELDS {
            assert!(names.contains(field), "{field} is not in factors.toml");
        }
        assert_eq!(names.len(), Application::FIELDS.len());
    }
}
