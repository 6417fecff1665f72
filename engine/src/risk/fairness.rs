//! Fairness between groups of people: how often each gets the favourable outcome, how often its honest members are
//! flagged, whether probabilities are true for it, and which factors carry a difference. Protected grounds are read
//! here and nowhere else; what counts as one, and from when on a difference is one, is data (`fairness.toml`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::application::Value;
use super::figures::{Interval, Rate, count};

/// One jurisdiction's rules for measuring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jurisdiction {
    /// Short and stable: `us`.
    pub code: String,
    /// For people.
    pub name: String,
    /// Where the rules come from.
    pub law: String,
    /// The least share of the best group's rate of favourable outcomes; four fifths is usual.
    pub least_ratio: f64,
    /// Groups with fewer rows are not judged.
    pub least_rows: usize,
    /// Whether training may weigh rows by group.
    #[serde(default)]
    pub groups_may_weigh: bool,
    /// The protected grounds.
    #[serde(default, rename = "ground")]
    pub grounds: Vec<Ground>,
}

/// A protected ground and the columns that hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// For people: `age`.
    pub name: String,
    /// Names of columns, in small letters.
    pub columns: Vec<String>,
    /// Where numbers are cut into groups, upwards. Without it every value is a group.
    #[serde(default)]
    pub bands: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    jurisdiction: Vec<Jurisdiction>,
}

impl Jurisdiction {
    /// Reads a file of jurisdictions.
    ///
    /// # Errors
    /// What is wrong and where, in TOML's words.
    pub fn parse(text: &str) -> Result<Vec<Jurisdiction>, toml::de::Error> {
        toml::from_str::<File>(text).map(|file| file.jurisdiction)
    }

    /// The jurisdictions compiled into the program.
    pub fn shipped() -> &'static [Jurisdiction] {
        static SHIPPED: OnceLock<Vec<Jurisdiction>> = OnceLock::new();
        // The text is part of the program and a test reads it: an unreadable one never ships.
        SHIPPED.get_or_init(|| Jurisdiction::parse(include_str!("fairness.toml")).unwrap_or_default())
    }

    /// The shipped jurisdiction of that code.
    pub fn get(code: &str) -> Option<&'static Jurisdiction> {
        Jurisdiction::shipped().iter().find(|one| one.code == code)
    }

    /// The ground that a column holds, if it holds one.
    pub fn ground(&self, column: &str) -> Option<&Ground> {
        let column = column.to_lowercase();
        self.grounds.iter().find(|ground| ground.columns.contains(&column))
    }
}

impl Ground {
    /// The group of a value: a band for numbers where there are bands, else the value itself. None when it is missing.
    pub fn group(&self, value: Option<&Value>) -> Option<String> {
        match value? {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) if number.is_nan() => None,
            Value::Number(number) if self.bands.is_empty() => Some(number.to_string()),
            Value::Number(number) => {
                let position = self.bands.partition_point(|cut| cut <= number);
                let low = position.checked_sub(1).and_then(|below| self.bands.get(below));
                Some(match (low, self.bands.get(position)) {
                    (None, Some(high)) => format!("under {high}"),
                    (Some(low), Some(high)) => format!("{low} to {}", high - 1.0),
                    (Some(low), None) => format!("{low} and over"),
                    (None, None) => "all".to_owned(),
                })
            }
        }
    }
}

/// One person in a measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The person's group.
    pub group: String,
    /// The probability of fraud.
    pub probability: f64,
    /// Whether the outcome was unfavourable: flagged, referred, declined, as the caller defines it.
    pub flagged: bool,
    /// The truth, once it is known.
    pub fraud: Option<bool>,
}

/// How a group fares beside the best one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The group with the highest rate, which the others are compared with.
    Reference,
    /// Its ratio is at least what is asked.
    Within,
    /// Its ratio is below what is asked, but the interval holds it too.
    Uncertain,
    /// Its ratio is below what is asked, with its whole interval.
    Below,
    /// It has too few rows to be judged.
    TooFew,
}

