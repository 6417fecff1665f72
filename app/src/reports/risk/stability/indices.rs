//! The population stability index by step of time.

use std::collections::BTreeMap;

use candor_engine::risk::figures::{Reference, Stability, StabilityBands, StabilityLevel};
use candor_engine::risk::{Feature, Value};
use chrono::NaiveDate;

use super::cases::Case;
use super::chart::{Axis, Chart};
use super::form::{Basis, Step};
use super::lanes::Lanes;
use super::plot::Plot;
use super::report::{Cell, Report, heads};

/// Bins of a number's reference.
const BINS: usize = 10;
/// Steps of time in the table of factors: the newest ones.
const COLUMNS: usize = 6;

const NEEDS: &str =
    "Needed: applications in the window of reference and after it. Choose a longer period, or another window.";

/// The reports, the window of reference in days, and the factor whose bins are shown.
pub(super) struct Found {
    pub(super) reports: Vec<Report>,
    pub(super) window: Option<(NaiveDate, NaiveDate)>,
    pub(super) factor: String,
}

/// What is compared: the score, or a factor.
struct Measure<'f> {
    /// The factor's name; `score`.
    name: &'f str,
    label: &'f str,
    /// One comparison a step of time.
    steps: Vec<Stability>,
}

impl Measure<'_> {
    fn newest(&self) -> f64 {
        self.steps.last().map_or(0.0, |stability| stability.psi)
    }
}

fn level(level: StabilityLevel) -> &'static str {
    match level {
        StabilityLevel::Stable => "stable",
        StabilityLevel::Watch => "watch",
        StabilityLevel::Act => "act",
    }
}

