//! Days, as the bank promises them.

use chrono::{Datelike, Days, Local, NaiveDate, Weekday};

/// Today where the bank is: the machine's time zone.
#[must_use]
pub fn today() -> NaiveDate {
    Local::now().date_naive()
}

/// The day that lies so many working days (Monday to Friday) after `day`.
#[must_use]
pub fn working_days_after(day: NaiveDate, working_days: u32) -> NaiveDate {
    let mut day = day;
    let mut left = working_days;
    while left > 0 {
        day = day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
        if !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
            left -= 1;
        }
    }
    day
}

/// "Friday 4 December".
#[must_use]
pub fn in_words(day: NaiveDate) -> String {
    day.format("%A %-d %B").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_no_working_days() {
        let monday = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        assert_eq!(in_words(working_days_after(monday, 5)), "Monday 30 November");
        assert_eq!(in_words(working_days_after(monday, 9)), "Friday 4 December");
        assert_eq!(working_days_after(monday, 0), monday);
    }
}