/// Figures of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// The protected ground, or the column.
    pub ground: String,
    /// The group.
    pub group: String,
    /// Rows in all, and how many had the favourable outcome (were not flagged): the selection rate.
    pub selected: Rate,
    /// Honest rows flagged, among honest rows.
    pub false_positives: Rate,
    /// Frauds flagged, among frauds.
    pub recall: Rate,
    /// Mean probability of the rows whose truth is known.
    pub predicted: f64,
    /// Share of fraud among them.
    pub observed: Rate,
    /// The selection rate divided by the best group's: the adverse-impact ratio.
    pub ratio: f64,
    /// Its 95 % interval (Katz et al. 1978, on the logarithm).
    pub ratio_interval: Interval,
    /// How the group fares.
    pub standing: Standing,
}

/// Figures of every group of a ground, in the order of the groups' names.
pub fn measure(ground: &str, members: &[Member], jurisdiction: &Jurisdiction) -> Vec<GroupFigures> {
    let mut groups: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in members {
        groups.entry(&member.group).or_default().push(member);
    }
    let rate = |rows: &[&Member], of: &dyn Fn(&Member) -> bool, hit: &dyn Fn(&Member) -> bool| {
        let asked = rows.iter().filter(|member| of(member));
        let hits = asked.clone().filter(|member| hit(member)).count();
        Rate::new(hits, asked.count())
    };
    let selected = |rows: &[&Member]| rate(rows, &|_| true, &|member| !member.flagged);
    // The best of the groups that are large enough; of all, where none is.
    let large = |rows: &[&Member]| rows.len() >= jurisdiction.least_rows;
    let best = groups
        .iter()
        .map(|(group, rows)| (large(rows), selected(rows), *group))
        .max_by(|(a_large, a, _), (b_large, b, _)| a_large.cmp(b_large).then(a.share.total_cmp(&b.share)));
    let Some((_, best, best_group)) = best else { return Vec::new() };
    groups
        .iter()
        .map(|(&group, rows)| {
            let selected = selected(rows);
            let (ratio, ratio_interval) = ratio(&selected, &best);
            let known: Vec<f64> =
                rows.iter().filter(|member| member.fraud.is_some()).map(|member| member.probability).collect();
            let standing = match ratio {
                _ if group == best_group => Standing::Reference,
                _ if !large(rows) => Standing::TooFew,
                _ if ratio >= jurisdiction.least_ratio => Standing::Within,
                _ if ratio_interval.high >= jurisdiction.least_ratio => Standing::Uncertain,
                _ => Standing::Below,
            };
            GroupFigures {
                ground: ground.to_owned(),
                group: group.to_owned(),
                selected,
                false_positives: rate(rows, &|one| one.fraud == Some(false), &|one| one.flagged),
                recall: rate(rows, &|one| one.fraud == Some(true), &|one| one.flagged),
                predicted: known.iter().sum::<f64>() / count(known.len()).max(1.0),
                observed: rate(rows, &|one| one.fraud.is_some(), &|one| one.fraud == Some(true)),
                ratio,
                ratio_interval,
                standing,
            }
        })
        .collect()
}

/// The ratio of two rates with its interval on the logarithm; half a row is added where a rate is zero.
fn ratio(rate: &Rate, best: &Rate) -> (f64, Interval) {
    if rate.of == 0 || best.hits == 0 {
        return (1.0, Interval { low: 0.0, high: f64::MAX });
    }
    let value = rate.share / best.share;
    let hits = count(rate.hits).max(0.5);
    let variance = (hits.recip() - count(rate.of).recip() + count(best.hits).recip() - count(best.of).recip()).max(0.0);
    let logarithm = libm::log(hits / count(rate.of) / best.share);
    let Interval { low, high } = Interval::around(logarithm, variance.sqrt());
    (value, Interval { low: libm::exp(low), high: libm::exp(high) })
}

/// How much of the difference in mean log-odds between a group and everybody else one factor carries. Because
/// contributions add up to the log-odds, the gaps of all factors add up to the whole difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributionGap {
    /// The factor's name.
    pub factor: String,
    /// Mean contribution in the group, in log-odds.
    pub inside: f64,
    /// Mean contribution outside it.
    pub outside: f64,
    /// Inside less outside: above zero, the factor is to the group's disadvantage.
    pub gap: f64,
    /// Its 95 % interval.
    pub interval: Interval,
}