fn count(number: usize) -> Cell {
    Cell::Count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The first and last day of the reference: the chosen ones, else the first third of the applications.
fn window(cases: &[Case], basis: &Basis) -> Option<(NaiveDate, NaiveDate)> {
    let day = |case: &Case| case.received_at.date_naive();
    basis.reference.or_else(|| Some((day(cases.first()?), day(cases.get(cases.len() / 3)?))))
}

/// Every report. `cases` run from the oldest to the newest.
pub(super) fn found(cases: &[Case], features: &[Feature], basis: &Basis, step: Step, wanted: Option<&str>) -> Found {
    let window = window(cases, basis);
    let inside = |case: &&Case| window.is_some_and(|(from, to)| (from..=to).contains(&case.received_at.date_naive()));
    let after = |case: &&Case| window.is_some_and(|(_, to)| case.received_at.date_naive() > to);
    let before: Vec<&Case> = cases.iter().filter(inside).collect();
    let mut later: BTreeMap<NaiveDate, Vec<&Case>> = BTreeMap::new();
    for case in cases.iter().filter(after) {
        later.entry(step.begin(case.received_at.date_naive())).or_default().push(case);
    }
    let scores = |cases: &[&Case]| -> Vec<Option<Value>> {
        cases.iter().map(|case| Some(Value::Number(case.probability))).collect()
    };
    let values = |cases: &[&Case], factor: &str| -> Vec<Option<Value>> {
        cases.iter().map(|case| case.factors.value(factor)).collect()
    };
    let compare = |of: &dyn Fn(&[&Case]) -> Vec<Option<Value>>| -> Vec<Stability> {
        let reference = of(&before);
        let reference = Reference::of(reference.iter().map(Option::as_ref), BINS);
        later
            .values()
            .map(|now| {
                let now = of(now);
                reference.compare(now.iter().map(Option::as_ref))
            })
            .collect()
    };
    let has_both = !before.is_empty() && !later.is_empty();
    let score = Measure { name: "score", label: "Score", steps: if has_both { compare(&scores) } else { Vec::new() } };
    let mut factors: Vec<Measure<'_>> = features
        .iter()
        .filter(|_| has_both)
        .map(|feature| Measure {
            name: &feature.factor.name,
            label: &feature.factor.label,
            steps: compare(&|cases| values(cases, &feature.factor.name)),
        })
        .collect();
    factors.sort_by(|a, b| b.newest().total_cmp(&a.newest()));
    let days: Vec<NaiveDate> = later.keys().copied().collect();
    let shown = std::iter::once(&score).chain(&factors);
    let chosen = wanted
        .and_then(|wanted| shown.clone().find(|one| one.name == wanted))
        .or_else(|| factors.first())
        .unwrap_or(&score);
    Found {
        reports: vec![
            over_time(&score, &days, &basis.bands, step),
            by_factor(&factors, &days, &basis.bands, step),
            bins(chosen, &days, step),
        ],
        window,
        factor: chosen.name.to_owned(),
    }
}

/// The score's index, step by step.
fn over_time(score: &Measure<'_>, days: &[NaiveDate], bands: &StabilityBands, step: Step) -> Report {
    let points: Vec<(f64, f64)> =
        (0_u32..).map(f64::from).zip(&score.steps).map(|(at, stability)| (at, stability.psi)).collect();
    let most = points.iter().map(|(_, psi)| *psi).fold(bands.act * 1.2, f64::max);
    let last = points.last().map_or(1.0, |(at, _)| at.max(1.0));
    let mut axis = Axis::new(&format!("{} from", step.as_str()), 0.0, last, |_| String::new());
    axis.ticks = (0_u32..).map(f64::from).zip(days).map(|(at, day)| (at, day.format("%-d %b").to_string())).collect();
    let every = axis.ticks.len().div_ceil(8).max(1);
    axis.ticks = axis.ticks.into_iter().step_by(every).collect();
    let mut chart = Chart::new(axis, Axis::new("index", 0.0, most, |at| format!("{at:.2}")));
    for (name, from) in [("watch", bands.watch), ("act", bands.act)] {
        chart.path(&[(0.0, from), (last, from)], "threshold", name);
    }
    chart.path(&points, "series", "");
    for (at, psi) in &points {
        let class = match bands.level(*psi) {
            StabilityLevel::Act => "raise",
            _ => "mark",
        };
        chart.dot(*at, *psi, class);
    }
    let newest = score.steps.last();
    Report {
        name: "stability-score".to_owned(),
        title: "Stability of the score".to_owned(),
        about: format!(
            "Population stability index of the score by {}, against the window of reference, in ten bins. By chance alone it \
             would be what the table says: with few applications it is high without anything having moved.",
            step.as_str()
        ),
        figure: newest.map(|newest| {
            (
                format!("{:.2}", newest.psi),
                format!("in the newest {}: {}", step.as_str(), level(bands.level(newest.psi))),
            )
        }),
        plot: Plot::chart(
            "stability-score",
            "Stability of the score",
            newest.map_or_else(String::new, |newest| {
                format!(
                    "{} steps; the newest index is {:.2}, {}.",
                    points.len(),
                    newest.psi,
                    level(bands.level(newest.psi))
                )
            }),
            chart,
        ),
        needs: Some(NEEDS.to_owned()),
        head: vec![
            format!("{} from", if step == Step::Week { "Week" } else { "Month" }),
            "Applications".to_owned(),
            "Index".to_owned(),
            "By chance".to_owned(),
            "Band".to_owned(),
        ],
        rows: days
            .iter()
            .zip(&score.steps)
            .map(|(day, stability)| {
                vec![
                    Cell::Text(day.to_string()),
                    count(stability.now),
                    Cell::Exact(stability.psi),
                    Cell::Exact(stability.by_chance),
                    Cell::Text(level(bands.level(stability.psi)).to_owned()),
                ]
            })
            .collect(),
    }
}

/// Every factor's index: the newest drawn, the last steps in the table.
fn by_factor(factors: &[Measure<'_>], days: &[NaiveDate], bands: &StabilityBands, step: Step) -> Report {
    let most = factors.iter().map(Measure::newest).fold(bands.act * 1.2, f64::max);
    let mut lanes = Lanes::new(Axis::new("index", 0.0, most, |at| format!("{at:.2}")), 20.0);
    lanes.line(bands.watch, "watch".to_owned());
    lanes.line(bands.act, "act".to_owned());
    for one in factors {
        let psi = one.newest();
        let class = if bands.level(psi) == StabilityLevel::Act { "raise" } else { "mark" };
        lanes.lane(one.label, None, [(psi, 0, class)], format!("{psi:.2} {}", level(bands.level(psi))));
    }
    let skipped = days.len().saturating_sub(COLUMNS);
    let mut head = vec!["Factor".to_owned()];
    head.extend(days.iter().skip(skipped).map(NaiveDate::to_string));
    head.push("By chance, newest".to_owned());
    head.push("Band, newest".to_owned());
    let moved = factors.iter().filter(|one| bands.level(one.newest()) != StabilityLevel::Stable).count();
    let spoken: Vec<String> = factors.iter().take(3).map(|one| format!("{} {:.2}", one.label, one.newest())).collect();
    Report {
        name: "stability-factors".to_owned(),
        title: "Stability of every factor".to_owned(),
        about: format!(
            "The same for every factor, missing values and words never seen in bins of their own. Drawn is the newest {}; the \
             table has the last {COLUMNS}.",
            step.as_str()
        ),
        figure: (!factors.is_empty())
            .then(|| (moved.to_string(), format!("of {} factors to watch or to act on", factors.len()))),
        plot: Plot::lanes("stability-factors", "Stability of every factor", spoken.join(", "), lanes),
        needs: Some(NEEDS.to_owned()),
        head,
        rows: factors
            .iter()
            .map(|one| {
                let mut cells = vec![Cell::Text(one.label.to_owned())];
                cells.extend(one.steps.iter().skip(skipped).map(|stability| Cell::Exact(stability.psi)));
                cells.push(Cell::Exact(one.steps.last().map_or(0.0, |newest| newest.by_chance)));
                cells.push(Cell::Text(level(bands.level(one.newest())).to_owned()));
                cells
            })
            .collect(),
    }
}

/// Where one measure has moved to, bin by bin, in the newest step.
fn bins(one: &Measure<'_>, days: &[NaiveDate], step: Step) -> Report {
    let newest = one.steps.last();
    let share = |at: f64| format!("{:.0} %", at * 100.0);
    let bins = newest.map(|newest| newest.bins.as_slice()).unwrap_or_default();
    let most = bins.iter().map(|bin| bin.expected.max(bin.actual)).fold(0.05, f64::max);
    let mut lanes = Lanes::new(Axis::new("share of applications", 0.0, most, share), 22.0);
    for bin in bins {
        let marks = [(bin.expected, 0, "bee-low"), (bin.actual, 0, "bee-high")];
        lanes.lane(
            &bin.bin,
            Some((bin.expected.min(bin.actual), bin.expected.max(bin.actual))),
            marks,
            share(bin.actual),
        );
    }
    let title = format!("Where it moved: {}", one.label);
    Report {
        name: "stability-bins".to_owned(),
        about: format!(
            "Hollow: the share of applications in the window of reference. Filled: in the newest {}{}.",
            step.as_str(),
            days.last().map_or_else(String::new, |day| format!(", from {}", day.format("%-d %B %Y")))
        ),
        figure: None,
        plot: Plot::lanes("stability-bins", &title, format!("{} bins of {}.", bins.len(), one.label), lanes),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Bin", "Reference", "Newest", "Part in the index"]),
        rows: bins
            .iter()
            .map(|bin| {
                vec![
                    Cell::Text(bin.bin.clone()),
                    Cell::Share(Some(bin.expected)),
                    Cell::Share(Some(bin.actual)),
                    Cell::Exact(bin.part),
                ]
            })
            .collect(),
        title,
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Model, demo};
    use chrono::{TimeDelta, Utc};

    use super::*;

    fn cases(shift: f64) -> Vec<Case> {
        let now = Utc::now();
        demo::applications(5, 400, 60)
            .into_iter()
            .map(|mut one| {
                // The last ten days have other incomes.
                if one.days_ago < 10.0 {
                    one.application.income = one.application.income.map(|income| income + shift);
                }
                let minutes = format!("{:.0}", one.days_ago * 1440.0).parse().unwrap();
                Case {
                    received_at: now - TimeDelta::minutes(minutes),
                    probability: 0.1,
                    flagged: false,
                    declined: None,
                    factors: one.application,
                    fraud: None,
                }
            })
            .collect()
    }

    fn basis() -> Basis {
        Basis { bands: StabilityBands::default(), reference: None }
    }

    #[test]
    fn a_factor_that_moved_comes_first_and_every_application_is_in_one_step() {
        let model = Model::shipped().unwrap();
        let cases = cases(60_000.0);
        let found = found(&cases, model.features(), &basis(), Step::Week, None);
        assert_eq!(found.factor, "income");
        assert_eq!(found.reports[1].rows[0][0], Cell::Text("Yearly income".to_owned()));
        let counted: i64 =
            found.reports[0].rows.iter().map(|row| if let Cell::Count(rows) = row[1] { rows } else { 0 }).sum();
        let (_, to) = found.window.unwrap();
        let later = cases.iter().filter(|case| case.received_at.date_naive() > to).count();
        assert_eq!(counted, i64::try_from(later).unwrap());
        for report in &found.reports {
            assert!(
                report.plot.is_some() && report.rows.iter().all(|row| row.len() == report.head.len()),
                "{}",
                report.name
            );
        }
        let score = super::found(&cases, model.features(), &basis(), Step::Month, Some("score"));
        assert_eq!(score.factor, "score");
        // All scores are the same: nothing moved.
        assert!(score.reports[0].rows.iter().all(|row| row[4] == Cell::Text("stable".to_owned())));
    }

    #[test]
    fn nothing_to_compare_is_said() {
        let model = Model::shipped().unwrap();
        let long_ago = NaiveDate::from_ymd_opt(2001, 1, 1).unwrap();
        for (cases, reference) in [(Vec::new(), None), (cases(0.0), Some((long_ago, long_ago)))] {
            let basis = Basis { reference, ..basis() };
            let found = found(&cases, model.features(), &basis, Step::Week, None);
            assert!(found.reports.iter().all(|report| report.rows.is_empty() && report.figure.is_none()));
        }
    }
}
