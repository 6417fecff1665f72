//! Bands, window of reference and steps of time, as typed.

use candor_engine::risk::figures::StabilityBands;
use chrono::{Datelike, Days, NaiveDate};
use serde::Deserialize;

use crate::error::FieldError;

use super::settings::Settings;

/// The steps of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Week,
    Month,
}

impl Step {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first day of the step that holds a day: Monday, or the first of the month.
    pub(super) fn begin(self, day: NaiveDate) -> NaiveDate {
        let back = match self {
            Self::Week => day.weekday().num_days_from_monday(),
            Self::Month => day.day0(),
        };
        day.checked_sub_days(Days::new(u64::from(back))).unwrap_or(day)
    }
}

/// What was typed; a field that is not there keeps the bank's own value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    pub(super) days: Option<i32>,
    by: Option<String>,
    pub(super) factor: Option<String>,
    watch: Option<String>,
    act: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The form as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) watch: String,
    pub(super) act: String,
    /// First day of the reference; empty for the first third of the period.
    pub(super) from: String,
    /// Last day of the reference.
    pub(super) to: String,
}

/// What the figures are made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Basis {
    pub(super) bands: StabilityBands,
    pub(super) reference: Option<(NaiveDate, NaiveDate)>,
}

impl Basis {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { bands: settings.stability, reference: settings.reference }
    }
}

impl Typed {
    pub(super) fn step(&self) -> Step {
        if self.by.as_deref() == Some("month") { Step::Month } else { Step::Week }
    }

    pub(super) fn form(&self, settings: &Settings) -> Form {
        let day = |pick: fn(&(NaiveDate, NaiveDate)) -> NaiveDate| {
            settings.reference.as_ref().map_or_else(String::new, |days| pick(days).to_string())
        };
        let or = |typed: &Option<String>, own: String| typed.clone().unwrap_or(own);
        Form {
            watch: or(&self.watch, settings.stability.watch.to_string()),
            act: or(&self.act, settings.stability.act.to_string()),
            from: or(&self.from, day(|days| days.0)),
            to: or(&self.to, day(|days| days.1)),
        }
    }
}

impl Form {
    /// What the form says.
    ///
    /// # Errors
    /// Every field that needs another look.
    pub(super) fn read(&self) -> Result<Basis, Vec<FieldError>> {
        let mut faults = Vec::new();
        let index = |text: &str| {
            text.trim().replace(',', ".").parse::<f64>().ok().filter(|index| *index > 0.0 && *index <= 10.0)
        };
        let (watch, act) = (index(&self.watch), index(&self.act));
        if watch.is_none() {
            faults.push(FieldError::new("watch", "Write a number above 0 such as 0.1."));
        }
        match (watch, act) {
            (_, None) => faults.push(FieldError::new("act", "Write a number above 0 such as 0.25.")),
            (Some(watch), Some(act)) if act <= watch => {
                faults.push(FieldError::new("act", "Write a number above the one from which to watch."));
            }
            _ => {}
        }
        let mut day = |field: &str, text: &str| {
            let text = text.trim();
            let found = text.parse::<NaiveDate>().ok();
            if found.is_none() && !text.is_empty() {
                faults.push(FieldError::new(field, "Choose a day."));
            }
            found
        };
        let (from, to) = (day("from", &self.from), day("to", &self.to));
        let reference = match (from, to) {
            (Some(from), Some(to)) if from <= to => Some((from, to)),
            (Some(_), Some(_)) => {
                faults.push(FieldError::new("to", "Choose a day that is not before the first one."));
                None
            }
            (Some(_), None) if self.to.trim().is_empty() => {
                faults.push(FieldError::new("to", "Choose the last day too, or leave both empty."));
                None
            }
            (None, Some(_)) if self.from.trim().is_empty() => {
                faults.push(FieldError::new("from", "Choose the first day too, or leave both empty."));
                None
            }
            _ => None,
        };
        match (watch, act) {
            (Some(watch), Some(act)) if faults.is_empty() => {
                Ok(Basis { bands: StabilityBands { watch, act }, reference })
            }
            _ => Err(faults),
        }
    }

    /// The part of an address that repeats what was read.
    pub(super) fn rest(&self) -> String {
        match self.read() {
            Ok(Basis { bands, reference }) => {
                let days =
                    reference.map_or_else(|| "&from=&to=".to_owned(), |(from, to)| format!("&from={from}&to={to}"));
                format!("&watch={}&act={}{days}", bands.watch, bands.act)
            }
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_and_days_are_checked_by_their_fields() {
        let form = |watch: &str, act: &str, from: &str, to: &str| Form {
            watch: watch.to_owned(),
            act: act.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let fields =
            |form: Form| -> Vec<String> { form.read().unwrap_err().into_iter().map(|fault| fault.field).collect() };
        assert_eq!(fields(form("0", "x", "soon", "")), ["watch", "act", "from"]);
        assert_eq!(fields(form("0.3", "0.2", "2026-05-01", "2026-04-01")), ["act", "to"]);
        assert_eq!(fields(form("0.1", "0.2", "", "2026-04-01")), ["from"]);
        let read = form("0,1", "0.2", "2026-04-01", "2026-04-30").read().unwrap();
        assert_eq!((read.bands.watch, read.reference.unwrap().0.to_string().as_str()), (0.1, "2026-04-01"));
        assert_eq!(form("0.1", "0.2", "", "").rest(), "&watch=0.1&act=0.2&from=&to=");
    }

    #[test]
    fn steps_begin_on_mondays_and_on_the_first() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        assert_eq!(Step::Week.begin(day).to_string(), "2026-11-23");
        assert_eq!(Step::Month.begin(day).to_string(), "2026-11-01");
    }
}
