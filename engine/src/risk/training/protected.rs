//! Which columns must not be inputs, judged by their names.

/// Words that name a protected ground (12 CFR 1002.2(z), 1002.6(b)), as parts of a column's name.
const WORDS: [&str; 16] = [
    "sex",
    "gender",
    "marital",
    "marriage",
    "married",
    "nationality",
    "citizenship",
    "race",
    "ethnicity",
    "ethnic",
    "religion",
    "dob",
    "birthdate",
    "birthday",
    "pregnant",
    "disability",
];

/// Things that have an age without being a person.
const THINGS: [&str; 9] = ["vehicle", "car", "account", "file", "credit", "loan", "property", "device", "line"];

/// Whole names that say it in several words.
const NAMES: [&str; 4] = ["foreign_worker", "date_of_birth", "birth_date", "native_country"];

/// Whether a column's name says that it holds a person's age, sex, marital status, nationality or another protected
/// ground. `Age`, `customer_age`, `personal_status_sex` and `MaritalStatus` do, `AgeOfVehicle` does not.
pub fn is_protected(name: &str) -> bool {
    let words = words(name);
    let joined = words.join("_");
    if NAMES.contains(&joined.as_str()) {
        return true;
    }
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    has(&WORDS) || (has(&["age"]) && !has(&THINGS))
}

/// A name's words in small letters: `AgeOfVehicle`, `age-of-vehicle` and `AGE_OF_VEHICLE` are the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_was_small = false;
    for sign in name.chars() {
        let new = !sign.is_alphanumeric() || (sign.is_uppercase() && before_was_small);
        if new {
            words.push(String::new());
        }
        if sign.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(sign.to_lowercase());
        }
        before_was_small = sign.is_lowercase() || sign.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_grounds_are_recognised_by_name() {
        for name in [
            "age",
            "Age",
            "AGE",
            "customer_age",
            "person_age",
            "SEX",
            "personal_status_sex",
            "MARRIAGE",
            "MaritalStatus",
            "foreign_worker",
            "AgeOfPolicyHolder",
            "date_of_birth",
            "race",
        ] {
            assert!(is_protected(name), "{name}");
        }
        for name in [
            "AgeOfVehicle",
            "date_of_birth_distinct_emails_4w",
            "percentage",
            "foreign_request",
            "CLAGE",
            "mortgage",
            "session_length_in_minutes",
            "marketing",
        ] {
            assert!(!is_protected(name), "{name}");
        }
    }
}
