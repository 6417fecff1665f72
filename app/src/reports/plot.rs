//! Plots drawn by the server as SVG: labels stand on the marks, and the table is under the picture.

use askama::Template;

use super::chart::{AREA as CHART_AREA, Chart};
use super::lanes::{ENDS, Lanes};

/// A plot, ready to render inside a page.
#[derive(Debug, Clone, Template)]
#[template(path = "reports/plot.svg", escape = "html")]
pub(super) struct Plot {
    /// Distinguishes the ids of plots on one page.
    pub(super) id: String,
    /// What is shown.
    pub(super) title: String,
    /// The same in words, for who can not see it.
    pub(super) desc: String,
    height: u32,
    bars: Vec<Bar>,
    line: Option<Line>,
    chart: Option<Chart>,
    lanes: Option<Lanes>,
}

/// Lets a template write `{{ plot }}`: the plot escapes its own text.
impl askama::filters::HtmlSafe for Plot {}

#[derive(Debug, Clone)]
struct Bar {
    label: String,
    value: String,
    y: u32,
    width: f64,
    value_x: f64,
}

#[derive(Debug, Clone)]
struct Line {
    path: String,
    dots: Vec<(f64, f64)>,
    first: String,
    last: String,
    end: String,
    end_y: f64,
}

/// Width of the drawing in its own units.
const WIDTH: f64 = 560.0;
/// Where bars begin, right of their labels.
const BARS_AT: f64 = 190.0;
/// Room for the value right of the longest bar.
const VALUE_ROOM: f64 = 70.0;
/// Height of a row of bars.
const ROW: u32 = 26;
/// The line's area: left, top, right, bottom.
const AREA: (f64, f64, f64, f64) = (48.0, 12.0, 490.0, 132.0);

impl Plot {
    /// A plot with nothing on it yet.
    fn empty(id: &str, title: &str, desc: String, height: u32) -> Self {
        let (id, title) = (id.to_owned(), title.to_owned());
        Self { id, title, desc, height, bars: Vec::new(), line: None, chart: None, lanes: None }
    }

    /// Horizontal bars, in the order given. `items`: label, length, the value in words.
    pub(super) fn bars(id: &str, title: &str, items: Vec<(String, f64, String)>) -> Option<Self> {
        let longest = items.iter().map(|(_, length, _)| *length).fold(0.0, f64::max);
        if longest <= 0.0 {
            return None;
        }
        let spoken: Vec<String> = items.iter().map(|(label, _, value)| format!("{label} {value}")).collect();
        let bars: Vec<Bar> = items
            .into_iter()
            .zip((0..).step_by(ROW as usize))
            .map(|((label, length, value), y)| {
                let width = (WIDTH - BARS_AT - VALUE_ROOM) * length / longest;
                Bar { label: shortened(&label), value, y, width, value_x: BARS_AT + width + 6.0 }
            })
            .collect();
        let height = bars.last().map_or(0, |bar| bar.y) + ROW;
        Some(Self { bars, ..Self::empty(id, title, spoken.join(", "), height) })
    }

    /// A drawing with two axes.
    pub(super) fn chart(id: &str, title: &str, desc: String, chart: Chart) -> Option<Self> {
        let height = u32::try_from(chart.height.max(0.0).to_string().split('.').next()?.parse::<i64>().ok()?).ok()?;
        Some(Self { chart: Some(chart), ..Self::empty(id, title, desc, height) })
    }

    /// A drawing with a row for each thing; none without rows.
    pub(super) fn lanes(id: &str, title: &str, desc: String, lanes: Lanes) -> Option<Self> {
        if lanes.lanes.is_empty() {
            return None;
        }
        let height = format!("{:.0}", lanes.bottom() + 40.0).parse().ok()?;
        Some(Self { lanes: Some(lanes), ..Self::empty(id, title, desc, height) })
    }

    /// Shares from 0 to 1 over time, oldest first; a day without a share is a gap.
    pub(super) fn line(id: &str, title: &str, days: &[(String, Option<f64>)]) -> Option<Self> {
        let (left, top, right, bottom) = AREA;
        let steps = u32::try_from(days.len().checked_sub(1)?).ok()?.max(1);
        let mut path = String::new();
        let mut dots = Vec::new();
        let mut pen_down = false;
        let mut end = None;
        for ((_, share), step) in days.iter().zip(0_u32..) {
            let Some(share) = share else {
                pen_down = false;
                continue;
            };
            let x = left + (right - left) * f64::from(step) / f64::from(steps);
            let y = bottom - (bottom - top) * share.clamp(0.0, 1.0);
            path.push_str(&format!("{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" }));
            dots.push((x, y));
            pen_down = true;
            end = Some((*share, y));
        }
        let (end_share, end_y) = end?;
        let counted: Vec<f64> = days.iter().filter_map(|(_, share)| *share).collect();
        let (low, high) = counted.iter().fold((1.0_f64, 0.0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
        let desc = format!(
            "Daily shares from {:.0} % to {:.0} %; the last is {:.0} %.",
            low * 100.0,
            high * 100.0,
            end_share * 100.0
        );
        let line = Line {
            path,
            dots,
            first: days.first()?.0.clone(),
            last: days.last()?.0.clone(),
            end: format!("{:.0} %", end_share * 100.0),
            end_y: end_y + 4.0,
        };
        Some(Self { line: Some(line), ..Self::empty(id, title, desc, 160) })
    }
}

/// A label that fits left of its bar; the table under the plot has it whole.
pub(super) fn shortened(label: &str) -> String {
    shortened_to(label, 25)
}

/// A label of at most so many letters.
pub(super) fn shortened_to(label: &str, fits: usize) -> String {
    if label.chars().count() <= fits {
        return label.to_owned();
    }
    let mut short: String = label.chars().take(fits - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_room_and_text_is_escaped() {
        let items = vec![("a <b>".to_owned(), 2.0, "2".to_owned()), ("c".to_owned(), 1.0, "1".to_owned())];
        let plot = Plot::bars("p", "Title", items).unwrap();
        assert!((plot.bars[0].width - 300.0).abs() < 1e-9 && (plot.bars[1].width - 150.0).abs() < 1e-9);
        let drawn = plot.render().unwrap();
        assert!(drawn.contains("<title id=\"p-title\">Title</title>") && !drawn.contains("<b>"), "{drawn}");
        assert!(Plot::bars("p", "Title", vec![("a".to_owned(), 0.0, "0".to_owned())]).is_none());
    }

    #[test]
    fn a_day_without_a_share_is_a_gap() {
        let days = [("1".to_owned(), Some(0.5)), ("2".to_owned(), None), ("3".to_owned(), Some(1.0))];
        let line = Plot::line("p", "Title", &days).unwrap().line.unwrap();
        assert_eq!(line.path, "M48.0 72.0M490.0 12.0");
        assert_eq!(line.end, "100 %");
        assert!(Plot::line("p", "Title", &[]).is_none());
    }
}
