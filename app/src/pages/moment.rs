//! A point in time, in words, with the exact time behind it.

use std::fmt;

use askama::filters::HtmlSafe;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Renders as `<time datetime="…" title="…">5 min ago</time>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub DateTime<Utc>);

impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            r#"<time datetime="{}" title="{}">{}</time>"#,
            self.0.to_rfc3339_opts(SecondsFormat::Secs, true),
            self.0.format("%A %-d %B %Y, %H:%M:%S UTC"),
            words(self.0, Utc::now()),
        )
    }
}

/// How long ago (or how far ahead) `at` is from `now`, in words.
fn words(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now - at;
    let (distance, ahead) = if passed < TimeDelta::zero() { (-passed, true) } else { (passed, false) };
    let amount = match distance {
        d if d < TimeDelta::seconds(45) => return if ahead { "in a moment" } else { "just now" }.to_owned(),
        d if d < TimeDelta::minutes(60) => format!("{} min", d.num_minutes().max(1)),
        d if d < TimeDelta::hours(24) => format!("{} h", d.num_hours()),
        d if d < TimeDelta::days(2) => "1 day".to_owned(),
        d if d < TimeDelta::days(14) => format!("{} days", d.num_days()),
        _ => return at.format("%-d %b %Y").to_string(),
    };
    if ahead { format!("in {amount}") } else { format!("{amount} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_largest_fitting_unit() {
        let now = "2026-11-23T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let told = |seconds: i64| words(now - TimeDelta::seconds(seconds), now);
        assert_eq!(told(3), "just now");
        assert_eq!(told(50), "1 min ago");
        assert_eq!(told(3599), "59 min ago");
        assert_eq!(told(7300), "2 h ago");
        assert_eq!(told(30 * 3600), "1 day ago");
        assert_eq!(told(5 * 86400), "5 days ago");
        assert_eq!(told(60 * 86400), "24 Sep 2026");
        assert_eq!(told(-120), "in 2 min");
    }
}
