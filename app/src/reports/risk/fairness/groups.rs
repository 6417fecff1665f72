//! Figures by group as reports.

use candor_engine::risk::fairness::{
    AttributionGap, GroupFigures, Jurisdiction, Member, Standing, attribution_gaps, measure,
};
use candor_engine::risk::figures::{Interval, Rate};
use candor_engine::risk::importance::Sample;
use candor_engine::risk::training::Variant;
use candor_engine::risk::{Application, Catalogue};

use super::cases::Case;
use super::chart::Axis;
use super::lanes::Lanes;
use super::plot::Plot;
use super::report::{Cell, Report, heads, percent};

/// Factors of a gap that are drawn and listed.
const FACTORS: usize = 10;
/// Height of a row of a drawing.
const ROW: f64 = 24.0;

/// What counts as unfavourable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The policy proposed to refer or to decline.
    Proposal,
    /// The bank declined; only decided applications count.
    Decision,
}

impl By {
    pub(super) fn of(word: Option<&str>) -> Self {
        if word == Some("decision") { Self::Decision } else { Self::Proposal }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Decision => "decision",
        }
    }

    fn flagged(self, case: &Case) -> Option<bool> {
        match self {
            Self::Proposal => Some(case.flagged),
            Self::Decision => case.declined,
        }
    }

    fn favourable(self) -> &'static str {
        match self {
            Self::Proposal => "proposed for approval",
            Self::Decision => "approved",
        }
    }
}

/// A column of an application that holds a protected ground, with everybody's group.
struct Grouping {
    ground: String,
    groups: Vec<Option<String>>,
}

fn groupings(cases: &[Case], jurisdiction: &Jurisdiction) -> Vec<Grouping> {
    Application::FIELDS
        .iter()
        .filter_map(|column| Some((column, jurisdiction.ground(column)?)))
        .map(|(column, ground)| Grouping {
            ground: ground.name.clone(),
            groups: cases.iter().map(|case| ground.group(case.factors.value(column).as_ref())).collect(),
        })
        .collect()
}

/// The grounds of a jurisdiction of which applications say nothing: they can not be measured here.
pub(super) fn unmeasured(jurisdiction: &Jurisdiction) -> Vec<String> {
    let held = |column: &String| Application::FIELDS.contains(&column.as_str());
    let unknown = jurisdiction.grounds.iter().filter(|ground| !ground.columns.iter().any(held));
    unknown.map(|ground| ground.name.clone()).collect()
}

/// Every report about the groups.
pub(super) fn reports(
    cases: &[Case],
    sample: &Sample,
    newest: usize,
    by: By,
    jurisdiction: &Jurisdiction,
) -> Vec<Report> {
    let groupings = groupings(cases, jurisdiction);
    let figures: Vec<GroupFigures> = groupings
        .iter()
        .flat_map(|grouping| {
            let members: Vec<Member> = grouping
                .groups
                .iter()
                .zip(cases)
                .filter_map(|(group, case)| {
                    Some(Member {
                        group: group.clone()?,
                        probability: case.probability,
                        flagged: by.flagged(case)?,
                        fraud: case.fraud,
                    })
                })
                .collect();
            measure(&grouping.ground, &members, jurisdiction)
        })
        .collect();
    let mut reports = vec![
        impact(&figures, by, jurisdiction),
        selection(&figures, by),
        false_positives(&figures),
        calibration(&figures),
    ];
    // The sample holds the newest of the cases.
    let skipped = cases.len().saturating_sub(newest);
    for grouping in &groupings {
        let known: Vec<&Option<String>> = grouping.groups.iter().skip(skipped).collect();
        let mut names: Vec<&str> = known.iter().filter_map(|group| group.as_deref()).collect();
        names.sort();
        names.dedup();
        for (number, name) in (1_u32..).zip(names) {
            let inside: Vec<bool> = known.iter().map(|group| group.as_deref() == Some(name)).collect();
            let gaps = attribution_gaps(&sample.factors, &sample.contributions, &inside);
            reports.push(gap(&grouping.ground, name, number, &gaps, &inside));
        }
    }
    reports
}

fn named(figures: &GroupFigures) -> String {
    format!("{}: {}", figures.ground, figures.group)
}

