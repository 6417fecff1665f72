//! Probabilities as people read them.

/// A percentage with one decimal; what is smaller than a tenth says so.
#[must_use]
pub(in crate::applications) fn percent(probability: f64) -> String {
    if probability > 0.0 && probability < 0.0005 {
        return "under 0.1 %".to_owned();
    }
    format!("{:.1} %", probability * 100.0)
}

/// A number of log-odds with its sign: `+0.82`, `−0.10`.
#[must_use]
pub(in crate::applications) fn log_odds(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    match text.as_str() {
        "0.00" => text,
        _ if value < 0.0 => format!("\u{2212}{text}"),
        _ => format!("+{text}"),
    }
}

/// Log-odds of a probability.
#[must_use]
pub(in crate::applications) fn logit(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!(percent(0.0001), "under 0.1 %");
        assert_eq!(percent(0.0), "0.0 %");
        assert_eq!(log_odds(0.816), "+0.82");
        assert_eq!(log_odds(-0.1), "\u{2212}0.10");
        assert_eq!(log_odds(-0.001), "0.00");
        assert!((logit(0.5)).abs() < 1e-12);
    }
}
