//! The waterfall: how the log-odds walk from the baseline to the margin, factor by factor.

use candor_engine::risk::{Assessment, Bands};

use super::percent::{log_odds, percent};

/// Factors that get a bar of their own; the rest share one.
const OWN_BARS: usize = 12;
/// Width of the drawing.
const WIDTH: f64 = 760.0;
/// Where the bars may begin: left of it stand labels and values.
const LEFT: f64 = 322.0;
/// Where they end: right of it stands nothing but the number of the longest bar.
const RIGHT: f64 = 704.0;
/// Where the first row begins.
const TOP: f64 = 34.0;
/// Height of a row.
const ROW: f64 = 34.0;
/// Room for the number beside a bar.
const NUMBER: f64 = 50.0;
/// Probabilities that may be written on the second axis.
const MARKS: [f64; 11] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.98];
/// Least distance of two marks on an axis.
const APART: f64 = 46.0;
/// Least distance of a mark from the axis' left end, before which the axis' name stands.
const MARK: f64 = 24.0;

/// A drawing ready for its template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waterfall {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) rows: Vec<Row>,
    /// Ticks of the upper axis: log-odds.
    pub(super) odds: Vec<Tick>,
    /// Ticks of the lower axis: probability.
    pub(super) probabilities: Vec<Tick>,
    /// Where the bands begin.
    pub(super) thresholds: Vec<Tick>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Line of the label.
    pub(super) y: f64,
    /// Top of the bar.
    pub(super) bar_y: f64,
    pub(super) label: String,
    pub(super) value: String,
    /// `total`, `raise` or `lower`.
    pub(super) kind: &'static str,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) number: String,
    pub(super) number_x: f64,
    pub(super) number_anchor: &'static str,
    /// Where the walk stands after this row: a thin line leads down to the next.
    pub(super) after: f64,
    pub(super) last: bool,
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

struct Step {
    label: String,
    value: String,
    from: f64,
    to: f64,
}

/// Draws an assessment. The bars add up to the margin because the contributions do. `probability` is the model's own way
/// from log-odds to a probability: a calibration's curve may stand between them.
#[must_use]
pub(super) fn draw(assessment: &Assessment, bands: &Bands, probability: &impl Fn(f64) -> f64) -> Waterfall {
    let steps = steps(assessment);
    let ends = steps.iter().flat_map(|step| [step.from, step.to]).chain([assessment.baseline, assessment.margin]);
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(end), high.max(end)));
    // A walk that never moves still needs a width.
    let span = (high - low).max(0.5);
    let middle = f64::midpoint(low, high);
    let (low, high) = (middle - span / 2.0, middle + span / 2.0);
    let scale = (RIGHT - LEFT - 2.0 * NUMBER) / (high - low);
    let place = |odds: f64| LEFT + NUMBER + (odds - low) * scale;
    let (first, last) = (low - NUMBER / scale, high + NUMBER / scale);
    let first_mark = first + MARK / scale;

    let mut rows = vec![total(
        "Before anything is known",
        &percent(probability(assessment.baseline)),
        assessment.baseline,
        &place,
    )];
    rows.extend(steps.iter().map(|step| bar(step, &place)));
    rows.push(total("This application", &percent(assessment.probability), assessment.margin, &place));
    let count = rows.len();
    for (index, row) in rows.iter_mut().enumerate() {
        let top = TOP + ROW * f64::from(u32::try_from(index).unwrap_or(0));
        row.y = top + 14.0;
        row.bar_y = top + 8.0;
        row.last = index + 1 == count;
    }
    let bottom = TOP + ROW * f64::from(u32::try_from(count).unwrap_or(0));
    Waterfall {
        title: format!("How the score of {} came about, in log-odds", percent(assessment.probability)),
        description: description(assessment, probability(assessment.baseline)),
        width: WIDTH,
        height: bottom + 44.0,
        left: LEFT,
        right: RIGHT,
        top: TOP,
        bottom,
        rows,
        odds: spaced(whole_numbers(first_mark, last), &place, |odds| log_odds(odds).replace(".00", "")),
        probabilities: spaced(
            MARKS.iter().filter_map(|mark| margin_of(*mark, (first_mark, last), probability)),
            &place,
            |odds| percent(probability(odds)).replace(".0 %", " %"),
        ),
        thresholds: [("medium", bands.medium), ("high", bands.high)]
            .into_iter()
            .filter_map(|(name, from)| Some((name, from, margin_of(from, (first, last), probability)?)))
            .map(|(name, from, odds)| Tick { x: place(odds), label: format!("{name} from {}", percent(from)) })
            .collect(),
    }
}

