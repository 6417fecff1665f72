//! The curves: what each threshold would have found, what it would have cost.

use candor_engine::risk::Bands;
use candor_engine::risk::figures::{CostPoint, Curve, Operating, cheapest, cost_curve};

use super::cases::Labelled;
use super::chart::{Axis, Chart};
use super::form::Basis;
use super::plot::Plot;
use super::report::{Cell, Report, heads, money, percent, short_money};
use super::scores::{logit, probability};

/// Points of a drawn curve, at most.
const POINTS: usize = 120;

const NEEDS: &str = "Needed: at least one confirmed fraud and one application that ended well (false alarm or repaid) in this \
                     period. Officers record them on an application's page, a CRM through the API.";

/// The reports, and where the bands of a draft could begin.
pub(super) struct Found {
    pub(super) reports: Vec<Report>,
    pub(super) suggestion: Option<Bands>,
}

/// Everything about the labelled applications of a period.
pub(super) fn found(labelled: &Labelled, basis: &Basis, in_force: &Bands) -> Found {
    let curve = Curve::of(&labelled.scored());
    let costs = cost_curve(&labelled.cases, &basis.costs);
    let best = cheapest(&costs);
    let suggestion = best.filter(|_| labelled.has_both()).and_then(|best| suggestion(&curve, &best, in_force));
    Found {
        reports: vec![
            choices(labelled, basis, &curve, &costs, best.as_ref(), in_force),
            recall(labelled, &curve),
            precision(labelled, basis, &curve),
            cost(labelled, basis, &costs, best.as_ref(), in_force),
        ],
        suggestion,
    }
}

/// Medium begins where expected costs are lowest; high where at most 1 % of honest applications are flagged, if that is
/// higher, else where it begins now.
fn suggestion(curve: &Curve, best: &CostPoint, in_force: &Bands) -> Option<Bands> {
    // Scores at the threshold are flagged, so a rounded one must not lie above it.
    let rounded = |threshold: f64| (threshold * 1e5).floor() / 1e5;
    let medium = Some(rounded(best.threshold)).filter(|medium| *medium > 0.0 && *medium < 1.0)?;
    let high = [rounded(curve.at_false_positives(0.01).threshold), in_force.high, f64::midpoint(medium, 1.0)];
    let high = high.into_iter().find(|high| *high > medium && *high < 1.0)?;
    Some(Bands { medium, high })
}

/// A threshold in words; the one above everything flags nothing.
fn threshold(at: f64) -> Cell {
    Cell::Text(if at > 1.0 { "none: nothing is flagged".to_owned() } else { percent_exact(at) })
}

/// A probability with enough digits to be typed again.
fn percent_exact(share: f64) -> String {
    format!("{} %", super::form::trimmed(share * 100.0))
}

fn interval(rate: &candor_engine::risk::figures::Rate) -> Cell {
    Cell::Text(format!("{} to {}", percent(rate.interval.low), percent(rate.interval.high)))
}

