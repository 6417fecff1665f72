//! Drawings with two axes: points, lines, bars and thresholds, with labels on the marks.

/// The area of the marks: left, top, right, bottom.
pub(super) const AREA: (f64, f64, f64, f64) = (56.0, 14.0, 536.0, 196.0);

/// An axis: from, to, and the marks that are written on it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    /// What it measures.
    pub(super) title: String,
    /// Place and words.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis from `from` to `to`, with marks at round places in the words of `label`.
    pub(super) fn new(title: &str, from: f64, to: f64, label: impl Fn(f64) -> String) -> Self {
        // Values that are all the same still need a width.
        let (from, to) = if to - from < 1e-9 { (from - 0.5, to + 0.5) } else { (from, to) };
        let ticks = round_places(from, to).map(|at| (at, label(at))).collect();
        Self { from, to, title: title.to_owned(), ticks }
    }

    /// An axis whose marks stand at the words' own places 0, 1, 2 and so on.
    pub(super) fn of_words(title: &str, words: &[String]) -> Self {
        let ticks: Vec<(f64, String)> = (0_u32..).map(f64::from).zip(words.iter().cloned()).collect();
        let last = ticks.last().map_or(0.0, |(at, _)| *at);
        Self { from: -0.5, to: last + 0.5, title: title.to_owned(), ticks }
    }

    /// Where a value lies between the ends, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// The three to six multiples of 1, 2 or 5 times a power of ten between the ends.
fn round_places(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let least = (to - from) / 5.0;
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|times| times * power).into_iter().find(|step| *step >= least * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * power);
    // Half a millionth of a step, so that an end which is itself a round place has its mark.
    let first = (from / step - 5e-7).ceil();
    (0..6_u32).map(move |n| (first + f64::from(n)) * step).take_while(move |at| *at <= to + step * 5e-7)
}

/// A point with its class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    /// `mark`, `raise`, `lower` or `mark-2`.
    pub(super) class: &'static str,
}

/// A bar of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
}

/// A line with a word at its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub(super) d: String,
    pub(super) class: &'static str,
    pub(super) end: (f64, f64),
    pub(super) label: String,
}

/// Words at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) text: String,
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) height: f64,
    bottom: f64,
    pub(super) dots: Vec<Dot>,
    pub(super) blocks: Vec<Block>,
    pub(super) paths: Vec<Path>,
    /// Upright lines: thresholds.
    pub(super) thresholds: Vec<Note>,
    pub(super) notes: Vec<Note>,
}

impl Chart {
    /// An empty drawing of the usual height.
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        Self::tall(x, y, AREA.3)
    }

    /// An empty drawing whose area ends at `bottom`.
    pub(super) fn tall(x: Axis, y: Axis, bottom: f64) -> Self {
        Self {
            x,
            y,
            height: bottom + 40.0,
            bottom,
            dots: Vec::new(),
            blocks: Vec::new(),
            paths: Vec::new(),
            thresholds: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Where a value stands on the x axis.
    pub(super) fn at_x(&self, value: impl std::borrow::Borrow<f64>) -> f64 {
        AREA.0 + (AREA.2 - AREA.0) * self.x.share(*value.borrow())
    }

    /// Where a value stands on the y axis.
    pub(super) fn at_y(&self, value: impl std::borrow::Borrow<f64>) -> f64 {
        self.bottom - (self.bottom - AREA.1) * self.y.share(*value.borrow())
    }

    /// Where the area ends.
    pub(super) fn bottom(&self) -> f64 {
        self.bottom
    }

    /// A point at its values.
    pub(super) fn dot(&mut self, x: f64, y: f64, class: &'static str) {
        let dot = Dot { x: self.at_x(x), y: self.at_y(y), class };
        self.dots.push(dot);
    }

    /// A bar from `from` to `to`, standing on `base`.
    pub(super) fn block(&mut self, (from, to): (f64, f64), (base, top): (f64, f64), class: &'static str) {
        let (left, right) = (self.at_x(from), self.at_x(to));
        let (low, high) = (self.at_y(base), self.at_y(top));
        let block = Block {
            x: left + 0.5,
            y: high,
            width: (right - left - 1.0).max(0.5),
            height: (low - high).max(0.0),
            class,
        };
        self.blocks.push(block);
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &'static str, label: &str) {
        let mut d = String::new();
        let mut end = (0.0, 0.0);
        for (index, (x, y)) in points.iter().enumerate() {
            end = (self.at_x(*x), self.at_y(*y));
            d.push_str(&format!("{}{:.1} {:.1}", if index == 0 { "M" } else { "L" }, end.0, end.1));
        }
        if !points.is_empty() {
            self.paths.push(Path { d, class, end, label: label.to_owned() });
        }
    }

    /// An upright line at a value of the x axis.
    pub(super) fn threshold(&mut self, x: f64, text: String) {
        // Each label stands a line below the one before, so that near ones can be read.
        let lines: f64 = self.thresholds.iter().map(|_| 13.0).sum();
        let note = Note { x: self.at_x(x), y: AREA.1 + 10.0 + lines, text };
        self.thresholds.push(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_round_places() {
        let marks = |from, to| round_places(from, to).map(|at| format!("{at:.3}")).collect::<Vec<_>>().join(" ");
        assert_eq!(marks(0.0, 1.0), "0.000 0.200 0.400 0.600 0.800 1.000");
        assert_eq!(marks(-1.3, 2.1), "-1.000 0.000 1.000 2.000");
        assert_eq!(marks(183.0, 4_021.0), "1000.000 2000.000 3000.000 4000.000");
        assert_eq!(marks(0.0, 0.03), "0.000 0.010 0.020 0.030");
        assert_eq!(marks(-0.5, 0.5), "-0.400 -0.200 0.000 0.200 0.400");
    }

    #[test]
    fn values_stand_where_the_axes_say_and_never_outside() {
        let chart =
            Chart::new(Axis::new("x", 0.0, 10.0, |at| at.to_string()), Axis::new("y", 0.0, 1.0, |at| at.to_string()));
        assert_eq!((chart.at_x(0.0), chart.at_x(10.0), chart.at_x(99.0)), (AREA.0, AREA.2, AREA.2));
        assert_eq!((chart.at_y(0.0), chart.at_y(1.0)), (AREA.3, AREA.1));
        let flat = Axis::new("x", 3.0, 3.0, |at| at.to_string());
        assert!((flat.share(3.0) - 0.5).abs() < 1e-12);
    }
}