fn between(interval: &Interval) -> String {
    format!("{} to {}", percent(interval.low), percent(interval.high))
}

fn rate_cells(rate: &Rate) -> [Cell; 3] {
    let none = rate.of == 0;
    [
        Cell::Count(i64::try_from(rate.of).unwrap_or(i64::MAX)),
        Cell::Share((!none).then_some(rate.share)),
        Cell::Text(if none { "–".to_owned() } else { between(&rate.interval) }),
    ]
}

/// The standing in words.
fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Reference => "best group",
        Standing::Within => "within the limit",
        Standing::Uncertain => "below, not certain",
        Standing::Below => "below the limit",
        Standing::TooFew => "too few to judge",
    }
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// The adverse-impact ratio of every group.
fn impact(figures: &[GroupFigures], by: By, jurisdiction: &Jurisdiction) -> Report {
    let mut lanes = Lanes::new(Axis::new("ratio to the best group", 0.0, 1.25, ratio), ROW);
    lanes.line(jurisdiction.least_ratio, format!("least {}", ratio(jurisdiction.least_ratio)));
    for one in figures {
        let class = if one.standing == Standing::Below { "raise" } else { "mark" };
        let interval =
            (one.standing != Standing::Reference).then_some((one.ratio_interval.low, one.ratio_interval.high));
        lanes.lane(&named(one), interval, [(one.ratio, 0, class)], ratio(one.ratio));
    }
    let worst = figures
        .iter()
        .filter(|one| !matches!(one.standing, Standing::Reference | Standing::TooFew))
        .min_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let spoken: Vec<String> = figures.iter().map(|one| format!("{} {}", named(one), ratio(one.ratio))).collect();
    Report {
        name: "adverse-impact".to_owned(),
        title: "Adverse-impact ratio".to_owned(),
        about: format!(
            "A group's share of applications {}, divided by the best group's, with its 95 % interval (Katz). {} asks for a \
             look below {}; groups with fewer than {} applications are not judged.",
            by.favourable(),
            jurisdiction.name,
            ratio(jurisdiction.least_ratio),
            jurisdiction.least_rows
        ),
        figure: worst
            .map(|worst| (ratio(worst.ratio), format!("lowest ratio, {}: {}", named(worst), standing(worst.standing)))),
        plot: Plot::lanes("adverse-impact", "Adverse-impact ratio", spoken.join(", "), lanes),
        needs: Some("Needed: applications of this period that say what the ground asks for.".to_owned()),
        head: heads(["Group", "Applications", "Ratio", "95 % interval", "Standing"]),
        rows: figures
            .iter()
            .map(|one| {
                let interval = &one.ratio_interval;
                vec![
                    Cell::Text(named(one)),
                    Cell::Count(i64::try_from(one.selected.of).unwrap_or(i64::MAX)),
                    Cell::Exact(one.ratio),
                    Cell::Text(if one.standing == Standing::Reference {
                        "–".to_owned()
                    } else {
                        format!("{} to {}", ratio(interval.low), ratio(interval.high.min(99.0)))
                    }),
                    Cell::Text(standing(one.standing).to_owned()),
                ]
            })
            .collect(),
    }
}

/// A report of one rate of every group.
fn rates(
    name: &str,
    title: &str,
    about: String,
    needs: &str,
    figures: &[GroupFigures],
    of: fn(&GroupFigures) -> Rate,
) -> Report {
    let rates: Vec<(String, Rate)> =
        figures.iter().map(|one| (named(one), of(one))).filter(|(_, rate)| rate.of > 0).collect();
    let most = rates.iter().map(|(_, rate)| rate.interval.high).fold(0.05, f64::max).min(1.0);
    let mut lanes = Lanes::new(Axis::new("share", 0.0, most, percent), ROW);
    for (label, rate) in &rates {
        lanes.lane(
            label,
            Some((rate.interval.low, rate.interval.high)),
            [(rate.share, 0, "mark")],
            percent(rate.share),
        );
    }
    let spoken: Vec<String> = rates.iter().map(|(label, rate)| format!("{label} {}", percent(rate.share))).collect();
    Report {
        name: name.to_owned(),
        title: title.to_owned(),
        about,
        figure: None,
        plot: Plot::lanes(name, title, spoken.join(", "), lanes),
        needs: Some(needs.to_owned()),
        head: heads(["Group", "Applications", "Share", "95 % interval"]),
        rows: rates
            .into_iter()
            .map(|(label, rate)| std::iter::once(Cell::Text(label)).chain(rate_cells(&rate)).collect())
            .collect(),
    }
}