fn count(number: usize) -> Cell {
    Cell::Count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Reviews that the labelled ones among the arriving applications would get.
fn budget(labelled: &Labelled, basis: &Basis) -> usize {
    let reached = labelled.reached_by(basis.reviews_a_week);
    // A share of a count of rows: the nearest whole row below.
    format!("{:.0}", (reached * super::conversations::length(i64::try_from(labelled.cases.len()).unwrap_or(0))).floor())
        .parse()
        .unwrap_or(labelled.cases.len())
}

/// The thresholds that a bank asks for, side by side.
fn choices(
    labelled: &Labelled,
    basis: &Basis,
    curve: &Curve,
    costs: &[CostPoint],
    best: Option<&CostPoint>,
    in_force: &Bands,
) -> Report {
    // What flagging from a score on costs: the last point of the curve at or above it.
    let cost_at = |threshold: f64| {
        let after = costs.partition_point(|point| point.threshold >= threshold);
        after.checked_sub(1).and_then(|last| costs.get(last)).map_or(0.0, |point| point.total)
    };
    let mut rows: Vec<(String, Operating)> = vec![
        ("Policy in force, medium begins".to_owned(), curve.at(in_force.medium)),
        ("Policy in force, high begins".to_owned(), curve.at(in_force.high)),
        ("At most 1 % of honest ones flagged".to_owned(), curve.at_false_positives(0.01)),
        ("At most 5 % of honest ones flagged".to_owned(), curve.at_false_positives(0.05)),
        (format!("{} reviews a week", basis.reviews_a_week), curve.at_budget(budget(labelled, basis))),
    ];
    rows.extend(best.map(|best| ("Lowest expected cost".to_owned(), curve.at(best.threshold))));
    Report {
        name: "choices".to_owned(),
        title: "Thresholds side by side".to_owned(),
        about: format!(
            "{} applications whose end is known, {} of them frauds. From the threshold on an application is flagged: a \
             person looks at it. Intervals hold 95 %. What is labelled is not drawn by chance: officers label what they \
             looked at.",
            labelled.cases.len(),
            labelled.frauds()
        ),
        figure: None,
        plot: None,
        needs: Some(NEEDS.to_owned()),
        head: heads([
            "Flag from",
            "Probability",
            "Frauds found",
            "95 % interval",
            "Honest flagged",
            "Flagged ones that are fraud",
            "Flagged",
            "Expected cost",
        ]),
        rows: rows
            .into_iter()
            .filter(|_| labelled.has_both())
            .map(|(name, at)| {
                vec![
                    Cell::Text(name),
                    threshold(at.threshold),
                    Cell::Share(Some(at.recall.share)),
                    interval(&at.recall),
                    Cell::Share(Some(at.false_positives.share)),
                    Cell::Share((at.flagged() > 0).then_some(at.precision.share)),
                    count(at.flagged()),
                    Cell::Money(cost_at(at.threshold)),
                ]
            })
            .collect(),
    }
}

fn operating_rows(points: &[Operating]) -> Vec<Vec<Cell>> {
    points
        .iter()
        .map(|at| {
            vec![
                threshold(at.threshold),
                count(at.flagged()),
                Cell::Share(Some(at.recall.share)),
                interval(&at.recall),
                Cell::Share(Some(at.false_positives.share)),
                Cell::Share((at.flagged() > 0).then_some(at.precision.share)),
                interval(&at.precision),
            ]
        })
        .collect()
}

const OPERATING: [&str; 7] = [
    "Threshold",
    "Flagged",
    "Frauds found",
    "95 % interval",
    "Honest flagged",
    "Flagged ones that are fraud",
    "its 95 % interval",
];

/// Frauds found against honest applications flagged.
fn recall(labelled: &Labelled, curve: &Curve) -> Report {
    let (one, five) = (curve.at_false_positives(0.01), curve.at_false_positives(0.05));
    // Beyond a fifth of honest people flagged no bank would go.
    const WIDEST: f64 = 0.2;
    let share = |at: f64| format!("{:.0} %", at * 100.0);
    let mut chart = Chart::new(
        Axis::new("honest applications flagged", 0.0, WIDEST, share),
        Axis::new("frauds found", 0.0, 1.0, share),
    );
    let points = curve.points(POINTS);
    let drawn: Vec<(f64, f64)> = points
        .iter()
        .map(|at| (at.false_positives.share, at.recall.share))
        .take_while(|(flagged, _)| *flagged <= WIDEST)
        .collect();
    chart.path(&drawn, "series", "");
    chart.threshold(0.01, format!("1 %: {}", percent(one.recall.share)));
    chart.threshold(0.05, format!("5 %: {}", percent(five.recall.share)));
    for at in [&one, &five] {
        chart.dot(at.false_positives.share, at.recall.share, "mark");
    }
    let desc = format!(
        "With at most 1 % of honest applications flagged {} of frauds are found, with at most 5 % {}.",
        percent(one.recall.share),
        percent(five.recall.share)
    );
    Report {
        name: "recall".to_owned(),
        title: "Frauds found by honest ones flagged".to_owned(),
        about: "Each point is a threshold: how many of the frauds it flags, and how many of the honest applications."
            .to_owned(),
        figure: labelled.has_both().then(|| {
            (
                percent(one.recall.share),
                format!("of frauds found at 1 % false positives, {} at 5 %", percent(five.recall.share)),
            )
        }),
        plot: Plot::chart("recall", "Frauds found by honest ones flagged", desc, chart),
        needs: Some(NEEDS.to_owned()),
        head: heads(OPERATING),
        rows: if labelled.has_both() { operating_rows(&points) } else { Vec::new() },
    }
}

/// How many of the flagged are frauds, by how many officers look at.
fn precision(labelled: &Labelled, basis: &Basis, curve: &Curve) -> Report {
    let all = labelled.cases.len();
    let of_all = |flagged: usize| {
        let as_number = |count: usize| super::conversations::length(i64::try_from(count).unwrap_or(0));
        as_number(flagged) / as_number(all).max(1.0)
    };
    let at = curve.at_budget(budget(labelled, basis));
    let reached = labelled.reached_by(basis.reviews_a_week);
    let points: Vec<Operating> = curve.points(POINTS).into_iter().filter(|at| at.flagged() > 0).collect();
    let share = |at: f64| format!("{:.0} %", at * 100.0);
    let mut chart = Chart::new(
        Axis::new("applications reviewed", 0.0, 1.0, share),
        Axis::new("reviewed ones that are fraud", 0.0, 1.0, share),
    );
    let drawn: Vec<(f64, f64)> = points.iter().map(|at| (of_all(at.flagged()), at.precision.share)).collect();
    chart.path(&drawn, "series", "");
    chart.threshold(reached, format!("{} a week", basis.reviews_a_week));
    let desc = format!(
        "{} reviews a week reach {} of the applications; {} of those reviewed are frauds.",
        basis.reviews_a_week,
        percent(reached),
        percent(at.precision.share)
    );
    Report {
        name: "precision".to_owned(),
        title: "Frauds among what officers can review".to_owned(),
        about: format!(
            "The applications with the highest scores are reviewed first. {} arrived in {:.1} weeks, so {} reviews a week \
             reach {} of them.",
            crate::audit::grouped(labelled.received),
            labelled.weeks,
            basis.reviews_a_week,
            percent(reached)
        ),
        figure: (labelled.has_both() && at.flagged() > 0).then(|| {
            (percent(at.precision.share), format!("of what {} reviews a week reach is fraud", basis.reviews_a_week))
        }),
        plot: Plot::chart("precision", "Frauds among what officers can review", desc, chart),
        needs: Some(NEEDS.to_owned()),
        head: heads(OPERATING),
        rows: if labelled.has_both() { operating_rows(&points) } else { Vec::new() },
    }
}

/// What every threshold would have cost.
fn cost(labelled: &Labelled, basis: &Basis, costs: &[CostPoint], best: Option<&CostPoint>, in_force: &Bands) -> Report {
    let inside: Vec<&CostPoint> = costs.iter().filter(|point| point.threshold <= 1.0).collect();
    let ends = inside.iter().map(|point| logit(point.threshold));
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let most = costs.iter().map(|point| point.total).fold(1.0, f64::max);
    let mut chart = Chart::new(
        Axis::new("threshold (log-odds scale)", low, high, |at| percent(probability(at))),
        Axis::new("expected cost", 0.0, most, short_money),
    );
    let every = inside.len().div_ceil(POINTS).max(1);
    let drawn: Vec<(f64, f64)> =
        inside.iter().step_by(every).map(|point| (logit(point.threshold), point.total)).collect();
    chart.path(&drawn, "series", "");
    for (name, from) in [("medium", in_force.medium), ("high", in_force.high)] {
        if (low..high).contains(&logit(from)) {
            chart.threshold(logit(from), format!("{name} now"));
        }
    }
    if let Some(best) = best.filter(|best| best.threshold <= 1.0) {
        chart.dot(logit(best.threshold), best.total, "raise");
        chart.threshold(logit(best.threshold), format!("lowest {}", money(best.total)));
    }
    let words = best.map_or_else(String::new, |best| {
        format!(
            "The lowest expected cost is {}, at {}.",
            money(best.total),
            match threshold(best.threshold) {
                Cell::Text(words) => words,
                _ => String::new(),
            }
        )
    });
    let last = inside.len().saturating_sub(1);
    let mut shown: Vec<&CostPoint> = costs.iter().filter(|point| point.threshold > 1.0).collect();
    shown.extend(inside.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, point)| *point));
    Report {
        name: "cost".to_owned(),
        title: "Expected cost".to_owned(),
        about: format!(
            "On the labelled applications, at the costs above: {} of the amount of every fraud that is not reviewed or not \
             recognised, {} a review, {} for every honest customer declined.",
            percent(basis.costs.missed_share),
            money(basis.costs.review),
            money(basis.costs.declined_honest)
        ),
        figure: best
            .filter(|_| labelled.has_both())
            .map(|best| (money(best.total), format!("lowest expected cost, {} reviewed", best.reviewed))),
        plot: Plot::chart("cost", "Expected cost", words, chart),
        needs: Some(NEEDS.to_owned()),
        head: heads(["Threshold", "Reviewed", "Reviews", "Frauds missed", "Honest declined", "All of it"]),
        rows: shown
            .into_iter()
            .filter(|_| labelled.has_both())
            .map(|point| {
                vec![
                    threshold(point.threshold),
                    count(point.reviewed),
                    Cell::Money(point.reviews),
                    Cell::Money(point.missed),
                    Cell::Money(point.declined),
                    Cell::Money(point.total),
                ]
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::figures::{Case, Costs};

    use super::*;

    fn labelled(cases: &[(f64, bool, f64)]) -> Labelled {
        let cases = cases.iter().map(|&(probability, fraud, amount)| Case { probability, fraud, amount }).collect();
        Labelled { cases, received: 40, weeks: 4.0 }
    }

    fn basis(reviews_a_week: u32) -> Basis {
        let costs = Costs { missed_share: 1.0, review: 10.0, declined_honest: 100.0, recognised: 1.0, mistaken: 0.1 };
        Basis { costs, reviews_a_week }
    }

    const IN_FORCE: Bands = Bands { medium: 0.03, high: 0.6 };

    #[test]
    fn medium_begins_where_it_is_cheapest_and_high_above_it() {
        let known = labelled(&[(0.9, true, 1000.0), (0.5, false, 500.0), (0.4, true, 900.0), (0.1, false, 1.0)]);
        let found = found(&known, &basis(5), &IN_FORCE);
        // Reviewing down to 0.4 costs 3 reviews and one tenth of an honest customer; no less finds both frauds.
        let bands = found.suggestion.unwrap();
        assert!((bands.medium - 0.4).abs() < 2e-5 && bands.medium <= 0.4, "{bands:?}");
        assert!((bands.high - 0.9).abs() < 2e-5, "{bands:?}");
        assert!(found.reports.iter().all(|report| report.rows.iter().all(|row| row.len() == report.head.len())));
        let cost = found.reports.iter().find(|report| report.name == "cost").unwrap();
        assert_eq!(cost.figure.as_ref().unwrap().0, "€40");
    }

    #[test]
    fn the_budget_is_a_share_of_what_arrives() {
        let known = labelled(&[(0.9, true, 1.0), (0.5, false, 1.0), (0.4, true, 1.0), (0.1, false, 1.0)]);
        // 5 a week in 4 weeks reach half of the 40 that arrived: 2 of the 4 labelled.
        assert_eq!(budget(&known, &basis(5)), 2);
        assert_eq!(budget(&known, &basis(1000)), 4);
    }

    #[test]
    fn one_kind_alone_says_nothing() {
        let found = found(&labelled(&[(0.9, true, 1.0), (0.2, true, 1.0)]), &basis(5), &IN_FORCE);
        assert!(found.suggestion.is_none() && found.reports.iter().all(|report| report.rows.is_empty()));
        assert!(found.reports.iter().all(|report| report.figure.is_none()));
    }
}
