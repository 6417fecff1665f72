//! A report: a sentence that defines it, a plot, a table.

use super::plot::Plot;

/// The value of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(i64),
    /// A number with four decimals.
    Exact(f64),
    /// Money in whole units of the bank's currency.
    Money(f64),
    /// A share from 0 to 1; `None` where nothing was counted.
    Share(Option<f64>),
    /// An average of ratings.
    Mean(Option<f64>),
    /// A duration in seconds.
    Seconds(Option<f64>),
}

impl Cell {
    /// As people read it.
    pub(super) fn words(&self) -> String {
        match self {
            // A number and its sign stay on one line.
            Self::Text(text) => text.replace(" %", "\u{a0}%"),
            Self::Count(count) => crate::audit::grouped(*count),
            Self::Exact(number) => format!("{number:.4}"),
            Self::Money(amount) => money(*amount),
            Self::Share(Some(share)) => format!("{:.1} %", share * 100.0),
            Self::Mean(Some(mean)) => format!("{mean:.2}"),
            Self::Seconds(Some(seconds)) => duration_words(*seconds),
            Self::Share(None) | Self::Mean(None) | Self::Seconds(None) => "–".to_owned(),
        }
    }

    /// As a program reads it: plain numbers, nothing where there is none.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Exact(number) => number.to_string(),
            Self::Money(amount) => format!("{amount:.2}"),
            Self::Share(value) | Self::Mean(value) | Self::Seconds(value) => {
                value.map_or_else(String::new, |value| format!("{value:.4}"))
            }
        }
    }

    /// Whether it stands right-aligned.
    pub(super) fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
}

/// An amount in whole euros.
pub(super) fn money(amount: f64) -> String {
    let whole = format!("{:.0}", amount.abs()).parse().unwrap_or(i64::MAX);
    format!("{}€{}", if amount <= -0.5 { "\u{2212}" } else { "" }, crate::audit::grouped(whole))
}

/// An amount as short as an axis needs it: €950, €54k, €2.1M.
pub(super) fn short_money(amount: f64) -> String {
    match amount.abs() {
        size if size >= 1e6 => format!("€{:.1}M", amount / 1e6),
        size if size >= 1e4 => format!("€{:.0}k", amount / 1e3),
        _ => money(amount),
    }
}

/// 95 s as "1 min 35 s".
fn duration_words(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// One report.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// Its name in addresses.
    pub(super) name: String,
    /// Its title.
    pub(super) title: String,
    /// What exactly is counted.
    pub(super) about: String,
    /// The figure to remember, with its words.
    pub(super) figure: Option<(String, String)>,
    /// The picture of the table.
    pub(super) plot: Option<Plot>,
    /// What is needed before there are rows, where there is more to say than that nothing has happened yet.
    pub(super) needs: Option<String>,
    /// Column heads.
    pub(super) head: Vec<String>,
    /// Rows, each as wide as the head.
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Report {
    /// What stands in place of an empty table.
    pub(super) fn empty(&self) -> &str {
        self.needs.as_deref().unwrap_or("Not enough in this period yet.")
    }
}

/// Column heads.
pub(super) fn heads<const COLUMNS: usize>(names: [&str; COLUMNS]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// A share as a percentage with one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `part` of `whole`; `None` of nothing.
pub(super) fn share(part: i64, whole: i64) -> Option<f64> {
    // Counts of rows stay far below 2^53, where f64 is exact; through u32 there is no lossy cast to argue about.
    let whole = f64::from(u32::try_from(whole).ok().filter(|whole| *whole > 0)?);
    Some(f64::from(u32::try_from(part).ok()?) / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_well_and_stay_plain_for_programs() {
        assert_eq!(Cell::Share(share(1, 8)).words(), "12.5 %");
        assert_eq!(Cell::Share(share(1, 8)).plain(), "0.1250");
        assert_eq!(Cell::Share(share(0, 0)).words(), "–");
        assert_eq!(Cell::Share(None).plain(), "");
        assert_eq!(Cell::Seconds(Some(0.42)).words(), "0.4 s");
        assert_eq!(Cell::Seconds(Some(95.0)).words(), "1 min 35 s");
        assert_eq!(Cell::Seconds(Some(7_260.0)).words(), "2 h 1 min");
        assert_eq!(
            (Cell::Money(-12_345.4).words().as_str(), Cell::Money(-0.2).words().as_str()),
            ("\u{2212}€12,345", "€0")
        );
        assert_eq!([950.0, 53_730.0, 2_149_200.0].map(short_money), ["€950", "€54k", "€2.1M"]);
        assert_eq!(Cell::Money(12.345).plain(), "12.35");
        assert_eq!(Cell::Count(12_345).plain(), "12345");
    }
}