/// The attribution gap of every factor, the largest first. `contributions` has a row per person and a column per
/// factor; `inside` tells who belongs to the group.
pub fn attribution_gaps(factors: &[String], contributions: &[Vec<f64>], inside: &[bool]) -> Vec<AttributionGap> {
    let mut gaps: Vec<AttributionGap> = factors
        .iter()
        .enumerate()
        .map(|(column, factor)| {
            let side = |wanted: bool| {
                let rows = contributions.iter().zip(inside).filter(move |(_, inside)| **inside == wanted);
                mean_and_error(rows.filter_map(|(row, _)| row.get(column).copied()))
            };
            let ((inside, error_inside), (outside, error_outside)) = (side(true), side(false));
            let gap = inside - outside;
            let interval = Interval::around(gap, error_inside.hypot(error_outside));
            AttributionGap { factor: factor.clone(), inside, outside, gap, interval }
        })
        .collect();
    gaps.sort_by(|a, b| b.gap.abs().total_cmp(&a.gap.abs()));
    gaps
}

/// A mean with its standard error.
fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let rows = count(values.clone().count()).max(1.0);
    let mean = values.clone().sum::<f64>() / rows;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (rows - 1.0).max(1.0) / rows).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(group: &str, rows: usize, flagged: usize, frauds: usize) -> Vec<Member> {
        (0..rows)
            .map(|row| Member {
                group: group.to_owned(),
                probability: 0.1,
                flagged: row < flagged,
                fraud: Some(row >= rows - frauds),
            })
            .collect()
    }

    #[test]
    fn the_shipped_jurisdictions_read() {
        let all = Jurisdiction::parse(include_str!("fairness.toml")).unwrap();
        assert_eq!(all.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["us", "eu", "uk"]);
        let us = Jurisdiction::get("us").unwrap();
        let age = us.ground("customer_age").unwrap();
        let group = |age_of: f64| age.group(Some(&Value::Number(age_of))).unwrap();
        assert_eq!([18.0, 30.0, 61.0, 62.0].map(group), ["under 30", "30 to 61", "30 to 61", "62 and over"]);
        assert_eq!(age.group(None), None);
        assert_eq!(us.ground("MaritalStatus").unwrap().name, "marital status");
        assert!(us.ground("income").is_none());
    }

    #[test]
    fn the_four_fifths_rule_is_judged_with_its_interval() {
        let us = Jurisdiction::get("us").unwrap();
        let people: Vec<Member> = [
            members("best", 1000, 100, 10),
            members("close", 1000, 200, 10),
            members("far", 1000, 400, 10),
            members("unsure", 100, 30, 10),
            members("few", 20, 20, 0),
        ]
        .concat();
        let figures = measure("group", &people, us);
        let standing = |name: &str| figures.iter().find(|one| one.group == name).unwrap();
        assert_eq!(standing("best").standing, Standing::Reference);
        assert_eq!(standing("close").standing, Standing::Within);
        assert!((standing("close").ratio - 0.8 / 0.9).abs() < 1e-12);
        assert_eq!(standing("far").standing, Standing::Below);
        assert_eq!(standing("unsure").standing, Standing::Uncertain);
        assert_eq!(standing("few").standing, Standing::TooFew);
        assert_eq!(standing("best").false_positives.hits, 100);
        assert_eq!(standing("best").false_positives.of, 990);
        assert_eq!(standing("best").observed.share, 0.01);
        assert_eq!(standing("best").recall.share, 0.0);
    }

    #[test]
    fn gaps_add_up_to_the_difference_of_the_margins() {
        let factors = ["a".to_owned(), "b".to_owned()];
        let contributions = vec![vec![1.0, 0.5], vec![2.0, 0.5], vec![0.0, -0.5], vec![0.5, 0.0]];
        let gaps = attribution_gaps(&factors, &contributions, &[true, true, false, false]);
        assert_eq!(gaps[0].factor, "a");
        assert_eq!((gaps[0].gap, gaps[1].gap), (1.25, 0.75));
        assert!(gaps[0].interval.low < 1.25 && gaps[0].interval.high > 1.25);
    }
}
