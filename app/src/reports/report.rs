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
            Self::Text(text) => text.clone(),
            Self::Count(count) => crate::audit::grouped(*count),
            Self::Exact(number) => format!("{number:.4}"),
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
    pub(super) name: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    /// What exactly is counted.
    pub(super) about: &'static str,
    /// The figure to remember, with its words.
    pub(super) figure: Option<(String, String)>,
    /// The picture of the table.
    pub(super) plot: Option<Plot>,
    /// Column heads.
    pub(super) head: Vec<&'static str>,
    /// Rows, each as wide as the head.
    pub(super) rows: Vec<Vec<Cell>>,
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
        assert_eq!(Cell::Count(12_345).plain(), "12345");
    }
}