fn steps(assessment: &Assessment) -> Vec<Step> {
    let mut at = assessment.baseline;
    let mut steps = Vec::with_capacity(OWN_BARS + 1);
    for part in assessment.attributions.iter().take(OWN_BARS) {
        steps.push(Step { label: part.label.clone(), value: part.value.clone(), from: at, to: at + part.contribution });
        at += part.contribution;
    }
    let others = assessment.attributions.len().saturating_sub(OWN_BARS);
    if others > 0 {
        steps.push(Step {
            label: format!("{others} other factors"),
            value: "each smaller than those above".to_owned(),
            from: at,
            to: assessment.margin,
        });
    }
    steps
}

fn bar(step: &Step, place: &impl Fn(f64) -> f64) -> Row {
    let change = step.to - step.from;
    let (start, end) = (place(step.from), place(step.to));
    let x = start.min(end);
    // A bar of nothing is still a line that can be seen.
    let width = (start - end).abs().max(1.0);
    let (number_x, number_anchor) = if change < 0.0 { (x - 5.0, "end") } else { (x + width + 5.0, "start") };
    Row {
        y: 0.0,
        bar_y: 0.0,
        label: short(&step.label, 48),
        value: short(&step.value, 48),
        kind: if change < 0.0 { "lower" } else { "raise" },
        x,
        width,
        number: log_odds(change),
        number_x,
        number_anchor,
        after: end,
        last: false,
    }
}

fn total(label: &str, value: &str, odds: f64, place: &impl Fn(f64) -> f64) -> Row {
    let x = place(odds);
    Row {
        y: 0.0,
        bar_y: 0.0,
        label: label.to_owned(),
        value: value.to_owned(),
        kind: "total",
        x: x - 2.0,
        width: 4.0,
        number: log_odds(odds),
        number_x: x + 7.0,
        number_anchor: "start",
        after: x,
        last: false,
    }
}

fn description(assessment: &Assessment, at_baseline: f64) -> String {
    let mut words = format!(
        "Starts at {} log-odds, a probability of {}, and ends at {}, a probability of {}.",
        log_odds(assessment.baseline),
        percent(at_baseline),
        log_odds(assessment.margin),
        percent(assessment.probability)
    );
    for part in assessment.attributions.iter().take(3) {
        words.push_str(&format!(" {}, {}: {}.", part.label, part.value, log_odds(part.contribution)));
    }
    words.push_str(" Every factor is in the table below.");
    words
}

/// The log-odds between two ends at which the probability is reached; `None` where it lies beyond. The probability never
/// falls with the log-odds, so halving finds it.
fn margin_of(wanted: f64, (low, high): (f64, f64), probability: &impl Fn(f64) -> f64) -> Option<f64> {
    if !(probability(low)..probability(high)).contains(&wanted) {
        return None;
    }
    let mut ends = (low, high);
    for _ in 0..60 {
        let middle = f64::midpoint(ends.0, ends.1);
        if probability(middle) < wanted { ends.0 = middle } else { ends.1 = middle }
    }
    Some(ends.1)
}

fn whole_numbers(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let first = from.ceil();
    (0..64_u32).map(move |step| first + f64::from(step)).take_while(move |odds| *odds <= to)
}

