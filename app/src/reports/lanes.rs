//! Drawings with a row for each thing: its name at the left, its marks and intervals along one axis.

use super::chart::{Axis, Note};

/// The axis' ends, left and right of them room for names and numbers.
pub(super) const ENDS: (f64, f64) = (200.0, 484.0);
/// Where the first row begins.
const TOP: f64 = 22.0;
/// Distance of two dots that stand beside each other across the axis.
const STEP: f64 = 3.2;

/// A dot with its class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    /// `mark`, `raise`, `lower`, `mark-2`, or `bee-low`, `bee-middle`, `bee-high` for values from hollow to filled.
    pub(super) class: &'static str,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lane {
    pub(super) label: String,
    pub(super) y: f64,
    /// An interval along the axis.
    pub(super) whisker: Option<(f64, f64)>,
    pub(super) marks: Vec<Mark>,
    /// The value in words, at the right.
    pub(super) value: String,
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lanes {
    axis: Axis,
    row: f64,
    pub(super) lanes: Vec<Lane>,
    /// Upright lines with their words.
    pub(super) lines: Vec<Note>,
}

impl Lanes {
    /// An empty drawing whose rows are `row` high.
    pub(super) fn new(axis: Axis, row: f64) -> Self {
        Self { axis, row, lanes: Vec::new(), lines: Vec::new() }
    }

    /// Where a value stands on the axis; beyond its ends, at the end.
    pub(super) fn at(&self, value: impl std::borrow::Borrow<f64>) -> f64 {
        ENDS.0 + (ENDS.1 - ENDS.0) * self.axis.share(*value.borrow())
    }

    /// Adds a row. `marks`: value, steps away from the row's middle, class.
    pub(super) fn lane(
        &mut self,
        label: &str,
        whisker: Option<(f64, f64)>,
        marks: impl IntoIterator<Item = (f64, i32, &'static str)>,
        value: String,
    ) {
        let y = self.bottom() + self.row / 2.0;
        let most = self.row / 2.0 - 2.0;
        let marks = marks
            .into_iter()
            .map(|(at, steps, class)| Mark {
                x: self.at(at),
                y: y + (f64::from(steps) * STEP).clamp(-most, most),
                class,
            })
            .collect();
        let whisker = whisker.map(|(low, high)| (self.at(low), self.at(high)));
        self.lanes.push(Lane { label: super::plot::shortened(label), y, whisker, marks, value });
    }

    /// An upright line at a value.
    pub(super) fn line(&mut self, at: f64, text: String) {
        let note = Note { x: self.at(at), y: 12.0, text };
        self.lines.push(note);
    }

    /// The marks on the axis: place and words.
    pub(super) fn ticks(&self) -> &[(f64, String)] {
        &self.axis.ticks
    }

    /// What the axis measures.
    pub(super) fn title(&self) -> &str {
        &self.axis.title
    }

    /// Where the rows end.
    pub(super) fn bottom(&self) -> f64 {
        self.lanes.iter().fold(TOP, |bottom, _| bottom + self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_each_other_and_marks_stay_in_theirs() {
        let mut lanes = Lanes::new(Axis::new("share", 0.0, 1.0, |at| at.to_string()), 24.0);
        lanes.lane("one", Some((0.25, 2.0)), [(0.5, 0, "mark"), (0.5, 40, "mark")], String::new());
        lanes.lane("two", None, [(1.0, 0, "mark")], "1".to_owned());
        let (one, two) = (&lanes.lanes[0], &lanes.lanes[1]);
        assert!((two.y - one.y - 24.0).abs() < 1e-12 && (lanes.bottom() - TOP - 48.0).abs() < 1e-12);
        assert_eq!(one.whisker.unwrap().1, ENDS.1, "an interval ends at the axis' end");
        assert!((one.marks[1].y - one.y) <= 10.0 && (one.marks[0].x - f64::midpoint(ENDS.0, ENDS.1)).abs() < 1e-9);
    }
}