fn selection(figures: &[GroupFigures], by: By) -> Report {
    let about = format!("The share of each group's applications {}, with 95 % intervals (Wilson).", by.favourable());
    rates("selection", "Selection rate", about, "Needed: applications of this period.", figures, |one| one.selected)
}

fn false_positives(figures: &[GroupFigures]) -> Report {
    rates(
        "false-positives",
        "False-positive rate",
        "Of the applications that ended well (false alarm or repaid), those that had the unfavourable outcome."
            .to_owned(),
        "Needed: applications of this period that are labelled as a false alarm or as repaid.",
        figures,
        |one| one.false_positives,
    )
}

/// Whether probabilities are true for each group.
fn calibration(figures: &[GroupFigures]) -> Report {
    let known: Vec<&GroupFigures> = figures.iter().filter(|one| one.observed.of > 0).collect();
    let most = known.iter().map(|one| one.observed.interval.high.max(one.predicted)).fold(0.02, f64::max).min(1.0);
    let mut lanes = Lanes::new(Axis::new("share of frauds", 0.0, most, percent), ROW);
    for one in &known {
        let observed = &one.observed;
        let marks = [(observed.share, 0, "mark"), (one.predicted, 0, "bee-low")];
        let interval = Some((observed.interval.low, observed.interval.high));
        lanes.lane(&named(one), interval, marks, percent(observed.share));
    }
    let spoken: Vec<String> = known
        .iter()
        .map(|one| {
            format!("{} expected {}, turned out {}", named(one), percent(one.predicted), percent(one.observed.share))
        })
        .collect();
    Report {
        name: "group-calibration".to_owned(),
        title: "Calibration by group".to_owned(),
        about: "Filled: the share of frauds that turned out, with its 95 % interval. Hollow: the mean probability that was \
                expected. A hollow mark outside the interval asks for a look."
            .to_owned(),
        figure: None,
        plot: Plot::lanes("group-calibration", "Calibration by group", spoken.join("; "), lanes),
        needs: Some("Needed: labelled applications of this period.".to_owned()),
        head: heads(["Group", "Expected", "Labelled", "Turned out", "95 % interval"]),
        rows: known
            .into_iter()
            .map(|one| {
                let mut cells = vec![Cell::Text(named(one)), Cell::Share(Some(one.predicted))];
                cells.extend(rate_cells(&one.observed));
                cells
            })
            .collect(),
    }
}