/// Marks that are far enough apart to be read.
fn spaced(at: impl Iterator<Item = f64>, place: &impl Fn(f64) -> f64, label: impl Fn(f64) -> String) -> Vec<Tick> {
    let mut ticks: Vec<Tick> = Vec::new();
    for odds in at {
        let x = place(odds);
        if ticks.last().is_none_or(|last| x - last.x >= APART) {
            ticks.push(Tick { x, label: label(odds) });
        }
    }
    ticks
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Attribution, Band, CalibrationCurve, Proposal, probability};

    use super::*;

    fn assessment(contributions: &[f64]) -> Assessment {
        let baseline = -4.0;
        let margin = contributions.iter().fold(baseline, |sum, part| sum + part);
        Assessment {
            probability: probability(margin),
            margin,
            baseline,
            attributions: contributions
                .iter()
                .enumerate()
                .map(|(index, contribution)| Attribution {
                    factor: format!("f{index}"),
                    label: format!("Factor {index}"),
                    value: "1".to_owned(),
                    raw: None,
                    usual_low: None,
                    usual_high: None,
                    usual: String::new(),
                    contribution: *contribution,
                    in_words: String::new(),
                })
                .collect(),
            reasons: Vec::new(),
            rule_hits: Vec::new(),
            missing: Vec::new(),
            band: Band::Low,
            proposal: Proposal::Approve,
            model_version: "1".to_owned(),
            model_sha256: String::new(),
            policy_version: 1,
        }
    }

    const BANDS: Bands = Bands { medium: 0.03, high: 0.15 };

    #[test]
    fn the_walk_starts_at_the_baseline_and_ends_at_the_margin() {
        let parts: Vec<f64> = (0..20).map(|part| if part % 3 == 0 { 0.4 } else { -0.15 }).collect();
        let drawing = draw(&assessment(&parts), &BANDS, &probability);
        assert_eq!(drawing.rows.len(), 1 + OWN_BARS + 1 + 1);
        assert_eq!(drawing.rows[OWN_BARS + 1].label, "8 other factors");
        let (last, end) = (&drawing.rows[OWN_BARS + 1], &drawing.rows[OWN_BARS + 2]);
        assert!((last.after - end.after).abs() < 1e-9, "the last bar ends where the margin stands");
        for pair in drawing.rows.windows(2).take(OWN_BARS + 1) {
            let start = pair[0].after;
            let begins = (pair[1].x - start).abs() < 1.0 || (pair[1].x + pair[1].width - start).abs() < 1.0;
            assert!(begins, "{pair:?}");
        }
        for row in &drawing.rows {
            assert!(row.x >= LEFT && row.x + row.width <= RIGHT, "{row:?}");
        }
        for mark in drawing.odds.iter().chain(&drawing.probabilities) {
            assert!(mark.x >= LEFT + MARK, "{mark:?} runs into the axis' name");
        }
    }

    #[test]
    fn an_application_like_every_other_is_drawn_too() {
        let drawing = draw(&assessment(&[0.0]), &BANDS, &probability);
        assert!(drawing.rows.iter().all(|row| row.x.is_finite() && row.width.is_finite()));
        assert_eq!(drawing.rows.len(), 3);
    }

    #[test]
    fn a_bar_that_lowers_lies_left_of_where_it_began_and_carries_a_minus() {
        let drawing = draw(&assessment(&[-1.0]), &BANDS, &probability);
        let (before, bar) = (&drawing.rows[0], &drawing.rows[1]);
        assert_eq!((bar.kind, bar.number.as_str()), ("lower", "\u{2212}1.00"));
        assert!(bar.x < before.after);
    }

    #[test]
    fn the_second_axis_follows_the_models_curve() {
        let curve = CalibrationCurve::Isotonic { from: vec![-6.0, -2.0, 2.0], to: vec![-5.0, -4.0, 1.0] };
        let curved = |margin: f64| probability(curve.apply(margin));
        let score = assessment(&[2.0, 1.0]);
        let (straight, bent) = (draw(&score, &BANDS, &probability), draw(&score, &BANDS, &curved));
        let x = |drawing: &Waterfall, label: &str| {
            drawing.probabilities.iter().find(|tick| tick.label == label).map(|tick| tick.x).unwrap()
        };
        // 3 % stand where the curve gives 3 %, not where the logistic function does.
        assert!((x(&straight, "3 %") - x(&bent, "3 %")).abs() > 5.0);
        let margin = margin_of(0.03, (-8.0, 4.0), &curved).unwrap();
        assert!((curved(margin) - 0.03).abs() < 1e-12);
        assert_eq!(margin_of(0.9999, (-8.0, 4.0), &curved), None);
        let words = format!("a probability of {}", percent(curved(-4.0)));
        assert!(bent.description.contains(&words), "{}", bent.description);
    }
}