/// Which factors carry the difference between a group and everybody else.
fn gap(ground: &str, group: &str, number: u32, gaps: &[AttributionGap], inside: &[bool]) -> Report {
    let people = inside.iter().filter(|inside| **inside).count();
    let enough = people >= 2 && inside.len() - people >= 2;
    let total: f64 = gaps.iter().map(|one| one.gap).sum();
    let shown: Vec<&AttributionGap> = gaps.iter().take(FACTORS).filter(|_| enough).collect();
    let reach = shown.iter().flat_map(|one| [one.interval.low.abs(), one.interval.high.abs()]).fold(0.1, f64::max);
    let words = |at: f64| format!("{at:+.2}").replace('-', "\u{2212}");
    let mut lanes = Lanes::new(Axis::new("log-odds, right: to the group's disadvantage", -reach, reach, words), ROW);
    lanes.line(0.0, "no gap".to_owned());
    for one in &shown {
        let class = if one.gap > 0.0 { "raise" } else { "lower" };
        lanes.lane(
            &label(&one.factor),
            Some((one.interval.low, one.interval.high)),
            [(one.gap, 0, class)],
            words(one.gap),
        );
    }
    let title = format!("What carries the gap, {ground}: {group}");
    let spoken: Vec<String> = shown.iter().map(|one| format!("{} {}", label(&one.factor), words(one.gap))).collect();
    let name = format!("gap-{}-{number}", ground.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
    Report {
        about: format!(
            "Mean contribution of each factor in the group less that of everybody else, in log-odds with 95 % intervals, over \
             the newest {} applications ({people} in the group). All gaps add up to {}.",
            inside.len(),
            words(total)
        ),
        figure: None,
        plot: Plot::lanes(&name, &title, spoken.join(", "), lanes),
        needs: Some("Needed: at least two applications in the group and two outside it.".to_owned()),
        head: heads(["Factor", "In the group", "Everybody else", "Gap", "95 % interval"]),
        rows: shown
            .into_iter()
            .map(|one| {
                vec![
                    Cell::Text(label(&one.factor)),
                    Cell::Exact(one.inside),
                    Cell::Exact(one.outside),
                    Cell::Exact(one.gap),
                    Cell::Text(format!("{} to {}", words(one.interval.low), words(one.interval.high))),
                ]
            })
            .collect(),
        name,
        title,
    }
}

/// A factor's label.
fn label(factor: &str) -> String {
    Catalogue::shipped().get(factor).map_or_else(|| factor.replace('_', " "), |known| known.label.clone())
}

/// The models that training tried in search of a smaller difference.
pub(super) fn alternatives(variants: &[Variant], model: &str) -> Report {
    Report {
        name: "alternatives".to_owned(),
        title: "Less discriminatory alternatives".to_owned(),
        about: format!(
            "Variants that the training of {model} tried: better means that at most 2 % fewer frauds are found with a smaller \
             gap. The gap is the largest less the smallest share of honest applications flagged."
        ),
        figure: variants.iter().find(|one| one.better).map(|best| (percent(best.gap), format!("gap of the best alternative: {}", best.what))),
        plot: None,
        needs: Some(
            "This model came without any. To get them, train with a search for them: candor train risk --data FILE --label \
             COLUMN --out FOLDER --alternatives customer_age. It writes alternatives.json beside the model. Then candor model \
             add FOLDER keeps both, and this page lists them."
                .to_owned(),
        ),
        head: heads(["Model", "Frauds found at 5 %", "95 % interval", "Area under the curve", "Gap", "Lowest ratio", "Better"]),
        rows: variants
            .iter()
            .map(|one| {
                vec![
                    Cell::Text(one.what.clone()),
                    Cell::Share(Some(one.recall.share)),
                    Cell::Text(between(&one.recall.interval)),
                    Cell::Exact(one.auc),
                    Cell::Share(Some(one.gap)),
                    Cell::Exact(one.ratio),
                    Cell::Text(if one.better { "yes" } else { "no" }.to_owned()),
                ]
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Model, demo};

    use super::*;

    #[test]
    fn every_group_is_measured_and_its_gaps_add_up() {
        let model = Model::shipped().unwrap();
        let cases: Vec<Case> = demo::applications(5, 300, 30)
            .into_iter()
            .map(|one| {
                let probability = model.probability(model.margin(&one.application));
                Case {
                    received_at: chrono::Utc::now(),
                    probability,
                    flagged: probability > 0.03,
                    declined: Some(probability > 0.15),
                    fraud: Some(one.pattern.is_some()),
                    factors: one.application,
                }
            })
            .collect();
        let sample = Sample::explain(&model, cases.iter().skip(100).map(|case| &case.factors));
        let us = Jurisdiction::get("us").unwrap();
        let all = reports(&cases, &sample, 200, By::Proposal, us);
        let names: Vec<&str> = all.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "adverse-impact",
                "selection",
                "false-positives",
                "group-calibration",
                "gap-age-1",
                "gap-age-2",
                "gap-age-3"
            ]
        );
        for report in &all {
            assert!(!report.rows.is_empty() && report.plot.is_some(), "{}", report.name);
            assert!(report.rows.iter().all(|row| row.len() == report.head.len()), "{}", report.name);
        }
        let counted: i64 = all[1].rows.iter().map(|row| if let Cell::Count(rows) = row[1] { rows } else { 0 }).sum();
        assert_eq!(counted, 300);
        assert_eq!(unmeasured(us), ["sex", "marital status", "race, colour or national origin", "religion"]);
        assert!(
            reports(&[], &Sample::explain(&model, std::iter::empty()), 0, By::Decision, us)
                .iter()
                .all(|report| report.rows.is_empty())
        );
    }
}
